"""The fast path: recurrences and updates that XLA compiles.

layout        the memory layout of a recurrence's tensors
equations     the cells' equations, forwards and backwards in time
recurrence    the loops over a sequence, and their gradient
engine        updates and evaluations of a classifier
"""
