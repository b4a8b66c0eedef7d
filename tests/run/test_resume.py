"""Runs that stop and go on: the same to the bit, refused where they would not be."""

import json
import os
import re
import shlex
import shutil
import signal
import time
from pathlib import Path

import pytest
from conftest import small_arguments, write_small_data
from made_network import Network
from scripts import SLOW, VARIANT, main, run_folders, slow_after
from torture import differences, fingerprint

from seqmnist import tf1 as tf
from seqmnist.record.folder import END_FILES
from seqmnist.record.log import Result
from seqmnist.run import training
from seqmnist.run.checkpoints import SUFFIXES, Checkpoints
from seqmnist.run.recorder import Recorder


def between_intervals(small):
    """A run with evaluations, reports and checkpoints that do not coincide."""
    return [
        *small,
        *("--steps", "40", "--report-every", "7", "--evaluate-every", "11"),
        *("--evaluate-splits", "validation", "test", "--checkpoint-every", "5"),
    ]


@pytest.fixture
def argv(small):
    return between_intervals(small)


def stopper(monkeypatch):
    """Makes the next run stop as by a signal after a step; 0 for before the first.

    The signal comes during the update, as it does when TensorFlow computes.
    """

    def stop(step, number=signal.SIGTERM):
        made = []

        class Signals(training.StopSignals):
            def __enter__(self):
                made.append(self)
                self.number = None if step else number
                return super().__enter__()

        def update(self, *args):
            updates = original(self, *args)
            if self.progress.step == step:
                made[-1].number = number
            return updates

        original = training.TrainingLoop._after_update
        monkeypatch.setattr(training.TrainingLoop, "_after_update", update)
        monkeypatch.setattr(training, "StopSignals", Signals)

    return stop


@pytest.fixture
def stop_after(monkeypatch):
    return stopper(monkeypatch)


def untouched(name, argv, tmp_path):
    """The fingerprint of the run as it is without a stop."""
    assert main(name, [*argv, "--log-dir", str(tmp_path / "untouched")]) == 0
    (folder,) = run_folders(tmp_path / "untouched", name)
    return fingerprint(folder)


def stopped(name, argv, step, stop_after, monkeypatch, tmp_path):
    """Runs until a step, or a few more that the same call did; returns the folder."""
    with monkeypatch.context():
        stop_after(step)
        assert main(name, argv) == 128 + signal.SIGTERM
    monkeypatch.undo()
    (folder,) = run_folders(tmp_path / "logs", name)
    return folder


@pytest.mark.parametrize(
    "name, recurrence, summaries, stops",
    slow_after(
        1,
        [
            ("train_rnn", "auto", "all", [16]),
            ("train_lstm", "plain", "all", [11, 40]),
            ("train_lstm", "auto", "scalars", [16]),
            ("train_gru_pixel", "auto", "scalars", [16]),
        ],
        variant_after=1,
    ),
)
def test_a_resumed_run_ends_as_if_it_had_not_been_stopped(
    name, recurrence, summaries, stops, argv, stop_after, monkeypatch, tmp_path, capsys
):
    """Stopped between all, at an evaluation, after the last step."""
    argv = [*argv, "--recurrence", recurrence, "--summaries", summaries]
    expected = untouched(name, argv, tmp_path)
    assert expected["result.txt"] and len(expected["metrics.csv"]) > 12
    for step in stops:
        folder = stopped(name, argv, step, stop_after, monkeypatch, tmp_path)
        err = capsys.readouterr().err
        match = re.match(r"interrupted after step (\d+) of 40, which is saved; go", err)
        assert step <= int(match.group(1)) <= step + 4
        assert main(name, ["--resume", str(folder)]) == 0
        assert f"resumed after step {match.group(1)}\n" in capsys.readouterr().out
        assert differences(expected, fingerprint(folder)) == []
        shutil.rmtree(folder)


