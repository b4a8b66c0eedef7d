"""Real faults: full disks, folders that vanish, signals, numbers that are none."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import PROJECT_DIR
from scripts import (
    ENDLESS,
    ONE_SCRIPT,
    PATIENCE,
    SLOW,
    hear_ctrl_c,
    main,
    read_until,
    run,
    run_folders,
    slow_after,
    start,
    wait_for,
    wait_for_checkpoint,
)

from seqmnist.run import engine, loop
from seqmnist.run.checkpoints import Checkpoints
from seqmnist.run.signals import ECHO_SECONDS, StopSignals


@pytest.fixture
def endless(small):
    return [*small, *ENDLESS, "--checkpoint-every", "7"]


def check_whole(folder):
    """The run's newest checkpoint is whole, and nothing half lies about."""
    newest, damaged = Checkpoints(folder).newest()
    assert newest is not None and damaged == []
    assert not list(folder.rglob("*.partial")) + list(folder.rglob("partial"))


def check_goes_on(name, folder):
    """The run can be resumed: the next signal stops it in order again."""
    before, _ = Checkpoints(folder).newest()
    with start([f"{name}.py", "--resume", str(folder)]) as process:
        out = read_until(process, process.stdout, "resumed after step ")
        assert out.endswith(f"\nresumed after step {before.state['step']}\n")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert "interrupted after step " in err


@pytest.mark.parametrize(
    "name, number",
    slow_after(
        1,
        [
            ("train_rnn", signal.SIGINT),
            ("train_lstm", signal.SIGTERM),
            ("train_gru_pixel", signal.SIGINT),
        ],
        variant_after=2,
    ),
)
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(
    name, number, endless, tmp_path
):
    with start([f"{name}.py", *endless]) as process:
        folder = wait_for_checkpoint(tmp_path / "logs", name)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    match = re.fullmatch(
        rf"\n{signal.Signals(number).name}: finishing the step and saving; a second "
        r"one stops at once\ninterrupted after step (\d+) of 1000000, which is saved; "
        rf"go on with: python (\S*{name}.py) --resume (\S+)\n",
        err,
    )
    assert match and "Traceback" not in out
    newest, _ = Checkpoints(folder).newest()
    assert newest.state["step"] == int(match.group(1))
    # What it says to type is what has to be typed, from the folder it was started in.
    assert os.path.samefile(PROJECT_DIR.parent / match.group(2), f"{name}.py")
    assert os.path.samefile(PROJECT_DIR.parent / match.group(3), folder)
    assert (folder / "lock").read_text() == ""
    check_whole(folder)


def test_a_run_cannot_be_resumed_while_it_trains(endless, tmp_path, capsys):
    with start(["train_rnn.py", *endless]) as process:
        folder = wait_for_checkpoint(tmp_path / "logs", "train_rnn")
        before = (folder / "config.json").read_text()
        assert main("train_rnn", ["--resume", str(folder)]) == 2
        out, err = capsys.readouterr()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert not out
    assert re.fullmatch(
        rf"error: .*: process {process.pid} on .*, since .* trains in this folder; "
        r"wait for its end, or stop it\n",
        err,
    )
    assert process.returncode == 143
    assert (folder / "config.json").read_text() == before


@SLOW
def test_a_second_signal_stops_at_once(small, tmp_path):
    """While TensorFlow computes a step that never ends."""
    script = tmp_path / "endless_step.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(PROJECT_DIR)!r})\n"
        "import train_lstm\n"
        "from seqmnist import tf1 as tf\n"
        "from seqmnist.distributed.workers import OneWorker\n"
        "def run(self, *args):\n"
        "    with tf.Graph().as_default(), tf.Session() as session:\n"
        "        never = tf.FIFOQueue(1, [tf.float32]).dequeue()\n"
        "        print('computing', flush=True)\n"
        "        session.run(never)\n"
        "OneWorker.run = run\n"
        "sys.exit(train_lstm.main(sys.argv[1:]))\n"
    )
    with start([str(script), *small, *ENDLESS]) as process:
        read_until(process, process.stdout, "computing")
        folder = wait_for_checkpoint(tmp_path / "logs", "train_lstm", step=0)
        process.send_signal(signal.SIGINT)
        err = read_until(process, process.stderr, "SIGINT")
        assert err.startswith("\nSIGINT: finishing the step")
        time.sleep(2 * ECHO_SECONDS)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err.startswith("\nstopped at once; go on with: python ")
    check_whole(folder)


def test_a_signal_in_the_final_evaluation_lets_the_run_finish(
    small, monkeypatch, capsys, tmp_path
):
    evaluate, enter = loop.evaluate, StopSignals.__enter__
    entered = []

    def noted(self):
        entered.append(self)
        return enter(self)

    def signalled(*args):
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: entered[-1].number, "the signal")
        return evaluate(*args)

    monkeypatch.setattr(StopSignals, "__enter__", noted)
    monkeypatch.setattr(loop, "evaluate", signalled)
    hear_ctrl_c()
    argv = [*small, "--evaluate-every", "never"]
    assert main("train_rnn", argv) == 130
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("result ")
    assert err.endswith("interrupted after the end: the run is finished\n")
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    assert (folder / "result.txt").exists()


def test_signals_are_as_before_after_a_run(small):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert main("train_rnn", small) == 0
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.fixture
def new_home(tmp_path):
    """An environment in which matplotlib has not noted the fonts yet."""
    return {**os.environ, "MPLCONFIGDIR": str(tmp_path / "matplotlib")}


