"""Jobs done: what one job computes, where it leaves what it found, by this process or by a queue.

job, sums                      one pass over tokens, and its accumulators
store, sums_files              checkpoints and results
inline                         all jobs of a run, one after the other, in this process
queue, staging_folder          what workers share
"""
