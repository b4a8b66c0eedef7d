"""The package of the training scripts: one folder for each kind of work.

    this folder   the lesson: cells, sequences, classifier, optimizer, dynamic_rnn
    data/         IDX files, splits, batches; NumPy only
    fast/         the recurrence and the updates that XLA compiles
    run/          a run from its configuration to its result
    record/       what a run leaves in its folder
    cli/          the command line
    distributed/  several workers
    comparing/    compare.py; predicting/  predict.py; launching/  launch.py

Imports point one way: scripts, run, record, the lesson, data; scripts, cli, data. Only
rnn.py and run/engine.py import fast/. Importing a module has no effect: no seed is set
and no file is opened. TensorFlow is loaded when the first graph is built.
"""
