"""What compare.py is made of; nothing here loads TensorFlow.

runs, metrics_tail         run folders, whatever they hold
rows, filters              the table's rows: groups, selected and sorted
table, overlay             the rows as text, and as curves
best_two, significance     whether the best is better than the next
"""
