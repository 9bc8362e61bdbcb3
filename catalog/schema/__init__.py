"""All tables: identity (who), runs (when and how), statistics (what was measured), labels (what it means)."""

from catalog.schema import identity, labels, runs, statistics

__all__ = ["identity", "labels", "runs", "statistics"]
