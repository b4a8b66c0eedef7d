"""The files in a run's folder, and their writers: log, events, figures, tables.

The modules of run/ decide when to write. Checkpoints are in run/checkpoints.py.
"""
