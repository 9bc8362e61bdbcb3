"""What labels and intervals are worth: their controls, measured; the tables of docs/trust.md."""
