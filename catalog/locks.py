"""The advisory locks of the catalog, as SQL expressions, so that everybody takes the same one."""

PUBLISH = "hashtext('neuron-catalog publish')"
"""Publications, relabelling and deletions of one database follow each other."""

RUN = "hashtextextended(:identity, 0)"
"""The right to work on the run with the bound `identity`; of the session, so that a killed process gives it back."""

LINEAGE = "hashtext('neuron-catalog lineage')"
"""What models begin with is found again by one transaction at a time, each when all else of it is done."""

JOB = "CAST(:run_id AS int), CAST(:job AS int)"
"""The right to work on one job of a run; two keys, so that it never meets the locks of one key."""
