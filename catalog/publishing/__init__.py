"""How rows become visible: all of a run, or nothing.

staging       hidden tables that a run fills
partitions    tables with a partition per run, which what is staged becomes
publish       the transaction: rows, ranks, labels, sums, checksums
ranks         explanations of a neuron, in order over all parts
summaries     sums kept for readers
checksums     of every table of every run, for `catalog verify`
controls      what a published control changes: labels of the runs that it is the control of
relabel       labels of all runs by the newest rules
asked_rows    rows that people asked for after a run was published
"""