@SLOW
def test_a_run_with_all_that_may_be_added_is_resumed_too(
    argv, stop_after, monkeypatch, tmp_path
):
    """Averages are saved with the weights; shifts and schedule follow from the step."""
    argv = [
        *argv,
        *("--max-shift", "2", "--max-slant", "0.3", "--permute", "--layers", "2"),
        *("--schedule", "cosine", "--label-smoothing", "0.1"),
        *("--dropout", "0.2", "--recurrent-dropout", "0.2"),
        *("--warmup-steps", "9", "--max-grad-norm", "0.3", "--ema-decay", "0.9"),
    ]
    expected = untouched("train_lstm", argv, tmp_path)
    folder = stopped("train_lstm", argv, 16, stop_after, monkeypatch, tmp_path)
    assert main("train_lstm", ["--resume", str(folder)]) == 0
    assert differences(expected, fingerprint(folder)) == []


@VARIANT
def test_it_may_be_stopped_many_times(argv, stop_after, monkeypatch, tmp_path, capsys):
    """Also before the first step, and after the last coarse one."""
    argv = [*argv, "--view", "pixels", "--coarse-part", "0.5"]
    expected = untouched("train_lstm", argv, tmp_path)
    folder = stopped("train_lstm", argv, 0, stop_after, monkeypatch, tmp_path)
    for step in (7, 20, 33):
        found = stopped(
            *("train_lstm", ["--resume", str(folder)], step),
            *(stop_after, monkeypatch, tmp_path),
        )
        assert found == folder
    assert main("train_lstm", ["--resume", str(folder)]) == 0
    assert differences(expected, fingerprint(folder)) == []
    record = json.loads((folder / "config.json").read_text())
    steps = [entry["step"] for entry in record["resumed"]]
    assert len(steps) == 4 and all(
        step <= found < step + 5 for step, found in zip([0, 7, 20, 33], steps)
    )
    assert record["command"].startswith("train_lstm.py --data-dir ")
    assert "resume" not in record
    seconds = Result.parse((folder / "result.txt").read_text()).seconds
    assert seconds > 0


@pytest.mark.parametrize(
    "every, steps",
    [("1", [9, 10, 11]), ("5", [5, 10, 12]), ("1epoch", [0, 12]), ("never", [0, 12])],
)
def test_checkpoint_every_decides_how_often(every, steps, small, tmp_path):
    """600 training images in batches of 50: 12 steps are an epoch."""
    argv = [*small, "--validation-size", "20", "--evaluate-every", "never"]
    if every == "1":
        argv += ["--steps", "11"]
    assert main("train_rnn", [*argv, "--checkpoint-every", every]) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    assert Checkpoints(folder).steps() == steps


def test_checkpoints_may_be_made_by_the_clock(small, monkeypatch, tmp_path):
    now = [0.0]

    def ticking():
        now[0] += 0.2
        return now[0]

    monkeypatch.setattr(time, "perf_counter", ticking)
    argv = [*small, "--recurrence", "plain", "--evaluate-every", "never"]
    saved = []
    save = Recorder.save
    monkeypatch.setattr(
        Recorder,
        "save",
        lambda self: (saved.append(self.progress.step), save(self)),
    )
    assert main("train_rnn", [*argv, "--checkpoint-every", "3s"]) == 0
    assert saved[0] == 0 and saved[-1] == 12
    assert 1 < saved[1] < saved[2] < 12


def test_the_best_on_validation_is_kept(argv, tmp_path):
    assert main("train_lstm", [*argv, "--evaluate-every", "1", "--steps", "30"]) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_lstm")
    rows = fingerprint(folder)["metrics.csv"]
    figures = {
        int(row["step"]): (int(row["correct"]), -float(row["loss"]))
        for row in map(dict, rows)
        if row["split"] == "validation"
    }
    best = max(figures, key=figures.get)
    path = tf.train.latest_checkpoint(str(folder / "checkpoints"), "best")
    assert path.endswith(f"/model.ckpt-{best}")
    assert best in Checkpoints(folder).steps()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in TensorBoard 1.15
def test_tensorboard_sees_each_step_once(half):
    """TensorBoard's own reader, over the files of both sittings."""
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    assert main("train_rnn", ["--resume", str(half)]) == 0
    for split, steps in {"train": range(1, 41), ".": [11, 22, 33, 40]}.items():
        reader = accumulators.EventAccumulator(str(half / split), {"scalars": 0})
        reader.Reload()
        for tag in ("loss", "accuracy"):
            assert [event.step for event in reader.Scalars(tag)] == list(steps)


