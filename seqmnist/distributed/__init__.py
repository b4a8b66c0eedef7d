"""Several workers that train one network together.

cluster       the workers' addresses, from the variable TF_CONFIG
rendezvous    messages between workers before the first step and after the last
workers       shares of a batch, sums over all workers
watchdog      ends a worker that waits too long for a lost one
"""
