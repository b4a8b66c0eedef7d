"""Measures training steps of the suite and of its peers, in one run.

    make bench                    all of it, about half an hour
    python benchmarks/run.py --workloads rnn gru --rounds 5

Each peer trains in a process of its own. They take turns, a second or so each, so that
whatever else the machine does hits all alike; in between they sleep. Before anything is
timed, the loss of the first batch is compared with one computed in float64 by NumPy
from the same weights. Whole commands are timed too, for one epoch of the BasicRNN.
Writes results.json, results.md, steps.png and growth.png into a new folder.
docs/performance.md has the tables and figures of benchmarks/results/, a folder per
processor.
"""

import argparse
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from reference_loss import reference_loss
from workloads import GROWTH, WORKLOADS

PROJECT_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT_DIR))

from seqmnist import tf1 as tf  # noqa: E402
from seqmnist.classifier import Classifier  # noqa: E402
from seqmnist.cli.parser import parse  # noqa: E402
from seqmnist.cores import num_cores  # noqa: E402
from seqmnist.data import mnist  # noqa: E402
from seqmnist.record.log import Result  # noqa: E402
from seqmnist.sequences import sequence_shape  # noqa: E402

# TensorFlow imports some of the peers if they are installed, so the suite is measured
# where they are not.
PYTHONS = {
    "suite": PROJECT_DIR / ".venv" / "bin" / "python",
    "suite_plain": PROJECT_DIR / ".venv" / "bin" / "python",
    "tf1_notebook": PROJECT_DIR / ".venv-tf1" / "bin" / "python",
}
PEERS = [
    "suite",
    "suite_plain",
    "tf1_notebook",
    "tf2_legacy",
    "keras3",
    "keras3_jax",
    "pytorch",
    "jax_scan",
]
GROWTH_PEERS = ["suite", "pytorch"]
NUM_BATCHES = 8
NUM_PRODUCTS = 10
PATIENCE = 60  # seconds; what starts more slowly is started once

# The workload of the whole commands, which train one epoch of it.
WHOLE = "rnn"
WHOLE_ROUNDS = 3
SCRIPT = [str(PROJECT_DIR / "train_rnn.py"), "--epochs", "1"]
WHOLE_SUITE = {
    "seqmnist, figures and all": SCRIPT,
    "seqmnist, --summaries scalars": [*SCRIPT, "--summaries", "scalars"],
}


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--workloads", nargs="*", choices=names, default=names)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--rounds", type=int, default=11, help="turns of each peer")
    parser.add_argument("--no-growth", action="store_true", help="only the tables")
    now = datetime.datetime.now()
    parser.add_argument(
        "--out", default=str(PROJECT_DIR / "logs" / f"bench-{now:%Y%m%d-%H%M%S}")
    )
    args = parser.parse_args()
    if "tf1_notebook" in args.peers and not PYTHONS["tf1_notebook"].exists():
        print("TF 1.15.5 is left out: `make .venv-tf1/installed` installs it")
        args.peers.remove("tf1_notebook")
    out = Path(args.out)
    out.mkdir(parents=True)
    results = {"machine": describe_machine(now)}
    results.update(workloads={}, whole={}, growth={})
    with tempfile.TemporaryDirectory() as folder:
        # Compiled programs of earlier runs would make a first start a second one.
        os.environ["SEQMNIST_CACHE"] = os.path.join(folder, "cache")
        for workload in WORKLOADS:
            if workload.name in args.workloads:
                results["workloads"][workload.name] = measure(
                    workload, args.peers, args.rounds, folder
                )
                write(results, out)
        if WHOLE in args.workloads:
            results["whole"] = measure_whole(args.peers, folder)
            write(results, out)
        if not args.no_growth:
            for axis, workloads in GROWTH.items():
                results["growth"][axis] = [
                    measure(workload, GROWTH_PEERS, 3, folder) for workload in workloads
                ]
                write(results, out)
    print((out / "results.md").read_text())
    print(f"written to {out}")


def write(results, out):
    """Writes what has been measured so far."""
    import report

    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "results.md").write_text(report.as_markdown(results))
    report.save_figures(results, out)