def test_a_finished_run_says_so_and_is_left_as_it_is(
    small, tmp_path, capsys, monkeypatch
):
    assert main("train_rnn", small) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    monkeypatch.chdir(folder)
    assert main("train_rnn", ["--resume", "."]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-2] == ".: this run is finished"
    assert out[-1] == line
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def stopped_run(small_data, tmp_path_factory):
    """The folder of a run that stopped after 22 of 40 steps."""
    tmp_path = tmp_path_factory.mktemp("half")
    with pytest.MonkeyPatch.context() as monkeypatch:
        argv = between_intervals(small_arguments(small_data, tmp_path))
        stop_after = stopper(monkeypatch)
        return stopped("train_rnn", argv, 22, stop_after, monkeypatch, tmp_path)


@pytest.fixture
def half(stopped_run, tmp_path):
    """A copy of it, to be changed."""
    folder = tmp_path / "logs" / "train_rnn" / stopped_run.name
    shutil.copytree(str(stopped_run), str(folder))
    return folder


def refused(argv, capsys):
    """The one line with which a script refuses."""
    assert main("train_rnn", argv) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: ") and err.count("\n") == 1
    return err


def test_the_length_of_the_run_may_be_given_as_all_again(half, capsys):
    record = json.loads((half / "config.json").read_text())
    line = refused(["--resume", str(half), "--decay-steps", "all"], capsys)
    found = f"all, {record['steps']} (the run has {record['decay_steps']})"
    assert f"another run with --decay-steps {found}; leave it out" in line


def test_a_cosine_of_the_whole_run_is_resumed_as_it_was_typed(
    small, stop_after, monkeypatch, tmp_path
):
    argv = [*small, "--schedule", "cosine", "--decay-steps", "all"]
    folder = stopped("train_rnn", argv, 5, stop_after, monkeypatch, tmp_path)
    assert main("train_rnn", [*argv, "--resume", str(folder)]) == 0


def test_a_cosine_shorter_than_its_run_is_resumed_if_it_was_begun(
    small, stop_after, monkeypatch, tmp_path
):
    """Before it was refused; what decided the numbers is in checkpoint and record."""
    argv = [*small, "--schedule", "cosine", "--decay-steps", "7"]
    with monkeypatch.context() as patch:
        patch.setattr(training, "planned", lambda config, plan: config)
        folder = stopped("train_rnn", argv, 5, stop_after, patch, tmp_path)
    assert main("train_rnn", ["--resume", str(folder)]) == 0


def test_options_that_would_change_the_run_are_refused_by_name(half, capsys):
    before = (half / "config.json").read_text()
    given = ["--units", "5", "--learning-rate", "0.5", "--ema-decay", "0.5", "--show"]
    line = refused(["--resume", str(half), *given], capsys)
    assert (
        "another run with --learning-rate 0.5 (the run has 0.001), --ema-decay 0.5 (th"
        in line
    )
    assert "--units" not in line and "--show" not in line
    line = refused(["--resume", str(half), "--epochs", "3"], capsys)
    assert "goes to step 40, and cannot be made shorter, 36 steps; expected m" in line
    line = refused(["--resume", str(half), "--preset", "quick"], capsys)
    assert "--preset quick (the run has basic-rnn-tensorboard)" in line
    assert (half / "config.json").read_text() == before


