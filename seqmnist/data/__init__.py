"""MNIST from its files to batches: IDX files, the three splits, the order of batches.

NumPy only. How an image becomes a sequence is in sequences.py.
"""
