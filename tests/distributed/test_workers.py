"""Several workers as real processes on this machine: the answer of one, and faults."""

import gzip
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT_DIR, write_idx
from pages import DOCS_DIR, named_blocks
from scripts import (
    ENDLESS,
    PATIENCE,
    SLOW,
    VARIANT,
    environment,
    main,
    read_until,
    run_folders,
    slow_after,
    start,
    wait_for_checkpoint,
)
from torture import differences, fingerprint

import train_rnn
from seqmnist import tf1 as tf
from seqmnist.distributed.cluster import code_digest
from seqmnist.launching.group import free_addresses
from seqmnist.record.log import read_metrics
from seqmnist.run.checkpoints import Checkpoints
from seqmnist.scripts import script_digest

# The sums of a batch are rounded in another order; that is all that differs. Of the
# largest entry of each variable.
BOUND = 1e-5


def start_worker(index, addresses, argv):
    task = {"type": "worker", "index": index}
    cluster = json.dumps({"cluster": {"worker": addresses}, "task": task})
    return start(argv, env={**environment(), "TF_CONFIG": cluster})


@pytest.fixture
def start_workers():
    """Starts workers; none is left behind."""
    started = []

    def start_all(count, argv, *others):
        """With other arguments for the last ones, if given."""
        addresses = free_addresses(count)
        argvs = [argv] * (count - len(others)) + list(others)
        workers = [start_worker(i, addresses, argv) for i, argv in enumerate(argvs)]
        started.extend(workers)
        return workers

    yield start_all
    for worker in started:
        if worker.poll() is None:
            worker.kill()
        worker.communicate()


def finish(workers):
    """Waits for all; returns (status, stdout, stderr) of each."""
    found = []
    for worker in workers:
        out, err = worker.communicate(timeout=PATIENCE)
        found.append((worker.returncode, out, err))
    return found


def final_weights(folder):
    newest, _ = Checkpoints(folder).newest()
    reader = tf.train.NewCheckpointReader(str(newest.prefix))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names}


def assert_close(found, expected):
    for key, value in expected.items():
        bound = BOUND * np.max(np.abs(value))
        np.testing.assert_allclose(found[key], value, rtol=0, atol=bound, err_msg=key)


def alone(name, argv, log_dir):
    """The run's folder as one process makes it."""
    assert main(name, [*argv, "--log-dir", str(log_dir)]) == 0
    (folder,) = run_folders(log_dir, name)
    return folder


def together(count, name, argv, log_dir, start_workers):
    """The run's folder as several make it."""
    argv = [f"{name}.py", *argv, "--log-dir", str(log_dir)]
    found = finish(start_workers(count, argv))
    assert [status for status, _, _ in found] == [0] * count, found
    assert f"workers: {count}, this is 0 at 127.0.0.1:" in found[0][1]
    assert all(out.count("\n") == 2 for _, out, _ in found[1:])
    (folder,) = run_folders(log_dir, name)
    return folder