def test_options_that_do_not_change_the_run_may_be_given(half, capsys, small_data):
    argv = ["--checkpoint-every", "never", "--predict", "3", "--units", "5"]
    argv += ["--data-dir", str(small_data) + "/."]
    assert main("train_rnn", ["--resume", str(half), *argv]) == 0
    assert "test image 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, is_finished", slow_after(1, [("train_rnn", True), ("train_lstm", False)])
)
def test_a_run_may_be_made_longer(
    name, is_finished, small, stop_after, monkeypatch, tmp_path, capsys
):
    """It ends as one that had this length from the beginning."""
    argv = [*small, "--report-every", "6", "--evaluate-every", "6", "--seed", "4"]
    argv += ["--checkpoint-every", "6", "--summaries", "all"]
    expected = untouched(name, [*argv, "--steps", "24"], tmp_path)
    shorter = [*argv, "--steps", "12"]
    if is_finished:
        assert main(name, shorter) == 0
        (folder,) = run_folders(tmp_path / "logs", name)
        ends = {n: (folder / n).read_bytes() for n in END_FILES}
        before = (folder / "metrics.csv").read_bytes()
        assert b",test," in before
    else:
        folder = stopped(name, shorter, 6, stop_after, monkeypatch, tmp_path)
    (folder / "mine.png").write_text("a file of the user's")
    assert main(name, ["--resume", str(folder), "--epochs", "2"]) == 0  # 24 steps
    assert differences(expected, fingerprint(folder)) == []
    record = json.loads((folder / "config.json").read_text())
    assert (record["steps"], record["epochs"]) == (None, 2)
    assert (folder / "mine.png").exists()
    if is_finished:
        ended = folder / "ended-at-12"
        assert ends == {n: (ended / n).read_bytes() for n in END_FILES}
        assert (ended / "metrics.csv").read_bytes() == before
    # And it is finished now, at its new length.
    capsys.readouterr()
    assert main(name, ["--resume", str(folder)]) == 0
    assert "this run is finished" in capsys.readouterr().out
    assert main(name, ["--resume", str(folder), "--steps", "23"]) == 2
    assert "goes to step 24, and cannot be made shorter, 23" in capsys.readouterr().err


def test_a_run_with_coarse_steps_cannot_be_made_longer(small, tmp_path, capsys):
    """They are a part of its length: a run of the new length would have more."""
    argv = ["--view", "pixels", "--coarse-part", "0.25", "--steps", "4"]
    assert main("train_gru_pixel", [*small, *argv]) == 0
    assert "4 steps of 50 images, 12 to an epoch, the first 1 on images of 14 x 14" in (
        capsys.readouterr().out
    )
    (folder,) = run_folders(tmp_path / "logs", "train_gru_pixel")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert main("train_gru_pixel", ["--resume", str(folder), "--steps", "8"]) == 2
    assert "a part of its steps, 0.25, reads images at" in capsys.readouterr().err
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_cannot_be_made_longer_stays_finished(small, tmp_path, capsys):
    """The network was changed since: its checkpoint does not fit."""
    assert main("train_rnn", small) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "units": 6}))
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert main("train_rnn", ["--resume", str(folder), "--steps", "24"]) == 2
    assert "checkpoint of another network" in capsys.readouterr().err
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_that_was_not_due_at_its_end_may_be_made_longer(small, tmp_path):
    """The weights are those of the whole length; rows of the earlier end stay."""
    argv = [*small, "--report-every", "5", "--evaluate-every", "5"]
    expected = untouched("train_rnn", [*argv, "--steps", "17"], tmp_path)
    assert main("train_rnn", [*argv, "--steps", "7"]) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    assert main("train_rnn", ["--resume", str(folder), "--steps", "17"]) == 0
    found = fingerprint(folder)
    assert found["result.txt"] == expected["result.txt"]
    steps = [dict(row)["step"] for row in found["metrics.csv"]]
    assert [step for step in steps if step != "7"] == [
        dict(row)["step"] for row in expected["metrics.csv"]
    ]


def test_a_decay_by_the_length_of_the_run_is_said(small, tmp_path, capsys):
    argv = [*small, "--schedule", "exponential", "--decay-steps", "all"]
    assert main("train_rnn", argv) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    capsys.readouterr()
    assert main("train_rnn", ["--resume", str(folder), "--steps", "24"]) == 0
    assert "decays as before, by 12 steps" in capsys.readouterr().err


@pytest.mark.parametrize("changed", [{"steps": "12"}, {"command": "train_rnn.py 'x"}])
def test_a_changed_config_json_is_no_traceback(changed, small, tmp_path, capsys):
    assert main("train_rnn", [*small, "--schedule", "cosine"]) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changed}))
    assert main("train_rnn", ["--resume", str(folder), "--steps", "24"]) == 2
    assert "start a new run from its weights: python " in capsys.readouterr().err


