"""A short version of `make torture`: real kills of real processes, of one script."""

import random

import torture
from scripts import SLOW

SHORTER = ["--epochs", "1"]


@SLOW
def test_killed_runs_end_like_the_one_that_was_not(tmp_path):
    counts, found = torture.torture(
        *("train_rnn", [*torture.CASES["train_rnn"], *SHORTER]),
        *(2, random.Random(1), tmp_path),
    )
    assert counts["kills"] == 2 and counts["compared"] > 40
    assert found == []