@pytest.fixture
def tiny_data(small_data, tmp_path):
    """The middle of the small data's images: 8 x 8 pixels."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for path in small_data.iterdir():
        values = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)
        if "images" in path.name:
            write_idx(
                folder / path.name, values[16:].reshape(-1, 28, 28)[:, 10:18, 10:18]
            )
        else:
            write_idx(folder / path.name, values[8:])
    return folder


@pytest.mark.parametrize(
    "name, count, recurrence",
    slow_after(
        0,
        [
            ("train_gru_pixel", 2, "auto"),
            ("train_gru_pixel", 3, "auto"),
            ("train_lstm", 2, "plain"),
        ],
        variant_after=1,
    ),
)
def test_the_answer_is_that_of_one(
    name, count, recurrence, small, tiny_data, start_workers, tmp_path
):
    """Weights, slots, averages and all figures; batches of 53 do not divide evenly."""
    argv = [
        *small,
        *("--batch-size", "53"),
        *("--recurrence", recurrence, "--data-dir", str(tiny_data)),
        *("--view", "pixels", "--coarse-part", "0.5"),
        *("--max-grad-norm", "0.5", "--ema-decay", "0.9", "--weight-decay", "0.1"),
        *("--evaluate-every", "6", "--report-every", "3"),
        *("--max-shift", "1", "--max-slant", "0.3", "--max-bend", "1"),
        *("--evaluate-splits", "validation", "test"),
    ]
    one = alone(name, argv, tmp_path / "one")
    expected_rows = read_metrics(one)
    counted = {row["split"]: row["count"] for row in expected_rows}
    assert counted == {"train": 159, "validation": 20, "test": 130}
    same = ("step", "split", "correct", "count")
    several = together(count, name, argv, tmp_path / "several", start_workers)
    expected, found = final_weights(one), final_weights(several)
    assert expected.keys() == found.keys()
    assert_close(found, expected)
    rows = read_metrics(several)
    assert len(rows) == len(expected_rows)
    for row, expected in zip(rows, expected_rows):
        assert [row[k] for k in same] == [expected[k] for k in same]
        assert row["loss"] == pytest.approx(expected["loss"], abs=BOUND)
    assert json.loads((several / "config.json").read_text())["workers"] == count


@VARIANT
def test_more_workers_than_images(small, start_workers, tmp_path, monkeypatch):
    """A worker without a validation image still counts those of the test split.

    A proxy that the machine has for the web, here one that is off, changes nothing.
    """
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.org")
    argv = [*small, "--validation-size", "2", "--summaries", "all"]
    folder = together(3, "train_rnn", argv, tmp_path / "logs", start_workers)
    counted = {row["split"]: row["count"] for row in read_metrics(folder)}
    assert counted == {"train": 300, "validation": 2, "test": 130}


@VARIANT
def test_a_killed_worker_ends_the_other_and_all_go_on_to_the_bit(
    small, start_workers, tmp_path
):
    """By hand: --resume where the folder is, and the first options where it is not."""
    argv = [*small, "--steps", "300", "--report-every", "50", "--evaluate-every", "100"]
    argv += ["--checkpoint-every", "20"]
    whole = together(2, "train_rnn", argv, tmp_path / "whole", start_workers)
    log_dir = tmp_path / "lost"
    words = ["train_rnn.py", *argv, "--log-dir", str(log_dir)]
    workers = start_workers(2, words)
    wait_for_checkpoint(log_dir, "train_rnn", step=20)
    workers[1].kill()
    (status, _, err), killed = finish(workers)
    assert (killed[0], status) == (-signal.SIGKILL, 75)
    (line,) = err.splitlines()
    # As it has gone, and not after --worker-timeout.
    assert re.match(
        r"error: worker 0 of 2 lost worker 1 "
        r"\(127\.0\.0\.1:\d+: Connection refused\); ",
        line,
    )
    assert "go on, with all workers, with: " in line
    (folder,) = run_folders(log_dir, "train_rnn")
    found = finish(start_workers(2, ["train_rnn.py", "--resume", str(folder)], words))
    assert [status for status, _, _ in found] == [0, 0], found
    assert "resumed after step " in found[0][1]
    assert differences(fingerprint(whole), fingerprint(folder)) == []


@VARIANT
def test_the_documented_pods_go_on_where_they_were(small, tmp_path):
    """Its shell lines as they stand, but for addresses, folder and a short training."""
    job = named_blocks(DOCS_DIR / "workers.md")["job"]
    (text,) = re.findall(r"^ +- \|\n(.*?)^---", job, flags=re.S | re.M)
    short = ["--preset", "best", *small, "--steps", "300", "--checkpoint-every", "20"]
    text = text.replace("--preset best", " ".join(map(shlex.quote, short)))
    text = text.replace("/runs", str(tmp_path / "runs"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def start_pods():
        lines = text
        for index, address in enumerate(free_addresses(2)):
            lines = lines.replace(f"pixels-{index}.pixels:2222", address)
        return [
            subprocess.Popen(
                ["bash", "-c", lines],
                cwd=str(PROJECT_DIR),
                env={**environment(), "PATH": path, "JOB_COMPLETION_INDEX": str(index)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(2)
        ]

    pods = start_pods()
    wait_for_checkpoint(tmp_path / "runs", "train_gru_pixel", step=20)
    pods[0].kill()
    assert [status for status, *_ in finish(pods)] == [-signal.SIGKILL, 75]
    found = finish(start_pods())
    assert [status for status, *_ in found] == [0, 0], found
    assert "resumed after step " in found[0][1]
    found = finish(start_pods())
    assert [status for status, *_ in found] == [0, 0], found
    assert all("steps=300 " in out for _, out, _ in found)


@SLOW
def test_a_worker_that_hangs_ends_the_other(small, start_workers, tmp_path):
    argv = ["train_rnn.py", *small, *ENDLESS, "--checkpoint-every", "20"]
    # Seconds by which one may also begin later than the other.
    workers = start_workers(2, [*argv, "--worker-timeout", "15"])
    wait_for_checkpoint(tmp_path / "logs", "train_rnn", step=20)
    workers[1].send_signal(signal.SIGSTOP)
    ((status, _, err),) = finish(workers[:1])
    assert status == 75
    (line,) = err.splitlines()
    assert line.startswith("error: worker 0 of 2 lost the others: no answer for 15 sec")


@VARIANT
@pytest.mark.parametrize("told", [1, 0])
def test_a_signal_to_one_stops_all_after_the_same_step(
    told, small, start_workers, tmp_path
):
    argv = ["train_rnn.py", *small, *ENDLESS, "--checkpoint-every", "20"]
    workers = start_workers(2, argv)
    folder = wait_for_checkpoint(tmp_path / "logs", "train_rnn", step=20)
    workers[told].send_signal(signal.SIGINT)
    found = finish(workers)
    assert (found[told][0], found[1 - told][0]) == (130, 143)
    steps = [
        err.split("interrupted after step ")[1].split()[0].strip(";")
        for *_, err in found
    ]
    newest, _ = Checkpoints(folder).newest()
    assert steps == [str(newest.state["step"])] * 2


@SLOW
def test_a_worker_with_other_options_is_refused_by_all(small, start_workers, tmp_path):
    argv = ["train_lstm.py", *small]
    other = [*argv, "--units", "6", "--validation-size", "10"]
    found = finish(start_workers(3, argv, argv, other))
    differing = "--units is 6 there and 5 at worker 0, --validation-size is 10 there"
    for status, _, err in found:
        (line,) = err.splitlines()
        assert status == 2 and line.startswith("error: worker 2 (127.0.0.1:")
        assert f") is refused: {differing}" in line
    assert not list(tmp_path.glob("logs/*/*"))


@VARIANT
def test_a_worker_with_other_data_is_refused(
    small, small_data, start_workers, tmp_path
):
    data = tmp_path / "data"
    data.mkdir()
    for path in small_data.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    labels = data / "t10k-labels-idx1-ubyte.gz"
    raw = bytearray(gzip.decompress((small_data / labels.name).read_bytes()))
    raw[-1] = (raw[-1] + 1) % 10
    labels.write_bytes(gzip.compress(bytes(raw)))
    argv = ["train_rnn.py", *small]
    found = finish(start_workers(2, argv, [*argv, "--data-dir", str(data)]))
    for status, _, err in found:
        assert status == 2 and ") is refused: data is " in err


@VARIANT
def test_workers_with_other_code_and_other_tensorflow_are_refused(
    small, start_workers, tmp_path
):
    """Each is named with what differs: a comment, or the version."""
    package = tmp_path / "code" / "seqmnist"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(str(PROJECT_DIR / "seqmnist"), str(package), ignore=ignored)
    with open(package / "cells.py", "a") as file:
        file.write("# changed\n")
    changed = shutil.copy(str(PROJECT_DIR / "train_rnn.py"), str(tmp_path / "code"))
    newer = tmp_path / "newer.py"
    newer.write_text(
        f"import sys; sys.path.insert(0, {str(PROJECT_DIR)!r})\n"
        "from seqmnist import tf1; tf1.VERSION = '99.0'\n"
        "import train_rnn; sys.exit(train_rnn.main(sys.argv[1:]))\n"
    )
    workers = start_workers(
        3, ["train_rnn.py", *small], [changed, *small], [str(newer), *small]
    )
    here = code_digest(script_digest(train_rnn.network))
    for status, _, err in finish(workers):
        (line,) = err.splitlines()
        assert status == 2
        assert re.search(
            r"^error: worker 1 \(127.0.0.1:\d+\) is refused: "
            rf"code is [0-9a-f]{{16}} there and {here} at worker 0; "
            r"worker 2 \(127.0.0.1:\d+\) is refused: "
            rf"TensorFlow is 99.0 there and {re.escape(tf.VERSION)} at worker 0; give",
            line,
        )
    assert not list(tmp_path.glob("logs/*/*"))


@SLOW
@pytest.mark.parametrize("present", [0, 1])
def test_an_absent_worker_is_named(present, small, tmp_path):
    addresses = free_addresses(2)
    argv = ["train_rnn.py", *small, "--worker-timeout", "1"]
    worker = start_worker(present, addresses, argv)
    ((status, out, err),) = finish([worker])
    assert (status, out) == (75, "")
    (line,) = err.splitlines()
    assert line.startswith(
        f"error: worker {present} of 2 waited 1 seconds for worker {1 - present} "
        f"({addresses[1 - present]}: Connection refused); start them all"
    )
    assert not list(tmp_path.glob("logs/*/*"))


@SLOW
def test_a_chief_that_dies_before_the_first_step_is_named(small, tmp_path):
    """It waits for the third, and the second for its answer."""
    script = tmp_path / "telling.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(PROJECT_DIR)!r})\n"
        "import train_rnn\n"
        "from seqmnist.distributed import rendezvous\n"
        "class Marks(dict):\n"
        "    def __setitem__(self, index, mark):\n"
        "        print(f'worker {index} has reported', flush=True)\n"
        "        super().__setitem__(index, mark)\n"
        "class Telling(rendezvous.Rendezvous):\n"
        "    def collect(self, kind):\n"
        "        self._marks = Marks()\n"
        "        return super().collect(kind)\n"
        "import seqmnist.distributed.workers as workers\n"
        "workers.Rendezvous = Telling\n"
        "sys.exit(train_rnn.main(sys.argv[1:]))\n"
    )
    addresses = free_addresses(3)
    with start_worker(0, addresses, [str(script), *small]) as chief:
        with start_worker(1, addresses, ["train_rnn.py", *small]) as worker:
            read_until(chief, chief.stdout, "worker 1 has reported")
            chief.kill()
            ((status, out, err),) = finish([worker])
        chief.communicate()
    assert (status, out) == (75, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: worker 1 of 3 lost worker 0 ({addresses[0]}: Conn")


@SLOW
def test_a_port_in_use_is_one_line(small):
    addresses = free_addresses(2)
    with socket.socket() as server:
        host, port = addresses[0].split(":")
        server.bind((host, int(port)))
        server.listen(1)
        worker = start_worker(0, addresses, ["train_rnn.py", *small])
        ((status, out, err),) = finish([worker])
    assert (status, out, err.count("\n")) == (75, "", 1)
    assert f"cannot listen at port {port} of {addresses[0]}" in err


def test_a_malformed_variable_is_one_line(small, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TF_CONFIG", "{")
    assert main("train_rnn", small) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: TF_CONFIG is no JSON")
    assert not list(tmp_path.glob("logs/*/*"))


def test_a_batch_without_an_image_for_each_is_refused(small, monkeypatch, capsys):
    task = {"type": "worker", "index": 2}
    config = {"cluster": {"worker": free_addresses(3)}, "task": task}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert main("train_rnn", [*small, "--batch-size", "2"]) == 2
    _, err = capsys.readouterr()
    assert err.startswith("error: --batch-size 2: each of the 3 workers")


def test_one_worker_is_as_without_the_variable(small, monkeypatch, capsys):
    task = {"type": "worker", "index": 0}
    config = {"cluster": {"worker": ["127.0.0.1:1"]}, "task": task}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert main("train_rnn", small) == 0
    assert "workers" not in capsys.readouterr().out


@SLOW
def test_a_chief_that_is_mute_is_named(small):
    """Somebody listens at its port, and does not answer."""
    addresses = free_addresses(2)
    host, port = addresses[0].split(":")
    with socket.socket() as mute:
        mute.bind((host, int(port)))
        mute.listen(128)  # whoever looks whether it listens is not waited for
        argv = ["train_rnn.py", *small, "--worker-timeout", "4"]
        ((status, out, err),) = finish([start_worker(1, addresses, argv)])
    assert (status, out) == (75, "")
    (line,) = err.splitlines()
    assert line.startswith(
        f"error: worker 1 of 2 lost worker 0 ({addresses[0]}): no answer for 4 seconds"
    )


@VARIANT
def test_workers_that_do_not_train_evaluate(small, start_workers, tmp_path):
    argv = [*small, "--steps", "0", "--evaluate-every", "never"]
    folder = together(2, "train_rnn", argv, tmp_path / "logs", start_workers)
    assert [row["count"] for row in read_metrics(folder)] == [130]


@SLOW
def test_all_end_alike_when_the_training_diverges(small, start_workers):
    argv = ["train_lstm.py", *small, "--learning-rate", "1e37"]
    found = finish(start_workers(2, argv))
    assert [status for status, *_ in found] == [3, 3]
    assert all("the training has diverged" in err for *_, err in found)