def test_a_cosine_that_is_over_gets_the_command_of_a_new_run(small, tmp_path, capsys):
    argv = [*small, "--schedule", "cosine", "--decay-steps", "6", "--steps", "6"]
    assert main("train_rnn", argv) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    capsys.readouterr()
    assert main("train_rnn", ["--resume", str(folder), "--steps", "10"]) == 2
    err = capsys.readouterr().err
    assert (
        "is zero after 6 steps, so it cannot go on to 10; start a new run from" in err
    )
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    _, *words = shlex.split(err.split(": python ")[1])
    assert words[-4:-1] == [
        *("--init-checkpoint", str(folder / "checkpoints/model.ckpt-6"), "--steps")
    ]
    assert words[-1] == "4" and words.count("--steps") == 1
    assert main("train_rnn", words) == 0
    assert len(run_folders(tmp_path / "logs", "train_rnn")) == 2


def test_other_data_are_refused(half, capsys, tmp_path, splits):
    other = tmp_path / "other"
    other.mkdir()
    flipped = splits._replace(train=splits.validation)
    write_small_data(other, flipped)
    argv = ["--resume", str(half), "--data-dir", str(other)]
    assert f"{other} holds other data (SHA-256 " in refused(argv, capsys)


def test_another_scripts_run_is_refused(half, capsys):
    assert main("train_lstm", ["--resume", str(half)]) == 2
    assert "a run of train_rnn.py" in capsys.readouterr().err


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    line = refused(["--resume", str(tmp_path / "none")], capsys)
    assert "config.json cannot be read (No such file or directory)" in line


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("units", 0, "--units: found '0'; expected a whole number from 1 to 4096"),
        ("units", None, "--units: found 'None'"),
        ("learning_rate", "fast", "--learning-rate: found 'fast'"),
        ("view", ["rows"], "--view: invalid choice"),
        ("preset", "a b", "--preset: invalid choice: 'a b'"),
        ("environment", "x", "config.json cannot be read (not what a run writes)"),
        ("evaluate_splits", [], "--evaluate-splits: expected at least one argument"),
        ("evaluate_splits", ["test", "--help"], "has evaluate_splits ['test', '--he"),
        ("data_dir", "a\0b", r"--data-dir: found 'a\x00b'; expected a path"),
        ("preset", "\x1b[2J" * 10**5, r"invalid choice: '\x1b[2J\x1b[2J"),
        ("steps", None, "config.json has no length of the run"),
    ],
)
def test_a_configuration_that_was_tampered_with_is_told(
    name, value, message, half, capsys
):
    record = json.loads((half / "config.json").read_text())
    record[name] = value
    (half / "config.json").write_text(json.dumps(record))
    try:
        status = main("train_rnn", ["--resume", str(half)])
    except SystemExit as error:
        status = error.code
    err = capsys.readouterr().err
    assert status == 2
    assert message in err and "config.json" in err and err.count("\n") == 1
    assert len(err) < 1200


@SLOW
def test_a_damaged_checkpoint_is_named_and_the_run_goes_on_from_the_one_before(
    argv, half, tmp_path, capsys
):
    expected = untouched("train_rnn", argv, tmp_path)
    capsys.readouterr()
    assert Checkpoints(half).steps()[-3:] == [15, 20, 22]
    (path,) = (half / "checkpoints").glob("model.ckpt-22.data*")
    path.write_bytes(path.read_bytes()[:-1])
    path = half / "checkpoints" / "model.ckpt-20.index"
    path.write_bytes(b"?" + path.read_bytes()[1:])
    assert main("train_rnn", ["--resume", str(half)]) == 0
    out, err = capsys.readouterr()
    first, second = err.splitlines()
    assert re.search(r"model.ckpt-22 is damaged \(model.ckpt-22.data-.* is not", first)
    assert re.search(r"model.ckpt-20 is damaged \(model.ckpt-20.index is not", second)
    assert "resumed after step 15\n" in out
    assert differences(expected, fingerprint(half)) == []


