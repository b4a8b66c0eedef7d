"""Runs in whatever state, and what is no run: read as far as they go, never fatal."""

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from conftest import PROJECT_DIR
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import CONFIG, lines_of, make_four, make_run, names, predict, result
from scripts import SLOW

import compare
from seqmnist.comparing import runs
from seqmnist.record.log import METRICS


def test_running_killed_and_left_runs_are_told_apart(tmp_path, capsys):
    folders = {seed: make_run(tmp_path, seed, None) for seed in range(4)}
    code = (
        "import sys; from pathlib import Path\n"
        "from seqmnist.record.folder import RunFolder\n"
        "folder = RunFolder(Path(sys.argv[1]))\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folders[seed])],
            cwd=str(PROJECT_DIR),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for seed in (0, 1)
    ]
    try:
        assert [process.stdout.readline() for process in processes] == [b"locked\n"] * 2
        os.kill(processes[1].pid, signal.SIGKILL)
        processes[1].wait()
        assert (folders[1] / "lock").read_text().startswith("process ")
        (folders[2] / "lock").write_text("")
        lines, _ = lines_of(tmp_path, capsys, "--sort", "seed")
        found = {line.split()[-1][-5:]: line.split()[-2] for line in lines[1:]}
        assert found == {
            "seed0": "running",
            **dict.fromkeys(["seed1", "seed2", "seed3"], "stopped"),
        }
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_where_locks_are_not_known_a_lock_tells_nothing(tmp_path, monkeypatch):
    folder = make_run(tmp_path, 0, None)
    monkeypatch.setattr(runs, "fcntl", None)
    assert runs.read_run(folder).status == "stopped"
    (folder / "lock").write_text("process 5 on somewhere\n")
    assert runs.read_run(folder).status == "unknown"
    (folder / "result.txt").write_text(str(result(folder, 0, 150)))
    assert runs.read_run(folder).status == "finished"


def test_only_the_end_of_long_metrics_is_needed(tmp_path, capsys):
    folder = make_run(tmp_path, 0, None)
    path = folder / "metrics.csv"
    rows = [
        f"{step},{step / 100},train,0.5,0.5,1,2,{step}" for step in range(733, 9000)
    ]
    rows.insert(100, "800,8,test,0.5,0.5,1,2,8")  # not the last word
    path.write_text(path.read_text() + "\n".join(rows) + "\n9000,90,train,0.5,0.9,9,1")
    (row,) = json.loads("\n".join(lines_of(tmp_path, capsys, "--format", "json")[0]))[
        "rows"
    ]
    assert (row["train_correct"], row["train_count"], row["steps"]) == (1, 2, 8999)
    assert (row["validation_correct"], row["validation_count"]) == (47, 50)
    assert row["seconds"] == 8999 and row["test_accuracy"] is None


FOREIGN = {
    "broken JSON": ("config.json", b"{"),
    "a list": ("config.json", b"[]"),
    "empty": ("config.json", b""),
    "another program's": ("config.json", b'{"name": "not ours"}'),
    "of another type": ("config.json", b'{"script": 5}'),
    "binary": ("config.json", bytes(range(256))),
    "deep": ("config.json", b"[" * 10**5),
    "huge": ("config.json", b" " * 2**20),
}


@pytest.mark.parametrize("name, content", FOREIGN.values(), ids=list(FOREIGN))
def test_foreign_folders_are_named_not_fatal(name, content, tmp_path, capsys):
    make_run(tmp_path, 1, 180)
    other = make_run(tmp_path, 2, 190)
    (other / name).write_bytes(content)
    lines, err = lines_of(tmp_path, capsys)
    assert len(lines) == 2
    assert err.startswith(f"{other}: not read (") and err.count("\n") == 1


def test_a_foreign_configuration_hides_no_run_below_it(tmp_path, capsys):
    make_run(tmp_path, 1, 180)
    (tmp_path / "config.json").write_text("{}")
    lines, err = lines_of(tmp_path, capsys)
    assert len(lines) == 2 and err.count("\n") == 1


def test_what_is_within_a_run_is_no_run(tmp_path, capsys):
    folder = make_run(tmp_path, 1, 180)
    make_run(folder / "checkpoints", 2, 190)
    assert names(tmp_path, capsys) == ["seed1"]


def test_json_has_no_numbers_that_json_has_not(tmp_path, capsys):
    path = make_run(tmp_path, 1, 180, learning_rate=float("nan")) / "config.json"
    text = path.read_text().replace('"batch_size": 150', '"batch_size": 1e999')
    path.write_text(text)
    lines, _ = lines_of(tmp_path, capsys, "--format", "json")
    (row,) = json.loads("\n".join(lines), parse_constant=pytest.fail)["rows"]
    assert row["options"]["learning_rate"] is row["options"]["batch_size"] is None
    assert row["examples_per_second"] is None