@pytest.mark.parametrize(
    "size, resumable",
    slow_after(0, [(100_000, True), (3_000, False)], variant_after=1),
)
def test_a_file_size_limit_is_one_line(size, resumable, endless, new_home, tmp_path):
    """Too small for the first checkpoint; or for the events, after a while."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    status, _, err = run(["train_rnn.py", *endless], preexec_fn=limit, env=new_home)
    assert status == 2
    assert re.fullmatch(r"error: .*: cannot be written \(.*\); .*\n", err)
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    if resumable:
        assert "go on with: " in err
        check_whole(folder)
        check_goes_on("train_rnn", folder)
    else:
        assert err.endswith("; no checkpoint is left: start anew\n")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with room for 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)])


@SLOW
def test_a_full_disk_is_one_line_and_loses_nothing(small_disk, endless):
    argv = [*endless, "--log-dir", str(small_disk / "logs")]
    with start(["train_lstm.py", *argv]) as process:
        folder = wait_for_checkpoint(small_disk / "logs", "train_lstm")
        _, err = process.communicate(timeout=PATIENCE)  # events fill it
    assert process.returncode == 2
    assert re.fullmatch(
        r"error: .* cannot be written \(.*\); saved is step .* go on with: .*\n", err
    )
    check_whole(folder)
    subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
    check_goes_on("train_lstm", folder)


def test_a_disk_that_is_full_from_the_start_is_one_line(small, new_home, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    status, _, err = run(["train_rnn.py", *small], preexec_fn=limit, env=new_home)
    assert status == 2
    assert re.fullmatch(
        r"error: .*config.json: cannot be written \(File too large\); nothing was "
        r"trained: mend that, or give another --log-dir\n",
        err,
    )
    assert run_folders(tmp_path / "logs", "train_rnn") == []


@SLOW
def test_signals_that_were_ignored_stay_so(endless, tmp_path):
    """As with nohup, or in a shell after trap '' INT."""

    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    with start(["train_rnn.py", *endless], preexec_fn=ignore) as process:
        folder = wait_for_checkpoint(tmp_path / "logs", "train_rnn")
        process.send_signal(signal.SIGINT)
        later = max(Checkpoints(folder).steps()) + 20
        wait_for_checkpoint(tmp_path / "logs", "train_rnn", step=later)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert err.startswith("\nSIGTERM: finishing the step") and "SIGINT" not in err


@SLOW
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_one_line(small):
    command = [sys.executable, str(PROJECT_DIR / "train_rnn.py"), *small]
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE
        )
    assert process.returncode == 2
    assert process.stderr == "error: [Errno 28] No space left on device\n"


@SLOW
def test_a_folder_that_vanishes_is_one_line(endless, tmp_path):
    with start(["train_gru_pixel.py", *endless]) as process:
        wait_for_checkpoint(tmp_path / "logs", "train_gru_pixel")
        # At once: the run would go on in a folder that it writes to meanwhile.
        (tmp_path / "logs").rename(tmp_path / "gone")
        shutil.rmtree(str(tmp_path / "gone"))
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, err
    assert re.fullmatch(
        r"error: .* cannot be written \(.*\); the folder is gone: if it was .*\n",
        err,
    )
    # TensorFlow makes folders that it misses; nobody shall take them for a run.
    assert not list((tmp_path / "logs").rglob("config.json"))


def test_a_folder_that_may_not_be_written_is_told_before_tensorflow_loads(
    small, tmp_path
):
    """As an ordinary user, or as root without root's power to ignore permissions."""
    folder = tmp_path / "logs"
    folder.mkdir()
    folder.chmod(0o555)
    code = (
        "import sys, train_rnn\n"
        "print(train_rnn.main(sys.argv[1:]), 'tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *small]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is missing, without which root may write everywhere")
        powers = "-dac_override,-dac_read_search"
        command = [
            "setpriv",
            f"--bounding-set={powers}",
            f"--inh-caps={powers}",
            *command,
        ]
    process = subprocess.run(
        command, cwd=str(PROJECT_DIR), capture_output=True, text=True
    )
    assert process.stdout == "2 False\n"
    assert process.stderr == (
        f"error: --log-dir: cannot make a run folder in {folder} (Permission denied); "
        "give a folder that you may write to\n"
    )


@ONE_SCRIPT
def test_a_training_that_diverges_stops_with_status_3(name, small, tmp_path, capsys):
    argv = [*small, "--learning-rate", "1e37", "--steps", "1000"]
    assert main(name, [*argv, "--checkpoint-every", "1"]) == 3
    err = capsys.readouterr().err
    assert re.fullmatch(
        r"error: (loss|gradient norm|weights) (is|are) .* at step \d+, learning rate "
        r"1e\+37: the training has diverged; start anew with a smaller "
        r"--learning-rate; the last good checkpoint is .*model\.ckpt-\d+\n",
        err,
    )
    (folder,) = run_folders(tmp_path / "logs", name)
    check_whole(folder)
    assert not (folder / "result.txt").exists()


@pytest.mark.parametrize("name", ["loss", "gradient_norm"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_each_number_of_an_update_is_looked_at(
    name, value, small, monkeypatch, capsys, tmp_path
):
    update = engine.PlainEngine.update

    def astray(self, *args):
        updates = update(self, *args)
        astray.calls += 1
        if astray.calls < 6:
            return updates
        return [u._replace(**{name: value}) for u in updates]

    astray.calls = 0
    monkeypatch.setattr(engine.PlainEngine, "update", astray)
    argv = [*small, "--recurrence", "plain", "--checkpoint-every", "2"]
    assert main("train_rnn", argv) == 3
    err = capsys.readouterr().err
    text = (
        f"error: {name.replace('_', ' ')} is {value} at step 6, learning rate 0.001: "
    )
    assert err.startswith(text)
    assert "the last good checkpoint is" in err and "model.ckpt-4\n" in err
