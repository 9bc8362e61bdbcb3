"""All tables: identity (who), runs (when and how), statistics (what was measured), labels (what it means),
summaries (sums for quick answers)."""

from catalog.schema import identity, labels, runs, statistics, summaries

__all__ = ["identity", "labels", "runs", "statistics", "summaries"]
