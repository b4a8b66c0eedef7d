"""The fast path: recurrences and updates as XLA compiles them.

layout        how the tensors of a recurrence lie in memory
equations     the cells' equations, forwards and backwards in time
recurrence    the loops over a sequence, and their gradient
engine        updates and evaluations of a classifier
"""
