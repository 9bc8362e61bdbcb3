"""All tables: identity (who), runs (when and how), jobs, statistics (what was measured), labels (what it means),
summaries (sums for quick answers), checksums."""

from catalog.schema import checksums, identity, jobs, labels, runs, statistics, summaries

__all__ = ["checksums", "identity", "jobs", "labels", "runs", "statistics", "summaries"]
