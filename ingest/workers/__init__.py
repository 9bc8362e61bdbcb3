"""Processes that do jobs from the queue.

worker        the loop: signals, rescue of what others lost
delivery      one delivery of the queue and its fate
opened_run    a run opened again by who has only its number
outlook       what is left to do, by the ledger and the queue
settings      what a worker was started with
"""
