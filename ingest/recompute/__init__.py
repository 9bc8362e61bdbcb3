"""What `catalog verify --recompute` does: neurons computed again by plain sums; what is remembered of files, read again."""
