"""What a second worker brings: images per second of one and of two.

    make bench-workers

Three runs take turns, each process on one half of the cores: one with the whole batch,
two workers with half of it each, and one with half of it. The last says how long a
worker computes; what the two take beyond it, they wait for each other's gradients.
Speeds are those between a run's second report and its last, so without compilation.
The table is in docs/workers.md.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

PROJECT_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT_DIR))
os.chdir(PROJECT_DIR)

from seqmnist.cores import cores_of  # noqa: E402
from seqmnist.launching.group import run_workers  # noqa: E402
from seqmnist.launching.processes import Child, Signals  # noqa: E402
from seqmnist.record.folder import read_config  # noqa: E402
from seqmnist.record.log import read_metrics  # noqa: E402

ROUNDS = 2
REPORTS = 6


class Workload(NamedTuple):
    """What is trained.

    Attributes:
        title: in words.
        command: script and options, without those of batch and length.
        batch_size: images per step.
        steps: from one report to the next, a few seconds.
    """

    title: str
    command: list
    batch_size: int
    steps: int


WORKLOADS = [
    Workload("BasicRNN 150, rows", ["train_rnn.py"], 150, 300),
    Workload(
        "LSTM 128, rows", ["train_lstm.py", "--preset", "lstm-128-prediction"], 100, 200
    ),
    Workload(
        "LSTM 256, rows",
        ["train_lstm.py", "--preset", "lstm-128-prediction", "--units", "256"],
        100,
        80,
    ),
    Workload("GRU 64, pixels", ["train_gru_pixel.py"], 512, 8),
]


def main():
    """Measures and prints a table in Markdown."""
    rows = []
    for workload in WORKLOADS:
        seconds = {"one": [], "two": [], "half": []}
        for _ in range(ROUNDS):
            for name in seconds:
                value, parameters = seconds_per_step(workload, name)
                seconds[name].append(value)
        one, two, half = (statistics.median(values) for values in seconds.values())
        rows.append(
            [
                f"{workload.title}, {workload.batch_size}",
                f"{workload.batch_size / one:,.0f}",
                f"{workload.batch_size / two:,.0f}",
                f"{one / two / 2:.0%}",
                f"{1000 * two:.1f}",
                f"{1000 * half:.1f}",
                f"{4 * (parameters + 3):,}",
            ]
        )
        print(" | ".join(rows[-1]), file=sys.stderr)
    head = ["network, global batch", "images/s of one", "of two", "efficiency"]
    head += ["ms per step of two", "of which half a batch takes alone"]
    head += ["bytes sent per step"]
    for row in [head, ["---"] * len(head), *rows]:
        print("| " + " | ".join(row) + " |")


def seconds_per_step(workload, name):
    """Trains for a while; returns the seconds of a step and the parameters."""
    batch_size = workload.batch_size // (2 if name == "half" else 1)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *workload.command,
            *("--batch-size", str(batch_size), "--log-dir", folder),
            *("--steps", str(REPORTS * workload.steps)),
            *("--report-every", f"{workload.steps}steps"),
            *("--evaluate-every", "never", "--summaries", "scalars"),
            *("--checkpoint-every", "never"),
        ]
        if name == "two":
            status = run_workers(2, command, 0)
        else:
            with Signals() as signals:
                child = signals.add(Child(command, "", cores_of(0, 2)))
                child.finish()
            status = child.status
        if status:
            sys.exit(status)
        (run,) = Path(folder).glob("*/*")
        rows = [row for row in read_metrics(run) if row["split"] == "train"]
        first, last = rows[1], rows[-1]
        steps = last["step"] - first["step"]
        parameters = read_config(str(run))["parameters"]
        return (last["seconds"] - first["seconds"]) / steps, parameters


if __name__ == "__main__":
    main()
