"""All tables: identity (who), runs (when and how), jobs, statistics and distributions (what was measured), labels (what it
means), summaries (sums for quick answers), checksums."""

from catalog.schema import checksums, distributions, identity, jobs, labels, runs, statistics, summaries

__all__ = ["checksums", "distributions", "identity", "jobs", "labels", "runs", "statistics", "summaries"]
