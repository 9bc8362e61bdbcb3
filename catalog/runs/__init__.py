"""Runs from their beginning to their deletion.

life      how a run begins, goes on, is cancelled and deleted, under its lock
handle    the right to one run: the only way to write its rows
jobs      the ledger of its jobs
reuse     what earlier runs know already
"""
