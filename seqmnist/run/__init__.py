"""A run from its configuration to its result: opening, loop, updates, checkpoints.

What it writes for people to look at is in record/; several workers in distributed/.
"""
