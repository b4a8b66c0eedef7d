"""What the training scripts share: data, sequence views, cells, loop and run log.

Imports point one way, from the scripts down:

    train_*.py -> training -> run_log, figures        (what happens around the graph)
    train_*.py -> cells, classifier -> tf1            (the parts of the graph)
    training   -> batches -> sequences, mnist         (NumPy only, no TensorFlow)
    everything -> errors

Importing any of these modules does nothing else: no seed is set, no file is opened and
TensorFlow is not loaded before the first graph is built.
"""
