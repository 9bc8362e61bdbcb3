"""The command line: every command parses, makes one call, and prints.

Modules are named for their nouns. `output` is the only place that prints: data on stdout, talk on stderr. Whatever
is heavy (pandas, SQLAlchemy, torch) is imported inside the command that needs it, so that `catalog --help` is instant.
"""
