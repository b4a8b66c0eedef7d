"""What a run leaves in its folder, and how it is written: log, events, figures, tables.

When something is written is decided in run/; checkpoints are in run/checkpoints.py.
"""
