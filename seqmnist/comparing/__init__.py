"""The parts of compare.py; none loads TensorFlow.

runs, metrics_tail         reading run folders in any state
rows, filters              the table's rows: grouped, filtered and sorted
table, overlay             the rows as text, and as curves
best_two, significance     whether the best row is better than the next
"""
