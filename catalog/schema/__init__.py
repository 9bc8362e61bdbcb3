"""All tables: identity (who), runs (when and how), jobs, statistics (what was measured), labels (what it means)."""

from catalog.schema import identity, jobs, labels, runs, statistics

__all__ = ["identity", "jobs", "labels", "runs", "statistics"]
