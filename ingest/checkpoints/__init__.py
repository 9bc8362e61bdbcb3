"""Checkpoints: found, checked before anything is read, opened, folded, and giving their activations.

arguments, hub, first_looks    what was given on the command line, and what can be told of it without torch
config, behaviour, files       the configuration and what it makes the model compute; the files and their hash
checkpoint, processing         the open model; its weights folded and proven equal (SPEC §0.2)
"""
