"""The run folder: new every time, one process at a time."""

import errno
import json
import os
import re
import subprocess
import sys
import time

import pytest
from conftest import PROJECT_DIR
from scripts import PATIENCE

from seqmnist.errors import CannotWrite, UserError
from seqmnist.record import folder as module
from seqmnist.record.folder import (
    RunFolder,
    check_log_dir,
    creating,
    read_config,
    replacing,
    write_text,
)


def create(tmp_path):
    return RunFolder.create(str(tmp_path), "train_rnn", "best-seed3")


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda *args: "20260102-030405")
    names = []
    for _ in range(3):
        with create(tmp_path) as folder:
            names.append(folder.path.name)
    first = "20260102-030405-best-seed3"
    assert names == [first, first + "-2", first + "-3"]
    assert sorted(p.name for p in (tmp_path / "train_rnn").iterdir()) == sorted(names)


def test_processes_of_the_same_instant_get_folders_of_their_own(tmp_path):
    code = (
        "import time; time.strftime = lambda *args: '20260102-030405'\n"
        "from seqmnist.record.folder import RunFolder\n"
        f"print(RunFolder.create({str(tmp_path)!r}, 'train_rnn', 'best-seed3').path)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=str(PROJECT_DIR), stdout=subprocess.PIPE
        )
        for _ in range(6)
    ]
    paths = {process.communicate()[0] for process in processes}
    assert len(paths) == 6 and b"" not in paths


def test_two_processes_cannot_work_in_one_folder(tmp_path):
    with create(tmp_path) as folder:
        code = (
            "from pathlib import Path\n"
            "from seqmnist.record.folder import RunFolder\n"
            f"RunFolder(Path({str(folder.path)!r}))"
        )
        process = subprocess.run(
            [sys.executable, "-c", code],
            cwd=str(PROJECT_DIR),
            capture_output=True,
            text=True,
        )
    message = f"UserError: .*: process {os.getpid()} on .*, since .* trains in this"
    assert process.returncode == 1
    assert re.search(message, process.stderr)


@pytest.mark.parametrize("is_owner", [False, True])
def test_a_look_at_the_lock_is_waited_for_and_an_owner_is_not(
    is_owner, monkeypatch, tmp_path
):
    code = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'a')\n"
        "fcntl.flock(file, fcntl.LOCK_SH)\n"
        "print(flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == b"\n"
        if is_owner:
            with pytest.raises(UserError, match="another process trains in this"):
                RunFolder(tmp_path)
        else:
            waits = []

            def wait(seconds):  # the look ends while it is waited for
                waits.append(seconds)
                process.communicate()

            with monkeypatch.context() as patch:
                patch.setattr(module.time, "sleep", wait)
                RunFolder(tmp_path).close()
            assert len(waits) == 1
    RunFolder(tmp_path).close()


def test_a_run_starts_while_others_look_at_its_lock(monkeypatch, tmp_path):
    """Many readers at once, as often as they can, which may go on for long."""
    monkeypatch.setattr(module, "LOCK_PATIENCE", PATIENCE)
    code = (
        "import sys; from pathlib import Path\n"
        "from seqmnist.comparing.runs import _lock_status\n"
        "print(flush=True)\n"
        "while True: _lock_status(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    (tmp_path / "lock").write_text("process 1, which was killed\n")
    processes = [
        subprocess.Popen(command, cwd=str(PROJECT_DIR), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == b"\n"
        for _ in range(20):
            with RunFolder(tmp_path) as folder:
                assert folder.path == tmp_path
            (tmp_path / "lock").write_text("process 1, which was killed\n")
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_lock_left_behind_is_taken_over_and_its_owner_named(tmp_path):
    with create(tmp_path) as folder:
        path = folder.path
    with RunFolder(path) as again:
        assert again.left_by == ""
    code = (
        "import os; from pathlib import Path\n"
        "from seqmnist.record.folder import RunFolder\n"
        f"folder = RunFolder(Path({str(path)!r}))\n"
        "print(os.getpid(), flush=True); os.kill(os.getpid(), 9)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=str(PROJECT_DIR), stdout=subprocess.PIPE
    )
    with RunFolder(path) as again:
        assert again.left_by.startswith(f"process {int(process.stdout)} on ")
    assert (path / "lock").read_text() == ""


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "train_rnn").write_text("a file in the way")
    with pytest.raises(UserError, match="--log-dir: cannot make a run folder in"):
        create(tmp_path)


@pytest.mark.parametrize("name", ["file", "file/below", "a[b]c", "a*", "what?"])
def test_a_log_dir_that_cannot_do_is_told_before_anything_is_made(name, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="^--log-dir: .*; give a folder "):
        check_log_dir(str(tmp_path / name), "train_rnn")
    assert os.listdir(tmp_path) == ["file"]
    check_log_dir(str(tmp_path / "not" / "yet" / "there"), "train_rnn")
    assert os.listdir(tmp_path) == ["file"]


def test_the_configuration_reads_back(tmp_path):
    with create(tmp_path) as folder:
        folder.write_config({"script": "train_rnn", "learning_rate": 0.1})
        assert read_config(str(folder.path)) == {
            "script": "train_rnn",
            "learning_rate": 0.1,
        }


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "\udcff", '{"script": ', "[" * 10**5, '{"resumed": 5}'],
    ids=range(8),
)
def test_a_folder_without_a_configuration_is_no_run(text, tmp_path):
    if text is not None:
        content = text.encode(errors="surrogateescape")
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match="no run to go on with, as config.json cannot"):
        read_config(str(tmp_path))