@SLOW
def test_a_damaged_best_checkpoint_is_named_and_the_next_best_is_kept(
    argv, stop_after, monkeypatch, tmp_path, capsys
):
    argv = [*argv, "--evaluate-every", "4"]
    folder = stopped("train_lstm", argv, 34, stop_after, monkeypatch, tmp_path)
    store = Checkpoints(folder)
    state = store.newest()[0].state
    best = state["best_step"]
    assert best < state["step"] and state["step"] in (34, 35)  # no evaluations
    path = store.folder / f"model.ckpt-{best}.index"
    path.write_bytes(path.read_bytes()[:-9])
    capsys.readouterr()
    assert main("train_lstm", ["--resume", str(folder)]) == 0
    err = capsys.readouterr().err
    assert re.fullmatch(rf".*ckpt-{best} is damaged .*; it was the best, .*\n", err)
    path = tf.train.latest_checkpoint(str(store.folder), "best")
    assert path.endswith(("/model.ckpt-36", "/model.ckpt-40"))
    assert best not in store.steps()


def test_without_a_whole_checkpoint_nothing_is_touched(half, capsys):
    for path in (half / "checkpoints").glob("*.json"):
        path.write_text("{}")
    before = {p: p.read_bytes() for p in half.rglob("*") if p.is_file()}
    assert main("train_rnn", ["--resume", str(half)]) == 2
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("error: --resume ")
    assert "no checkpoint can be used; start anew: python " in err
    assert before == {p: p.read_bytes() for p in half.rglob("*") if p.is_file()}


