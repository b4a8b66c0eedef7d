"""MNIST from its files to batches: IDX files, the three splits, the order of batches.

NumPy only. sequences.py turns an image into a sequence.
"""