def test_what_is_no_configuration_is_not_read_without_end(tmp_path):
    path = tmp_path / "config.json"
    os.mkfifo(str(path))
    with pytest.raises(UserError, match=r"cannot be read \(config.json is no file\)"):
        read_config(str(tmp_path))
    path.unlink()
    path.write_text("{}")
    os.truncate(str(path), 1 << 40)
    with pytest.raises(UserError, match="config.json has more than 1048576 bytes"):
        read_config(str(tmp_path))


def test_text_files_appear_in_one_piece(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "replace", full)
    with pytest.raises(CannotWrite, match=r"file.txt: cannot be written \(No space"):
        write_text(path, "newer")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_environment_says_what_numbers_depend_on():
    found = module.environment()
    assert set(found) == {
        *("tensorflow", "numpy", "python", "platform", "cpus", "started")
    }
    json.dumps(found)


def test_creating_makes_a_new_file_only(tmp_path):
    path = tmp_path / "new"
    with creating(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    with pytest.raises(CannotWrite, match="new: is there by now; give another name"):
        with creating(path) as partial:
            partial.write_text("other")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


# What a run writes: files, and folders.
OWN_FILES = [
    *("lock", "config.json", "metrics.csv", "events.out.tfevents.9.x", "result.txt"),
    *("curves.png", "predictions.csv", "permutation.txt", "trace-3-5.json"),
    *("train/events.out.tfevents.9.\n", "test/events.out.tfevents.9.x"),
    *("checkpoints/model.ckpt-3.index", "checkpoints/checkpoint", "checkpoints/best"),
    *("ended-at-6/metrics.csv", "ended-at-6-2/result.txt"),
]
OWN_FOLDERS = [
    *("train", "validation", "test", "checkpoints", "checkpoints/partial"),
    *("ended-at-6", "ended-at-6-2"),
]


def refused(run):
    """The line that refuses a run's folder, which is left as it was."""
    before = sorted(run.rglob("*"))
    with pytest.raises(UserError) as info:
        RunFolder(run)
    assert sorted(run.rglob("*")) == before
    return str(info.value)


@pytest.mark.parametrize("name", [*OWN_FILES, *OWN_FOLDERS])
def test_a_run_whose_files_are_links_is_not_written(name, tmp_path):
    other = tmp_path / "other"
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    if name in OWN_FILES:
        other.write_text("of another run")
    else:
        other.mkdir()
    path.symlink_to(other)
    line = refused(tmp_path / "run")
    assert f"{path}: is a link, and a run writes nothing outside its folder; " in line
    assert not other.is_file() or other.read_text() == "of another run"
    path.unlink()
    path.symlink_to(tmp_path / "nothing")
    assert f"{path}: is a link" in refused(tmp_path / "run")


@pytest.mark.parametrize("name", [*OWN_FILES, *OWN_FOLDERS])
def test_a_pipe_or_folder_in_place_of_a_runs_file_is_told(name, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(str(path))
    kind = "file" if name in OWN_FILES else "folder"
    assert f"{path}: is no {kind}, and a run writes one" in refused(tmp_path)
    path.unlink()
    path.mkdir()
    if kind == "file":
        assert f"{path}: is no file, and a run writes one" in refused(tmp_path)
    else:
        RunFolder(tmp_path).close()


def test_a_run_folder_may_be_a_link_and_hold_links_of_the_users(tmp_path):
    run = tmp_path / "large disk" / "run"
    (run / "train").mkdir(parents=True)
    (run / "notes").symlink_to(tmp_path)
    (run / "train" / "mine").symlink_to(tmp_path)
    (run / "mine").mkdir()
    (run / "mine" / "metrics.csv").symlink_to(tmp_path / "nothing")
    (tmp_path / "logs").symlink_to(tmp_path / "large disk")
    (tmp_path / "link").symlink_to(run)
    for path in (run, tmp_path / "link", tmp_path / "logs" / "run"):
        with RunFolder(path) as folder:
            folder.write_config({"seed": 3})
        assert read_config(str(run)) == {"seed": 3}


def ended(run, step, **texts):
    """Puts the end of a run with these files away; returns what is in the folder."""
    for name, text in {"metrics": "rows", **texts}.items():
        suffix = {"metrics": ".csv", "curves": ".png", "result": ".txt"}[name]
        (run / (name + suffix)).write_text(text)
    with RunFolder(run) as folder:
        folder.put_end_away(step)
    return {str(p.relative_to(run)): p.read_text() for p in run.glob("ended*/*")}


def test_an_end_is_put_away_beside_what_a_user_has_there(tmp_path):
    (tmp_path / "ended-at-6").mkdir()
    (tmp_path / "ended-at-6" / "result.txt").write_text("my notes")
    assert ended(tmp_path, 6, curves="drawn", result="good") == {
        "ended-at-6/result.txt": "my notes",
        "ended-at-6-2/metrics.csv": "rows",
        "ended-at-6-2/curves.png": "drawn",
        "ended-at-6-2/result.txt": "good",
    }
    assert (tmp_path / "metrics.csv").read_text() == "rows"
    assert not (tmp_path / "result.txt").exists()


def test_an_end_that_was_put_away_in_part_is_put_where_the_part_is(tmp_path):
    assert ended(tmp_path, 6, curves="drawn") == {
        "ended-at-6/metrics.csv": "rows",
        "ended-at-6/curves.png": "drawn",
    }
    assert ended(tmp_path, 6, result="good") == {
        "ended-at-6/metrics.csv": "rows",
        "ended-at-6/curves.png": "drawn",
        "ended-at-6/result.txt": "good",
    }


def test_a_left_over_of_a_write_is_replaced_and_not_followed(tmp_path):
    other = tmp_path / "other"
    other.write_text("of another run")
    partial = tmp_path / "file.txt.partial"
    for make in (lambda: partial.symlink_to(other), lambda: partial.write_text("old")):
        make()
        write_text(tmp_path / "file.txt", "new")
        assert (tmp_path / "file.txt").read_text() == "new"
        assert not (tmp_path / "file.txt").is_symlink() and not partial.exists()
    assert other.read_text() == "of another run"
    partial.mkdir()
    with pytest.raises(CannotWrite, match="file.txt: cannot be written"):
        write_text(tmp_path / "file.txt", "newer")


@pytest.mark.parametrize("context", [creating, replacing])
def test_what_is_interrupted_leaves_nothing_behind(context, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with context(tmp_path / "new") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOLCK, errno.EIO])
def test_a_disk_without_locks_and_flushes_is_used_without_them(
    number, tmp_path, monkeypatch, capsys
):
    """As shared folders of virtual machines are; an error of the disk stays one."""

    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(module.fcntl, "flock", refuse)
    if number == errno.EIO:
        with pytest.raises(UserError, match="Input/output error"):
            create(tmp_path)
        return
    with create(tmp_path) as folder:
        folder.write_config({"seed": 3})
        assert read_config(str(folder.path)) == {"seed": 3}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "this disk has no locks; do not train in this folder with a second process"
    )