@pytest.mark.parametrize(
    "content",
    [b"", b"result of something else", b"\xff\xfe", b"result\n" * 10**6],
    ids=range(4),
)
def test_a_broken_result_leaves_what_else_is_known(content, tmp_path, capsys):
    folder = make_run(tmp_path, 1, 190)
    (folder / "result.txt").write_bytes(content)
    lines, err = lines_of(tmp_path, capsys)
    assert lines[1].startswith("0.9500 (190/200)") and " unknown " in lines[1]
    assert err.startswith(f"{folder}: not read (result.txt: ") and err.count("\n") == 1


@pytest.mark.parametrize("field", ["test_correct=7/0", "test_correct=9/8", "steps=-1"])
def test_a_result_of_impossible_numbers_is_none(field, tmp_path, capsys):
    folder = make_run(tmp_path, 1, 190)
    name = field.split("=")[0]
    words = (folder / "result.txt").read_text().split()
    words = [field if word.startswith(name) else word for word in words]
    (folder / "result.txt").write_text(" ".join(words))
    lines, err = lines_of(tmp_path, capsys)
    assert " unknown " in lines[1] and "cannot be a result" in err


def test_the_result_counts_where_metrics_say_otherwise(tmp_path, capsys):
    folder = make_run(tmp_path, 1, 190)
    metrics = (folder / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(metrics.replace("190,200,3.25", "191,200,9"))
    lines, _ = lines_of(tmp_path, capsys, "--format", "json")
    (row,) = json.loads("\n".join(lines))["rows"]
    assert (row["test_correct"], row["test_loss"], row["seconds"]) == (190, 0.21, 3.2)


NONSENSE = {
    "no rows": ",".join(METRICS) + "\n",
    "empty": "",
    "another header": "a,b\n1,2\n",
    "half a row": ",".join(METRICS) + "\n732,2,train,0.2",
    "no numbers": ",".join(METRICS) + "\n1,x,train,nan,y,1,2,3\n",
    "more than all": ",".join(METRICS) + "\n1,1,train,1,1,3,2,3\n",
    "of none": ",".join(METRICS) + "\n1,1,train,1,1,0,0,3\n",
    "binary": "\0\1\2,train,\n,validation,\n",
    "a number without end": ",".join(METRICS) + f"\n{'9' * 9999},1,train,1,1,1,2,3\n",
}


@pytest.mark.parametrize("content", NONSENSE.values(), ids=list(NONSENSE))
def test_metrics_without_figures_leave_the_columns_empty(content, tmp_path, capsys):
    folder = make_run(tmp_path, 1, None)
    (folder / "metrics.csv").write_text(content)
    lines, err = lines_of(tmp_path, capsys)
    assert not err
    assert lines[1].split()[:5] == ["-", "-", "-", "-", "train_rnn"]


def test_a_loss_that_is_no_number_is_none(tmp_path, capsys):
    folder = make_run(tmp_path, 1, 190)
    metrics = (folder / "metrics.csv").read_text()
    (folder / "metrics.csv").write_text(metrics.replace("test,0.21", "test,nan"))
    lines, _ = lines_of(tmp_path, capsys)
    assert lines[1].split()[:7:6] == ["0.9500", "-"]
    lines, _ = lines_of(tmp_path, capsys, "--format", "json")
    assert json.loads("\n".join(lines))["rows"][0]["test_loss"] is None


def test_folders_links_and_pipes_in_place_of_files_do_not_matter(tmp_path, capsys):
    make_run(tmp_path, 1, 190)
    strange = tmp_path / "strange"
    (strange / "config.json").mkdir(parents=True)
    (strange / "loop").symlink_to(tmp_path)
    (strange / "pipe").mkdir()
    os.mkfifo(str(strange / "pipe" / "config.json"))
    (strange / "link").mkdir()
    (strange / "link" / "config.json").symlink_to("config.json")
    for number, name in enumerate(["metrics.csv", "lock", "result.txt"], 2):
        folder = make_run(tmp_path, number, None)
        (folder / "metrics.csv").unlink()
        os.mkfifo(str(folder / name)) if number < 4 else (folder / name).mkdir()
    lines, err = lines_of(tmp_path, capsys)
    assert [line.split()[-2:] for line in lines[1:]] == [
        ["finished", "20260101-000000-seed1"],
        ["stopped", "20260101-000000-seed2"],
        ["stopped", "20260101-000000-seed3"],
        ["unknown", "20260101-000000-seed4"],
    ]
    assert err.count("\n") == 3 and err.count(": not read (") == 3


def test_a_folder_that_may_not_be_read_is_named(tmp_path, capsys, monkeypatch):
    make_run(tmp_path, 1, 190)
    walk = os.walk

    def guarded(top, topdown=True, onerror=None, followlinks=False):
        if top == str(tmp_path):
            onerror(PermissionError(13, "Permission denied", f"{top}/closed"))
        return walk(top, topdown, onerror, followlinks)

    monkeypatch.setattr(runs.os, "walk", guarded)
    lines, err = lines_of(tmp_path, capsys)
    assert len(lines) == 2
    assert err == f"{tmp_path}/closed: not read (Permission denied)\n"


FUZZ = settings(
    max_examples=200,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


FILES = ("config.json", "metrics.csv", "result.txt", "predictions.csv", "lock")


CHANGES = st.lists(
    st.tuples(
        st.integers(0, len(FILES) - 1),
        st.floats(0, 1),  # where, as a part of the file
        st.integers(0, 30),
        st.binary(max_size=12)
        | st.sampled_from(
            [b"nan", b"-1", b"1e999", b"9" * 30, b"\n", b",", b'"', b"{"]
        ),
    ),
    max_size=5,
)


OUTPUT = st.sampled_from(
    [
        [],
        ["--each", "--sort", "loss"],
        ["--format", "csv"],
        ["--format", "json"],
        ["--format", "markdown", "--filter", "n>=1"],
    ]
)


def outcome(argv):
    """Status, stdout and stderr; whatever is raised is not caught."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = compare.main(argv)
    return status, out.getvalue(), err.getvalue()


def check_outcome(folder, argv):
    """Whatever is in the folder: a table that has the good run, or one line."""
    status, out, err = outcome(["--log-dir", str(folder), *argv])
    if "json" in argv and status == 0:
        found = json.loads(out, parse_constant=pytest.fail)["rows"]
        assert any(row["test_correct"] == 150 for row in found)
    elif "csv" in argv and status == 0:
        found = list(csv.DictReader(io.StringIO(out, newline="")))
        assert any(row["test_correct"] == "150" for row in found)
    else:
        assert status == 0 and "0.7500 (150/200)" in out
    assert all(": " in line for line in err.splitlines())


@FUZZ
@given(changes=CHANGES, argv=OUTPUT)
def test_changed_files_never_make_it_fail(tmp_path_factory, changes, argv):
    folder = tmp_path_factory.getbasetemp() / "fuzz-files"
    shutil.rmtree(str(folder), ignore_errors=True)
    make_run(folder, 0, 150, script="train_lstm")
    for seed in (1, 2):
        predict(make_run(folder, seed, 190), range(10))
    other = folder / "train_rnn" / "20260101-000000-seed1"
    (other / "lock").write_text("process 1\n")
    for index, where, length, some in changes:
        path = other / FILES[index]
        data = path.read_bytes()
        at = int(where * len(data))
        path.write_bytes(data[:at] + some + data[at + length :])
    check_outcome(folder, argv)


PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, -1, 1e308, "\ud800", "train_rnn", "ab" * 32])
)


VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


OPTIONS = st.sampled_from([*CONFIG, "script", "seed", "environment", "resumed", "x"])


@SLOW
@FUZZ
@given(configs=st.lists(st.dictionaries(OPTIONS, VALUES), max_size=3), argv=OUTPUT)
def test_configurations_of_any_values_never_make_it_fail(
    tmp_path_factory, configs, argv
):
    folder = tmp_path_factory.getbasetemp() / "fuzz-configs"
    shutil.rmtree(str(folder), ignore_errors=True)
    make_run(folder, 0, 150, script="train_lstm")
    for number, config in enumerate(configs):
        path = make_run(folder, number, 190) / "config.json"
        record = {**json.loads(path.read_text()), **config}
        path.write_text(json.dumps(record))
    check_outcome(folder, argv)


@FUZZ
@given(st.text(max_size=12) | st.from_regex(r"[a-z_]+ ?[<>=!]=? ?[a-z0-9.]+"))
def test_any_filter_and_sort_is_done_or_told_in_one_line(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "fuzz-names"
    if not folder.exists():
        make_four(folder)
    for option in ("filter", "sort"):
        try:
            status, out, err = outcome(["--log-dir", str(folder), f"--{option}={text}"])
        except SystemExit as stop:
            status, out, err = stop.code, "", ""
        assert (status == 0 and out and not err) or (status == 2 and not out)
        assert err.count("\n") <= 1
