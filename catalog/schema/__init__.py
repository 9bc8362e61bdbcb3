"""All tables: identity (who), runs (when and how), jobs, statistics and distributions (what was measured), labels (what it
means), roles (what neurons do), examples (where to see it), summaries (sums for quick answers), checksums."""

from catalog.schema import checksums, distributions, examples, identity, jobs, labels, roles, runs, statistics, summaries

__all__ = ["checksums", "distributions", "examples", "identity", "jobs", "labels", "roles", "runs", "statistics", "summaries"]
