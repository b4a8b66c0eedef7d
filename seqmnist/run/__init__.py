"""A run from its configuration to its result: opening, loop, updates, checkpoints.

The files that a run writes for people are in record/; several workers in distributed/.
"""
