"""A short version of `make torture`: real kills of real processes."""

import random

import pytest
import torture

SHORTER = {
    "train_rnn": ["--epochs", "3"],
    "train_lstm": ["--steps", "4000"],
    "train_gru_pixel": [
        *("--steps", "120", "--evaluate-every", "60steps", "--summaries", "scalars")
    ],
}


@pytest.mark.parametrize("script", torture.CASES)
def test_killed_runs_end_like_the_one_that_was_not(script, tmp_path):
    counts, found = torture.torture(
        *(script, [*torture.CASES[script], *SHORTER[script]]),
        *(3, random.Random(1), tmp_path),
    )
    assert counts["kills"] == 3 and counts["compared"] > 40
    assert found == []
