"""The tables that are no part's: identity (who), runs (when and how), jobs, labels (what it means), summaries (sums for quick
answers), checksums. Those of parts are in `catalog.parts`."""

from catalog.schema import checksums, identity, jobs, labels, runs, summaries

__all__ = ["checksums", "identity", "jobs", "labels", "runs", "summaries"]
