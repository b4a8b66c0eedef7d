"""The parts of launch.py; none loads TensorFlow.

processes     scripts as processes on this machine, their output and their signals
group         the workers of one training, restarted together when one is lost
sweep         many trainings, a few at a time
"""
