"""The advisory locks of the catalog, as SQL expressions, so that everybody takes the same one."""

PUBLISH = "hashtext('neuron-catalog publish')"
"""Publications, relabelling and deletions of one database follow each other."""

RUN = "hashtextextended(:identity, 0)"
"""The right to work on the run with the bound `identity`; of the session, so that a killed process gives it back."""
