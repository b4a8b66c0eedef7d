"""What the training scripts share: data, sequence views, cells, loop and run log.

Imports point one way, from the scripts down:

    train_*.py -> training -> opening, trainer, run_recorder  (a run)
                  trainer  -> recorder -> network -> steps, initial_weights, summaries
                  run_recorder -> recorder, checkpoints, run_log, illustrations
                  illustrations -> figures, reading, predictions
    train_*.py -> sequences, cells, rnn, classifier           (the parts of the graph)
    steps, rnn -> fast -> cells                               (what XLA compiles)
    train_*.py -> options -> option_types                     (the command line)
    steps, network -> one_worker <- distributed <- training    (several workers)
    compare.py -> comparing, predict.py -> predicting, launch.py -> launching
    training   -> plan, batches -> mnist -> idx               (NumPy only)
    everything -> errors, paths; what needs TensorFlow -> tf1

Importing any of these modules does nothing else: no seed is set, no file is opened and
TensorFlow is not loaded before the first graph is built.
"""
