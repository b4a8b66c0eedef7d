"""launch.py: workers that are restarted together, and sweeps."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import PROJECT_DIR
from scripts import (
    ENDLESS,
    PATIENCE,
    SLOW,
    VARIANT,
    environment,
    main,
    run_folders,
    start,
    wait_for,
    wait_for_checkpoint,
)
from torture import differences, fingerprint

from seqmnist.errors import UserError
from seqmnist.launching import group, processes
from seqmnist.launching.sweep import read_sweep
from seqmnist.record.log import Result
from seqmnist.run.checkpoints import Checkpoints


@pytest.fixture
def launch(tmp_path):
    """Starts launch.py; nothing of it is left behind."""
    started = []

    def start_launch(*argv):
        argv = ["launch.py", *map(str, argv)]
        started.append(start(argv, env=environment()))
        return started[-1]

    yield start_launch
    for process in started:
        if process.poll() is None:
            for child in children(process):
                os.kill(child, signal.SIGKILL)
            process.kill()
        process.communicate()


def children(process):
    """The processes that a process started."""
    found = subprocess.run(
        ["pgrep", "--parent", str(process.pid)], stdout=subprocess.PIPE, check=False
    )
    return [int(line) for line in found.stdout.split()]


def worker(process, index):
    """The process of a worker."""
    for child in children(process):
        with open(f"/proc/{child}/environ", "rb") as file:
            if b'"index": %d}' % index in file.read():
                return child
    raise AssertionError(f"no worker {index}")


def is_running(number):
    """Whether a process has not ended."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def end(process):
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def start_endless(launch, small, tmp_path, *options):
    """Starts two workers that do not end; returns launcher and run folder."""
    argv = ["train_rnn.py", *small, *ENDLESS, "--checkpoint-every", "20"]
    process = launch("--workers", 2, *options, *argv)
    return process, wait_for_checkpoint(tmp_path / "logs", "train_rnn", step=20)


@VARIANT
def test_workers_are_restarted_and_end_to_the_bit(small, launch, tmp_path):
    argv = [*small, "--steps", "300", "--report-every", "50", "--evaluate-every", "100"]
    argv += ["--checkpoint-every", "20", "--log-dir"]
    whole = launch("--workers", 2, "train_lstm.py", *argv, tmp_path / "whole")
    process = launch("--workers", 2, "train_lstm.py", *argv, tmp_path / "logs")
    wait_for_checkpoint(tmp_path / "logs", "train_lstm", step=20)
    os.kill(worker(process, 0), signal.SIGKILL)
    status, out, err = end(process)
    assert status == 0, err
    assert "launch: worker 0 ended with status 137; all start again: " in err
    assert "(restart 1 of 3)\n" in err
    assert "[0] resumed after step " in out and "[1] worker 1 of 2: done after" in out
    assert end(whole)[0] == 0
    (expected,) = run_folders(tmp_path / "whole", "train_lstm")
    (found,) = run_folders(tmp_path / "logs", "train_lstm")
    assert differences(fingerprint(expected), fingerprint(found)) == []


@SLOW
def test_the_restarts_come_to_an_end(small, launch, tmp_path):
    process, _ = start_endless(launch, small, tmp_path, "--restarts", 0)
    os.kill(worker(process, 1), signal.SIGKILL)
    status, _, err = end(process)
    assert status == 137
    assert err.endswith("launch: worker 1 ended with status 137; no restart is left\n")


@SLOW
def test_a_signal_stops_all_in_order(small, launch, tmp_path):
    process, folder = start_endless(launch, small, tmp_path)
    pids = children(process)
    assert len(pids) == 2
    process.send_signal(signal.SIGINT)
    status, _, err = end(process)
    assert status == 130
    assert "[0] interrupted after step " in err and "[1] interrupted" in err
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    newest, damaged = Checkpoints(folder).newest()
    assert newest is not None and damaged == []


def test_what_the_launcher_says_is_one_printable_line(capsys):
    processes.say("run 1: python a\x1b[2J\nb.py")
    assert capsys.readouterr().err == r"launch: run 1: python a\x1b[2J\nb.py" + "\n"


@SLOW
def test_no_worker_outlives_a_killed_launcher(small, launch, tmp_path):
    process, folder = start_endless(launch, small, tmp_path)
    workers = children(process)
    process.kill()
    process.wait()
    wait_for(lambda: not (folder / "lock").read_text(), "the chief's saving")
    wait_for(lambda: not any(map(is_running, workers)), "the workers' end")


