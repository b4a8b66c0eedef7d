"""predictions.csv: what is written reads back; what is not that is told in a line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmnist.data.class_names import numbered
from seqmnist.errors import CannotWrite, UserError
from seqmnist.record.predictions import (
    PREDICTIONS_FILE,
    read_predictions,
    write_predictions,
)

DIGITS = numbered(10)


def logits_for(predictions, margin=2.0):
    return np.float32(margin) * np.eye(10, dtype=np.float32)[predictions]


def test_a_row_says_label_prediction_and_its_probability(tmp_path):
    logits = np.zeros([4, 10], np.float32)
    logits[0, 7] = np.log(9.0)  # 9 against nine times 1
    logits[1, 3] = 1000.0  # exp would overflow
    logits[2, :] = -1000.0  # exp would be 0 everywhere
    logits[3, 9] = np.log(3.0)
    path = write_predictions(tmp_path, np.array([7, 2, 0, 9], np.uint8), logits, DIGITS)
    assert path == tmp_path / PREDICTIONS_FILE == tmp_path / "predictions.csv"
    assert path.read_text() == (
        "index,label,prediction,probability\n0,7,7,0.5\n1,2,3,1\n2,0,0,0.1\n3,9,9,0.25\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.csv"]


def test_probabilities_have_six_digits_and_are_the_softmax(tmp_path):
    logits = np.random.RandomState(0).randn(50, 10).astype(np.float32) * 5
    write_predictions(tmp_path, np.zeros(50, np.int32), logits, DIGITS)
    rows = (tmp_path / PREDICTIONS_FILE).read_text().splitlines()[1:]
    found = [float(row.split(",")[3]) for row in rows]
    softmax = np.exp(logits.astype(float))
    softmax /= softmax.sum(axis=1, keepdims=True)
    assert found == pytest.approx(softmax.max(axis=1).tolist(), rel=5e-6)


def test_labels_and_predictions_read_back(tmp_path):
    random = np.random.RandomState(1)
    labels, predictions = random.randint(0, 10, [2, 10_000])
    write_predictions(tmp_path, labels, logits_for(predictions), DIGITS)
    found = read_predictions(tmp_path)
    assert [array.dtype for array in found] == [np.int64] * 2
    np.testing.assert_array_equal(found[0], labels)
    np.testing.assert_array_equal(found[1], predictions)


@pytest.mark.parametrize("shape", [(2, 10), (3, 9), (3,), (30,)])
def test_shapes_that_do_not_fit_are_refused(shape, tmp_path):
    with pytest.raises(ValueError, match=r"expected \[n\] and \[n, 10\]"):
        write_predictions(
            tmp_path, np.zeros(3, int), np.zeros(shape, np.float32), DIGITS
        )
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_told(tmp_path):
    with pytest.raises(CannotWrite, match=r"predictions.csv: cannot be written \(No"):
        write_predictions(tmp_path / "gone", np.zeros(1, int), logits_for([3]), DIGITS)


def test_what_is_not_a_number_is_written_and_read_too(tmp_path):
    logits = np.full([2, 10], np.nan, np.float32)
    logits[1] = np.inf
    write_predictions(tmp_path, np.array([1, 2]), logits, DIGITS)
    labels, predictions = read_predictions(tmp_path)
    assert labels.tolist() == [1, 2] and predictions.tolist() == [0, 0]


HEAD = b"index,label,prediction,probability\n"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not what a run writes"),
        (HEAD, "not what a run writes"),
        (HEAD[:-1], "not what a run writes"),
        (HEAD + b"0,7,7,0.5", "not what a run writes"),  # cut
        (b"a,b\n0,7,7,0.5\n", "not what a run writes"),
        (HEAD + b"0,7,7,0.5\n" + b"0,7,7,0.5\n" * (2 * 10**6), "not what a run writes"),
        (HEAD + b"0,7,7,0.5\n2,7,7,0.5\n", "line 3 is not the row of test image 1"),
        (HEAD + b"0,7,7\n", "line 2 is not the row of test image 0"),
        (HEAD + b"0,1000,7,0.5\n", "line 2 "),
        (HEAD + b"0,7,-1,0.5\n", "line 2 "),
        (HEAD + b"0,7,7,\xff\n", "line 2 "),
        (HEAD + b"0,\xd9\xa1,7,0.5\n", "line 2 "),  # a digit, but not one of ours
        (HEAD + b"0,7,7,0.5\n\n", "line 3 "),
    ],
    ids=range(13),
)
def test_what_is_not_predictions_is_told_in_one_line(content, message, tmp_path):
    (tmp_path / PREDICTIONS_FILE).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_predictions(tmp_path)
    assert "\n" not in str(caught.value) and "predictions.csv: " in str(caught.value)


def test_missing_predictions_are_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_predictions(tmp_path)
    (tmp_path / PREDICTIONS_FILE).mkdir()
    with pytest.raises(UserError, match="is no file"):
        read_predictions(tmp_path)


@given(
    st.binary(max_size=40),
    st.integers(0, len(HEAD) + 30),
    st.integers(0, 40),
)
@settings(max_examples=500, derandomize=True, database=None, deadline=None)
def test_changed_bytes_give_classes_or_one_line(tmp_path_factory, some, at, cut):
    folder = tmp_path_factory.getbasetemp() / "changed"
    folder.mkdir(exist_ok=True)
    good = HEAD + b"0,7,7,0.5\n1,2,3,1\n2,0,0,0.1\n"
    (folder / PREDICTIONS_FILE).write_bytes(good[:at] + some + good[at + cut :])
    try:
        labels, predictions = read_predictions(folder)
    except UserError:
        return
    assert len(labels) == len(predictions) > 0
    assert {*labels.tolist(), *predictions.tolist()} <= set(range(10))
