"""Measures training steps of the suite and of its peers, in one run.

    make bench                    all of it, about half an hour
    python benchmarks/run.py --workloads rnn gru --rounds 5

Each peer trains in a process of its own. They take turns, a second or so each, so that
whatever else the machine does hits all alike; in between they sleep. Before anything is
timed, the loss of the first batch is compared with one computed in float64 by NumPy
from the same weights. Writes results.json, results.md, steps.png and growth.png into a
new folder. docs/performance.md has the table and the figures of benchmarks/results/.
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
from seqmnist.sequences import sequence_shape  # noqa: E402

TF1_PYTHON = PROJECT_DIR / ".venv-tf1" / "bin" / "python"
PEERS = [
    "suite",
    "suite_plain",
    "tf1_notebook",
    "tf2_legacy",
    "keras3",
    "pytorch",
    "jax_scan",
]
GROWTH_PEERS = ["suite", "pytorch"]
NUM_BATCHES = 8
NUM_PRODUCTS = 10


def main():
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--workloads", nargs="*", choices=names, default=names)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--rounds", type=int, default=11, help="turns of each peer")
    parser.add_argument("--no-growth", action="store_true", help="only the table")
    parser.add_argument("--tf1-python", default=str(TF1_PYTHON))
    now = datetime.datetime.now()
    parser.add_argument(
        "--out", default=str(PROJECT_DIR / "logs" / f"bench-{now:%Y%m%d-%H%M%S}")
    )
    args = parser.parse_args()
    if not os.path.exists(args.tf1_python) and "tf1_notebook" in args.peers:
        print("TF 1.15.5 is left out: `make .venv-tf1/installed` installs it")
        args.peers.remove("tf1_notebook")
    out = Path(args.out)
    out.mkdir(parents=True)
    results = {"machine": describe_machine(now), "workloads": {}, "growth": {}}
    with tempfile.TemporaryDirectory() as folder:
        for workload in WORKLOADS:
            if workload.name in args.workloads:
                results["workloads"][workload.name] = measure(
                    workload, args.peers, args.rounds, args.tf1_python, folder
                )
                write(results, out)
        if not args.no_growth:
            for axis, workloads in GROWTH.items():
                results["growth"][axis] = [
                    measure(workload, GROWTH_PEERS, 3, args.tf1_python, folder)
                    for workload in workloads
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


def measure(workload, peers, num_rounds, tf1_python, folder):
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
            python = tf1_python if peer == "tf1_notebook" else sys.executable
            processes[peer] = start(python, peer, path, folder)
            ready = read(processes[peer], peer, folder)
            check_loss(ready, task, peer)
            found[peer] = {**ready, "milliseconds": []}
            print(f"  {ready['name']}: ready", flush=True)
        for _ in range(num_rounds):
            for peer, process in processes.items():
                count = NUM_PRODUCTS if peer == "matmul" else workload.steps
                process.stdin.write(f"{count}\n")
                process.stdin.flush()
                answer = read(process, peer, folder)
                found[peer]["milliseconds"].append(answer["milliseconds"])
                found[peer]["peak_megabytes"] = answer["peak_megabytes"]
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    for values in found.values():
        times = values["milliseconds"][1:] or values["milliseconds"]
        values["median"], values["low"], values["high"] = (
            float(value) for value in np.percentile(times, (50, 25, 75))
        )
        print(f"  {values['name']}: {values['median']:.2f} ms per step", flush=True)
    return {**workload._asdict(), "operations": operations(task), "peers": found}


def write_task(workload, path):
    """Writes a workload's weights and batches for the peers; returns them."""
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
    train = mnist.load_splits().train
    count = NUM_BATCHES * workload.batch_size
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
        "sequences": sequences.reshape(NUM_BATCHES, -1, *sequences.shape[1:]),
        "labels": train.labels[:count].reshape(NUM_BATCHES, -1),
        **{f"weight{i}": value for i, value in enumerate(weights)},
    }
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


def start(python, peer, path, folder):
    """Starts a peer's process; what it says besides goes into a file."""
    command = [python, str(Path(__file__).with_name("peer.py")), peer, path]
    with open(os.path.join(folder, f"{peer}.stderr"), "w") as stderr:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )


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
