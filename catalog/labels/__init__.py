"""Labels from stored statistics: thresholds of the rules by version, the statements that apply them, and counts of labels."""
