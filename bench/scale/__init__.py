"""A catalog as big as it may become, made up, and what it costs to write, keep and ask; see docs/scale.md."""