@SLOW
def test_a_run_killed_before_its_first_checkpoint_starts_at_the_beginning(
    argv, half, tmp_path, capsys
):
    """Also when the kill came between two of the first checkpoint's files."""
    expected = untouched("train_rnn", argv, tmp_path)
    for path in (half / "checkpoints").glob("model.ckpt-*.json"):
        path.unlink()
    capsys.readouterr()
    assert main("train_rnn", ["--resume", str(half)]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert "holds what was logged, but there is no checkpoint to go on from" in err
    (half / "metrics.csv").write_text("step,epo")  # as the kill may have left it
    for path in half.rglob("events.*"):
        path.write_bytes(b"")
    assert main("train_rnn", ["--resume", str(half)]) == 0
    assert "resumed after step 0\n" in capsys.readouterr().out
    assert differences(expected, fingerprint(half)) == []


def test_a_checkpoint_of_another_network_or_run_is_refused(half, capsys):
    store = Checkpoints(half)
    checkpoint = store.read(22)
    state = {name: v for name, v in checkpoint.state.items() if name != "files"}
    files = {s: (store.folder / f"model.ckpt-22{s}").read_bytes() for s in SUFFIXES}

    def write(prefix):
        for suffix in SUFFIXES[:2]:
            Path(prefix + suffix).write_bytes(files[suffix])

    state["position"]["seed"] = 3
    store.save(state, write, 1000, None)
    line = refused(["--resume", str(half)], capsys)
    assert "is not of the run that config.json describes: seed is 3 there and 0" in line
    state["position"]["seed"] = 0
    store.save(state, Network(units=6).fill(1).variables.write, 1000, None)
    before = (half / "metrics.csv").read_text()
    line = refused(["--resume", str(half)], capsys)
    assert "model.ckpt-22 is a checkpoint of another network: " in line
    assert "kernel is [2, 6] there and missing here" in line
    assert "rnn/basic_rnn_cell/kernel is missing there and [33, 5] here" in line
    assert (half / "metrics.csv").read_text() == before
    store.save(state, write, 1000, None)
    assert main("train_rnn", ["--resume", str(half)]) == 0


def test_a_valid_value_in_the_configuration_that_is_not_the_runs_is_told(half, capsys):
    record = json.loads((half / "config.json").read_text())
    record["learning_rate"], record["units"] = 0.1, 5
    (half / "config.json").write_text(json.dumps(record))
    line = refused(["--resume", str(half)], capsys)
    assert "describes: learning_rate is 0.001 there and 0.1 here; restore" in line


@SLOW
def test_a_log_that_was_shortened_is_named_and_an_older_checkpoint_used(
    argv, half, tmp_path, capsys
):
    expected = untouched("train_rnn", argv, tmp_path)
    state = Checkpoints(half).read(20).state
    size = state["log_sizes"]["metrics.csv"]
    os.truncate(str(half / "metrics.csv"), size)
    capsys.readouterr()
    assert main("train_rnn", ["--resume", str(half)]) == 0
    out, err = capsys.readouterr()
    assert "model.ckpt-22 does not fit: metrics.csv has " in err
    assert "resumed after step 20\n" in out
    assert differences(expected, fingerprint(half)) == []


def test_a_refused_run_is_left_as_it_was(half, capsys):
    (half / "metrics.csv").write_text("")
    before = {p: p.read_bytes() for p in half.rglob("*") if p.is_file()}
    assert main("train_rnn", ["--resume", str(half)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert "no checkpoint can be used" in err[-1] and len(err) == 4
    assert before == {p: p.read_bytes() for p in half.rglob("*") if p.is_file()}


def test_links_to_others_files_are_refused_before_anything_is_written(half, capsys):
    other = half.parent / "other"
    other.mkdir()
    (other / "lock").write_text("of another run")
    (half / "lock").unlink()
    (half / "lock").symlink_to(other / "lock")
    line = refused(["--resume", str(half)], capsys)
    assert "lock: is a link, and a run writes nothing outside its folder; put" in line
    assert (other / "lock").read_text() == "of another run"


def test_what_a_runs_files_say_does_not_reach_the_terminal_as_it_is(half, capsys):
    (half / "lock").write_text("\x1b[2J\nerror: all is lost\n")
    (half / "metrics.csv").write_text("")
    assert main("train_rnn", ["--resume", str(half)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(r"\x1b[2J\nerror: all is lost, left without unlocking")
    result = Result(
        "train_rnn", "\x1b[2J", "rows", "c", 5, 230, 0, 40, 1, "1/1", 0, 0, "r"
    )
    (half / "result.txt").write_text(f"{result}\n")
    assert main("train_rnn", ["--resume", str(half)]) == 0
    assert r" preset=\x1b[2J view=rows " in capsys.readouterr().out


def test_files_of_others_are_left_alone(half):
    (half / "mine").mkdir()
    mine = half / "mine" / "events.out.tfevents.1.mine"
    mine.write_text("mine")
    (half / "train" / "events.out.tfevents.1.vm.7").write_text("")
    assert main("train_rnn", ["--resume", str(half)]) == 0
    assert mine.read_text() == "mine"


def test_a_folder_that_tensorflow_takes_for_a_pattern_is_refused(half, capsys):
    moved = half.with_name("a[1]")
    half.rename(moved)
    line = refused(["--resume", str(moved)], capsys)
    assert "--resume: TensorFlow reads no checkpoint below" in line


def test_paths_are_recorded_whatever_the_folder(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = [*small, "--log-dir", "there"]
    assert main("train_rnn", argv) == 0
    (folder,) = run_folders(tmp_path / "there", "train_rnn")
    record = json.loads((folder / "config.json").read_text())
    assert record["log_dir"] == str(tmp_path / "there")


@SLOW
def test_curves_that_cannot_be_drawn_leave_the_run_unfinished(half, capsys):
    (half / "curves.png.partial").mkdir()
    assert main("train_rnn", ["--resume", str(half)]) == 2
    assert "curves.png: cannot be written" in capsys.readouterr().err
    assert not (half / "result.txt").exists()
    (half / "curves.png.partial").rmdir()
    assert main("train_rnn", ["--resume", str(half)]) == 0
    assert (half / "result.txt").exists() and (half / "curves.png").is_file()


def test_a_result_that_cannot_be_read_is_told(half, capsys):
    (half / "result.txt").write_text("junk")
    line = refused(["--resume", str(half)], capsys)
    assert "result.txt: marks the run as finished, but cannot be read" in line


@SLOW
def test_what_changed_since_the_start_is_said(half, capsys):
    record = json.loads((half / "config.json").read_text())
    record["environment"]["tensorflow"] = "1.99"
    (half / "config.json").write_text(json.dumps(record))
    assert main("train_rnn", ["--resume", str(half)]) == 0
    assert capsys.readouterr().err == (
        f"not to the bit as without the stop: tensorflow was 1.99, is {tf.VERSION}\n"
    )


def test_init_checkpoint_takes_a_run_folder(small, tmp_path, capsys):
    assert main("train_rnn", small) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    first = Result.parse(capsys.readouterr().out.splitlines()[-1])
    argv = [*small, "--init-checkpoint", str(folder), "--steps", "0"]
    assert main("train_rnn", argv) == 0
    second = Result.parse(capsys.readouterr().out.splitlines()[-1])
    assert second.test_loss == first.test_loss
