"""Benchmarks: what the catalog costs, measured. Each module prints Markdown tables."""
