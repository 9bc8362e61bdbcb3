"""What the computation takes, in seconds and memory, on the pocket family and on random weights; see docs/performance.md."""