def describe_machine(now):
    """Processor, cores, and date."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"processor": model, "cores": num_cores(), "date": f"{now:%Y-%m-%d}"}


def measure(workload, peers, num_rounds, folder):
    """Lets all peers train a workload in turns.

    Returns:
        The workload's sizes, and per peer what it measured.
    """
    print(f"{workload.name}:", flush=True)
    path = os.path.join(folder, f"{workload.name}.npz")
    task = write_task(workload, path)
    processes, found = {}, {}
    try:
        for peer in [*peers, "matmul"]:
            processes[peer] = start(peer, path, folder)
            first = second = read(processes[peer], peer, folder)
            check_loss(first, task, peer)
            if first["first_step_seconds"] < PATIENCE:
                stop(processes[peer])
                processes[peer] = start(peer, path, folder)
                second = read(processes[peer], peer, folder)
                check_loss(second, task, peer)
            found[peer] = {**second, "first_start": first, "milliseconds": []}
            print(f"  {second['name']}: ready", flush=True)
        for _ in range(num_rounds):
            for peer, process in processes.items():
                count = NUM_PRODUCTS if peer == "matmul" else workload.steps
                process.stdin.write(f"{count}\n")
                process.stdin.flush()
                answer = read(process, peer, folder)
                found[peer]["milliseconds"].append(answer["milliseconds"])
                starts = found[peer]["first_start"], answer
                peaks = [values["peak_megabytes"] for values in starts]
                found[peer]["peak_megabytes"] = max(peaks) if all(peaks) else None
    finally:
        for process in processes.values():
            stop(process)
    for values in found.values():
        times = values["milliseconds"][1:] or values["milliseconds"]
        values["median"], values["low"], values["high"] = (
            float(value) for value in np.percentile(times, (50, 25, 75))
        )
        print(f"  {values['name']}: {values['median']:.2f} ms per step", flush=True)
    return {**workload._asdict(), "operations": operations(task), "peers": found}


def measure_whole(peers, folder):
    """Times whole commands, from the shell's prompt to the accuracy, in turns.

    Returns:
        By name, the seconds of each turn and the accuracy on the test images.
    """
    print("whole commands:", flush=True)
    workload = next(w for w in WORKLOADS if w.name == WHOLE)
    path = os.path.join(folder, "whole.npz")
    write_task(workload, path, is_whole=True)
    commands = {}
    if "suite" in peers:
        for name, argv in WHOLE_SUITE.items():
            log_dir = os.path.join(folder, "logs")
            commands[name] = [python_of("suite"), *argv, "--log-dir", log_dir]
    for peer in peers:
        if peer not in ("suite", "suite_plain"):
            commands[peer] = [*peer_command(peer, path), "--whole"]
    found = {}
    for _ in range(WHOLE_ROUNDS):
        for key, command in commands.items():
            started = time.perf_counter()
            process = subprocess.run(command, capture_output=True, text=True)
            seconds = time.perf_counter() - started
            if process.returncode:
                sys.exit(f"error: {key} ended early: {process.stderr[-2000:]}")
            last = process.stdout.splitlines()[-1]
            if key in WHOLE_SUITE:
                name, accuracy = key, Result.parse(last).test_accuracy
            else:
                name, accuracy = (json.loads(last)[k] for k in ("name", "accuracy"))
            values = found.setdefault(name, {"seconds": [], "accuracy": accuracy})
            values["seconds"].append(seconds)
    for name, values in found.items():
        values["median"] = float(np.median(values["seconds"]))
        print(f"  {name}: {values['median']:.1f} s", flush=True)
    return found


def write_task(workload, path, is_whole=False):
    """Writes a workload's weights and batches for the peers; returns them.

    Args:
        workload: the `Workload`.
        path: the file to write.
        is_whole: whether it has all training images and the test images, instead of a
            few batches.
    """
    script = importlib.import_module(workload.script)
    argv = ["--preset", workload.preset, "--units", str(workload.units)]
    config = parse(argv, workload.script, "", script.DEFAULTS, script.PRESETS)
    config.image_shape, config.num_classes = [28, 28], 10
    classifier = Classifier(config, script.network, script.loss, script.optimizer)
    with tf.Session(graph=classifier.graph) as session:
        session.run(classifier.init_op)
        weights = session.run(
            classifier.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
        )
    splits = mnist.load_splits()
    train = splits.train
    most = len(train.labels) // workload.batch_size
    num_batches = most if is_whole else NUM_BATCHES
    count = num_batches * workload.batch_size
    shape = sequence_shape(workload.view, 28, 28)
    sequences = train.images[:count].reshape(count, *shape)
    if workload.time_steps is not None:  # shorter, or each pixel several times
        repeats = -(-workload.time_steps // sequences.shape[1])
        sequences = np.repeat(sequences, repeats, 1)[:, : workload.time_steps]
    task = {
        "cell": workload.cell,
        "script": workload.script,
        "preset": workload.preset,
        "learning_rate": config.learning_rate,
        "sequences": sequences.reshape(num_batches, -1, *sequences.shape[1:]),
        "labels": train.labels[:count].reshape(num_batches, -1),
        **{f"weight{i}": value for i, value in enumerate(weights)},
    }
    if is_whole:
        task["test_sequences"] = splits.test.images.reshape(-1, *shape)
        task["test_labels"] = splits.test.labels
    np.savez(path, **task)
    return task


def operations(task):
    """Floating-point operations of the matrix products in a step, both passes.

    A multiply-add is two; the gradients of operand and kernel double the forward pass.
    """
    _, batch_size, time_steps, _ = task["sequences"].shape
    kernels = [v for k, v in task.items() if k.startswith("weight") and v.ndim == 2][
        :-1
    ]
    return 3 * 2 * batch_size * time_steps * sum(kernel.size for kernel in kernels)


def python_of(peer):
    """The Python of the peer's environment, or if that is not there, this one."""
    python = PYTHONS.get(peer)
    return str(python) if python and python.exists() else sys.executable


def peer_command(peer, path):
    """The command that runs a peer."""
    return [python_of(peer), str(Path(__file__).with_name("peer.py")), peer, path]


def start(peer, path, folder):
    """Starts a peer's process; what it says besides goes into a file."""
    with open(os.path.join(folder, f"{peer}.stderr"), "w") as stderr:
        return subprocess.Popen(
            peer_command(peer, path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )


def stop(process):
    """Ends a peer's process."""
    process.kill()
    process.wait()


def read(process, peer, folder):
    """A peer's next answer."""
    line = process.stdout.readline()
    if not line:
        said = Path(folder, f"{peer}.stderr").read_text()
        sys.exit(f"error: {peer} ended early: {said[-2000:]}")
    return json.loads(line)


def check_loss(ready, task, peer):
    """Stops unless the peer's first loss is the one that NumPy finds."""
    if ready["loss"] is None:
        return
    resets_after = peer == "pytorch"  # the reset gate behind the product, as cuDNN
    expected = reference_loss(task, resets_after)
    if abs(ready["loss"] / expected - 1) > 1e-4:
        sys.exit(f"error: {peer}: loss {ready['loss']}, expected {expected}")


if __name__ == "__main__":
    main()
