"""Whether what is stored is what was published, and hangs together.

checks       checksums and structure, over one snapshot
structure    what must hold of rows, by what the parts say of them
sample       random neurons, to be computed again from the models
"""
