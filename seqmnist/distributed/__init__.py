"""Several workers that train one network together.

cluster       who they are, from the variable TF_CONFIG
rendezvous    what they tell one another before the first step and after the last
workers       shares of a batch, sums over all workers
watchdog      no worker waits for a lost one for ever
"""
