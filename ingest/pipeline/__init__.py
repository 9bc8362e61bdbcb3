"""The main path: from what was asked to a published run.

main_path     the first question: is there anything to do
recognise     a published run that has all that is asked for
shared_tensors  models that share weights with others, told
from_files    files are read: prepare, plan, compute, stage, publish
planning      the stored plan, if it still holds, or a new one
spec          what a run is recorded as
queueing      its jobs are left to workers
controls      the runs that tell what chance labels
phases        the phases of one run, for whoever does them
"""
