"""Runs from their beginning to their deletion.

life      how a run begins, goes on and is cancelled, under its lock
deletion  how it is deleted
handle    the right to one run: the only way to write its rows
jobs      the ledger of its jobs
controls  which runs are the controls of a run
tensors   which published models hold the same tensors
reuse     what earlier runs know already
"""
