"""seqmnist with `--recurrence plain`."""

import suite

NAME = "seqmnist, plain"
suite.RECURRENCE = "plain"
Peer = suite.Peer
