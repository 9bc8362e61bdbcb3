"""Reproducible benchmarks; each prints a table."""

import ingest  # noqa: F401  (before torch, for it says how threads wait)
