"""Faults in real processes: the kinds, a catalog to strike, and the tables of docs/reliability.md."""
