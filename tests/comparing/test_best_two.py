"""The best row against the next: by predictions, by counts, or not at all."""

import json

import numpy as np
import pytest
from made_runs import LABELS, lines_of, make_run, predict

from seqmnist.comparing.significance import mcnemar, newcombe
from seqmnist.data.class_names import numbered
from seqmnist.record.predictions import write_predictions


def test_the_best_two_are_told_apart_by_their_predictions(tmp_path, capsys):
    first = make_run(tmp_path, 0, 190, script="train_lstm")
    second = make_run(tmp_path, 1, 179)
    predict(first, range(10))
    predict(second, [*range(8), *range(100, 113)])
    make_run(tmp_path, 2, 100, script="train_gru_pixel")
    lines, err = lines_of(tmp_path, capsys)
    assert not err
    assert lines[-2:] == [
        "best: train_lstm 20260101-000000-seed0; next: train_rnn 20260101-000000-seed1",
        "13 test images only the best has right, 2 only the next: p = 0.0074 (exact "
        "McNemar), beyond chance at the 5 % level",
    ]
    # Whatever the order in which they are shown.
    lines, _ = lines_of(tmp_path, capsys, "--sort", "units", "--format", "json")
    found = json.loads("\n".join(lines))["comparison"]
    assert found["best"].endswith("seed0") and found["next"].endswith("seed1")
    assert (found["test"], found["beyond_chance"]) == ("mcnemar", True)
    assert (found["only_best"], found["only_next"]) == (13, 2)
    assert found["p"] == mcnemar(13, 2) == 242 / 2**15


def test_without_predictions_the_interval_is_told(tmp_path, capsys):
    predict(make_run(tmp_path, 0, 190), range(10))
    make_run(tmp_path, 1, 185, units=5)
    lines, err = lines_of(tmp_path, capsys)
    assert not err
    low, high = newcombe(190, 200, 185, 200)
    assert lines[-1] == (
        f"test accuracies differ by 0.0250, 95 % interval {low:.4f} to {high:.4f} "
        "(Newcombe), may be chance"
    )
    assert low < 0 < high
    make_run(tmp_path, 2, 100, units=7)
    lines, _ = lines_of(tmp_path, capsys, "--filter", "seed!=1")
    assert lines[-1].startswith("test accuracies differ by 0.4500, 95 % interval 0.3")
    assert lines[-1].endswith("(Newcombe), beyond chance at the 5 % level")


def test_groups_are_compared_by_their_median_runs(tmp_path, capsys):
    # The mean of the first is above that of the second, its median below.
    for seed, wrong in ((0, 40), (1, 41), (2, 1), (3, 2)):
        predict(make_run(tmp_path, seed, 200 - wrong), range(wrong))
    for seed, wrong in ((0, 23), (1, 24), (2, 24)):
        folder = make_run(tmp_path, seed, 200 - wrong, script="train_lstm")
        predict(folder, range(100, 100 + wrong))
    lines, _ = lines_of(tmp_path, capsys)
    assert lines[1].startswith("0.8950 ±") and lines[2].startswith("0.8817 ±")
    assert lines[-2] == (
        "best: train_rnn 20260101-000000-seed0 (the median of 4 runs); next: "
        "train_lstm 20260101-000000-seed2 (the median of 3 runs)"
    )
    assert lines[-1] == (
        "24 test images only the best has right, 40 only the next: p = 0.06 (exact "
        "McNemar), may be chance"
    )


def test_a_median_that_is_worse_is_no_proof_for_the_best(tmp_path, capsys):
    for seed, wrong in ((0, 80), (1, 81), (2, 0), (3, 0)):
        make_run(tmp_path, seed, 200 - wrong)
    make_run(tmp_path, 5, 155, script="train_lstm")
    lines, _ = lines_of(tmp_path, capsys)
    assert lines[1].startswith("0.7987 ±")
    assert lines[-1].startswith("test accuracies differ by -0.1750, 95 % interval -0.2")
    assert lines[-1].endswith(
        ", beyond chance at the 5 % level, but in favour of the next"
    )
    lines, _ = lines_of(tmp_path, capsys, "--format", "json")
    assert json.loads("\n".join(lines))["comparison"]["beyond_chance"] is False


def test_the_test_too_is_no_proof_for_a_best_whose_median_is_worse(tmp_path, capsys):
    for seed, wrong in ((0, 80), (1, 81), (2, 0), (3, 0)):
        predict(make_run(tmp_path, seed, 200 - wrong), range(wrong))
    predict(make_run(tmp_path, 5, 155, script="train_lstm"), range(45))
    lines, _ = lines_of(tmp_path, capsys, "--format", "json")
    found = json.loads("\n".join(lines))["comparison"]
    assert (found["only_best"], found["only_next"]) == (0, 35)
    assert found["p"] < 0.05 and found["beyond_chance"] is False
    assert found["lines"][1] == (
        "0 test images only the best has right, 35 only the next: p < 0.0001 (exact "
        "McNemar), beyond chance at the 5 % level, but in favour of the next"
    )


@pytest.mark.parametrize(
    "digests, words",
    [
        (("ab", "cd"), "they were tested on different data: their accuracies cannot"),
        (("ab", None), "config.json does not say whether they were tested on the same"),
        ((None, None), "config.json does not say whether they were tested on the same"),
    ],
)
def test_other_test_sets_are_not_compared(digests, words, tmp_path, capsys):
    for seed, digest in enumerate(digests):
        predict(make_run(tmp_path, seed, 190 - seed, data_sha256=digest), range(10))
    lines, _ = lines_of(tmp_path, capsys)
    assert lines[-1].startswith(words)


def test_other_labels_are_not_compared(tmp_path, capsys):
    predict(make_run(tmp_path, 0, 190), range(10))
    folder = make_run(tmp_path, 1, 190, units=5)
    labels = (LABELS + 1) % 10
    logits = np.eye(10, dtype=np.float32)[labels]
    logits[:10] = np.eye(10)[LABELS[:10]]
    write_predictions(folder, labels, logits, numbered(10))
    lines, _ = lines_of(tmp_path, capsys)
    assert lines[-1].startswith("the labels in their predictions.csv differ: their")


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda path: path.write_text("x"), "not what a run writes"),
        (lambda path: predict(path.parent, range(9)), "has 191/200 right, where the"),
    ],
)
def test_predictions_that_cannot_be_used_are_told(spoil, message, tmp_path, capsys):
    predict(make_run(tmp_path, 0, 190), range(10))
    folder = make_run(tmp_path, 1, 190, units=5)
    predict(folder, range(10))
    spoil(folder / "predictions.csv")
    lines, err = lines_of(tmp_path, capsys)
    assert "Newcombe" in lines[-1]
    assert message in err and err.endswith("it is not used\n") and err.count("\n") == 1


def test_a_single_run_is_compared_with_nothing(tmp_path, capsys):
    make_run(tmp_path, 0, 190)
    make_run(tmp_path, 1, None)
    assert len(lines_of(tmp_path, capsys)[0]) == 3