@SLOW
def test_what_cannot_be_used_is_not_restarted(small, launch, tmp_path):
    process = launch("--workers", 2, "train_rnn.py", *small, "--uints", "5")
    status, out, err = end(process)
    assert (status, out) == (2, "")
    assert "did you mean --units?" in err and "start again" not in err


def write_sweep(tmp_path, *lines):
    path = tmp_path / "sweep.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def common(small):
    """The options of small runs without their folder, as text."""
    at = small.index("--log-dir")
    return " ".join(small[:at] + small[at + 2 :])


@SLOW
def test_a_sweep_runs_what_is_missing(common, launch, tmp_path):
    lines = [f"train_rnn.py {common} --seed 1 # the first", "", "# none"]
    lines += [f"train_lstm.py {common} --seed 1"]
    argv = ["--sweep", write_sweep(tmp_path, *lines), "--log-dir", tmp_path / "logs"]
    status, out, err = end(launch(*argv, "--jobs", 2))
    assert status == 0, err
    results = [line[4:] for line in out.splitlines() if line[4:].startswith("result ")]
    found = {(r.script, r.seed) for r in map(Result.parse, results)}
    assert found == {("train_rnn", 1), ("train_lstm", 1)}
    assert err.startswith("launch: 2 runs, 0 of them done before\n")
    assert "launch: 2 of 2 runs are done; compare them: python compare.py" in err
    with open(argv[1], "a") as file:
        file.write(f"train_lstm.py {common} --seed 3\n")
    status, out, err = end(launch(*argv))
    assert (status, out.count("result ")) == (0, 1)
    assert err.startswith("launch: 3 runs, 2 of them done before\n")
    rows = subprocess.run(
        [sys.executable, "compare.py", "--log-dir", str(tmp_path / "logs")],
        cwd=str(PROJECT_DIR),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    assert "train_lstm" in rows and "train_rnn" in rows


@VARIANT
def test_a_sweep_goes_on_with_what_was_stopped(common, launch, tmp_path):
    line = f"train_rnn.py {common} --steps 600 --checkpoint-every 20steps"
    argv = ["--sweep", write_sweep(tmp_path, line), "--log-dir", tmp_path / "logs"]
    process = launch(*argv)
    (job,) = read_sweep(argv[1])
    wait_for_checkpoint(tmp_path / "logs" / job.name, "train_rnn", step=20)
    process.send_signal(signal.SIGINT)
    status, _, err = end(process)
    assert status == 130 and "launch: 0 of 1 runs are done" in err
    status, out, _ = end(launch(*argv))
    assert status == 0 and "[1] resumed after step " in out


@VARIANT
def test_a_sweep_notes_what_diverged_and_fails_with_its_status(
    common, launch, tmp_path
):
    wild = f"train_rnn.py {common} --learning-rate 1e37"
    file = write_sweep(tmp_path, wild, f"train_rnn.py {common}")
    argv = ["--sweep", file, "--log-dir", tmp_path / "logs"]
    status, out, err = end(launch(*argv))
    assert (status, out.count("result ")) == (3, 1)
    assert "launch: run 1 ended with status 3" in err
    status, out, err = end(launch(*argv))
    assert (status, out) == (0, "")
    assert "2 runs, 2 of them done before" in err


@pytest.mark.parametrize(
    "line, problem",
    [
        ("train_rnn.py --uints 5", "unrecognized arguments: --uints"),
        ("train_rnn.py --units no", "argument --units"),
        ("train_none.py", "no such script"),
        ("train_rnn.py -h", "-h is not for a sweep's run"),
        ("train_rnn.py --decay-rate 0.5", "--decay-rate: does nothing with"),
        ("train_rnn.py 'x", "No closing quotation; quote it"),
        ("train_rnn.py --log-dir x", "--log-dir is not for a sweep's run"),
        ("train_rnn.py --resume x", "--resume is not for a sweep's run"),
        ("train_rnn.py --seed 3", "is there twice"),
        ("train_rnn.py --init-checkpoint 'a\0b'", "has a NUL, which no argument can"),
        ("train\0rnn.py", "has a NUL"),
        ("none/train_rnn.py", "none/train_rnn.py: no such script"),
    ],
)
def test_a_bad_line_is_refused_before_anything_runs(line, problem, capsys, tmp_path):
    file = write_sweep(tmp_path, "train_rnn.py --seed 3", line)
    assert launch_main(["--sweep", str(file), "--log-dir", str(tmp_path / "l")]) == 2
    _, err = capsys.readouterr()
    assert f"{file}, line 2: " in err and problem in err and err.count("\n") == 1
    assert not (tmp_path / "l").exists()


def launch_main(argv):
    try:
        return main("launch", argv)
    except SystemExit as error:
        return error.code


@pytest.mark.parametrize(
    "argv, problem",
    [
        ([], "one of the arguments --workers --sweep is required"),
        (["--workers", "1", "train_rnn.py"], "argument --workers"),
        (["--workers", "2"], "expected a training script"),
        (["--workers", "2", "compare.py"], "no training script"),
        (["--workers", "2", "--jobs", "2", "train_rnn.py"], "--jobs: is for --sweep"),
        (["--sweep", "none.txt"], "cannot be read (No such file"),
        (["--sweep", "none.txt", "train_rnn.py"], "found train_rnn.py in addition"),
        (["--sweep", "none.txt", "--restarts", "1"], "found --restarts in addition"),
        (["--sweep", os.devnull], "cannot be read (null is no file)"),
        (["--sweep", "/dev/zero"], "cannot be read (zero is no file)"),
    ],
)
def test_a_bad_command_line_is_one_line(argv, problem, capsys):
    assert launch_main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert problem in err


def test_a_file_that_is_no_sweep_is_one_line(tmp_path):
    for text, problem in (
        ("\n# none\n", "names no runs"),
        ("#" * 10_000_001, "cannot be read .* has more than 10000000 bytes"),
    ):
        with pytest.raises(UserError, match=problem):
            read_sweep(write_sweep(tmp_path, text))
    os.mkfifo(str(tmp_path / "fifo"))
    with pytest.raises(UserError, match="is no file"):
        read_sweep(tmp_path / "fifo")


def test_a_script_is_loaded_once_for_all_lines(tmp_path):
    script = tmp_path / "counted.py"
    text = (PROJECT_DIR / "train_rnn.py").read_text()
    log = tmp_path / "loaded"
    counting = f"with open({str(log)!r}, 'a') as file:\n    file.write('x')\n"
    script.write_text(f"{text}\n{counting}")
    lines = [f"'{script}' --seed {seed}" for seed in range(3)]
    assert len(read_sweep(write_sweep(tmp_path, *lines))) == 3
    assert log.read_text() == "x"


def test_jobs_are_named_after_their_commands(tmp_path):
    lines = [
        "train_rnn.py --seed 1",
        "train_rnn.py --seed=1",
        "train_rnn.py --seed '1'",
    ]
    first, second = read_sweep(write_sweep(tmp_path, *lines[:2]))
    assert first.name == "train_rnn-seed-1"
    assert second.name.startswith("train_rnn-seed-1-")
    long = "train_rnn.py --init-checkpoint " + "x" * 300
    (job,) = read_sweep(write_sweep(tmp_path, long))
    assert len(job.name) < 120


def test_a_comment_of_a_sweep_begins_at_a_word(tmp_path):
    line = "train_rnn.py --init-checkpoint a#1 --seed 3 # it's another"
    (job,) = read_sweep(write_sweep(tmp_path, "# it's one", line))
    assert job.command[1:] == ["--init-checkpoint", "a#1", "--seed", "3"]


def test_a_child_runs_on_its_cores_and_its_lines_have_its_prefix(capsys, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nprint(sorted(os.sched_getaffinity(0)))\n")
    core = min(os.sched_getaffinity(0))
    child = processes.Child([str(script)], "[7] ", [core])
    child.finish()
    assert child.status == 0
    assert capsys.readouterr().out == f"[7] [{core}]\n"


@pytest.mark.parametrize(
    "argv, expected",
    [
        (["--seed", "1"], ["--resume", "logs/a run"]),
        (["--resume", "logs/b", "--worker-timeout", "90"], None),
        (["--resume=logs/b", "--worker-timeout", "90"], None),
    ],
)
def test_a_restart_resumes_the_run_with_what_was_typed_for_it(argv, expected):
    workers = group._Group(2, ["train_rnn.py", *argv])
    for line in (
        "recurrence: fast",
        "run folder: logs/a run",
        "run folder: logs/a run",
    ):
        workers._notice(line)
    assert workers.command == ["train_rnn.py", *(expected or argv)]
