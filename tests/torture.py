"""Kills runs at random instants, resumes them, and looks for any difference at the end.

    python tests/torture.py                   51 kills, 17 per script: make torture
    python tests/torture.py --kills 3 --seed 1

For each script, one run is left untouched. Others with the same options are killed with
SIGKILL again and again, each time resumed with `--resume`, and compared with the
untouched one when they reach their end: weights and all other variables, metrics.csv
but for its seconds, all TensorBoard events but for what tells of times and folders, the
predictions, the reading, the result line, and which checkpoints are kept. A third of
the kills come at any instant since the process began, a third while it trains, a third
while it writes a checkpoint.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT_DIR))

from seqmnist import tf1 as tf  # noqa: E402
from seqmnist.run.checkpoints import Checkpoint, Checkpoints  # noqa: E402

# Networks of the notebooks' sizes, with evaluations and many checkpoints on the way.
EVERY = ["--evaluate-splits", "validation", "test", "--report-every", "30steps"]
CASES = {
    "train_rnn": [
        *("--epochs", "8", "--evaluate-every", "100steps"),
        *("--checkpoint-every", "25steps", *EVERY),
    ],
    "train_lstm": [
        *("--steps", "16000", "--evaluate-every", "1000steps"),
        *("--checkpoint-every", "150steps", *EVERY),
    ],
    "train_gru_pixel": [
        *("--batch-size", "32", "--steps", "400", "--evaluate-every", "160steps"),
        *("--validation-size", "500", "--checkpoint-every", "3steps", *EVERY),
    ],
}
INSTANTS = ("any instant", "training", "saving")


def launch(script, argv):
    """Starts a script; its output is not looked at but for errors at its end."""
    command = [sys.executable, str(PROJECT_DIR / f"{script}.py"), *argv]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    """Waits for a process that has to end well."""
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args} ended with {process.returncode}:\n{out}")


def wait_until(process, condition):
    """Waits, watching closely, until a condition holds; `False` if the end is first."""
    while process.poll() is None:
        for _ in range(200):
            if condition():
                return True
            time.sleep(5e-5)
    return False


def run_folder(log_dir, script):
    """The one run folder below a folder of logs, or `None`."""
    folders = sorted((log_dir / script).glob("*"))
    return folders[0] if folders else None


def kill(process, log_dir, script, instant, generator):
    """Kills a process at an instant of a kind.

    Args:
        process: the run's.
        log_dir: the folder in which the run's is, or will be.
        script: the script's name without `.py`.
        instant: one of `INSTANTS`.
        generator: a `random.Random`.

    Returns:
        "" if the run ended first, else "killed", or "saving" if a checkpoint was
        being written.
    """

    def lock():
        folder = run_folder(log_dir, script)
        return folder is not None and str(process.pid) in read(folder / "lock")

    def is_saving():  # now, and not when it was killed before
        partial = partial_folder(run_folder(log_dir, script))
        return partial is not None and partial != left_over

    left_over = partial_folder(run_folder(log_dir, script))
    if instant == "any instant":
        end = time.time() + generator.uniform(0, 8)
        wait_until(process, lambda: time.time() > end)
    elif wait_until(process, lock):
        time.sleep(generator.uniform(0, 4))
        if instant == "saving" and wait_until(process, is_saving):
            time.sleep(generator.uniform(0, 0.006))
    if process.poll() is not None:
        finish(process)
        return ""
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return "saving" if is_saving() else "killed"


def partial_folder(folder):
    """What tells a checkpoint's folder, while it is written, from all others."""
    try:
        status = (folder / "checkpoints" / "partial").stat()
        return status.st_ino, status.st_ctime_ns
    except (OSError, TypeError):  # no such folder, no run yet
        return None


def read(path):
    """A file's text, or "" if it is not there."""
    try:
        return path.read_text()
    except OSError:
        return ""


def fingerprint(folder):
    """All of a run's outcome that a kill must not change, by name."""
    found = {}
    checkpoints = Checkpoints(folder)
    for step in checkpoints.steps():
        checkpoint = checkpoints.read(step)
        if not isinstance(checkpoint, Checkpoint):
            found[f"checkpoint {step}"] = checkpoint
            continue
        reader = tf.train.NewCheckpointReader(str(checkpoint.prefix))
        for name in sorted(reader.get_variable_to_shape_map()):
            found[f"checkpoint {step}: {name}"] = reader.get_tensor(name).tobytes()
    for name in ("checkpoint", "best"):
        found[name] = read(checkpoints.folder / name)
    rows = list(csv.DictReader(read(folder / "metrics.csv").splitlines()))
    for row in rows:
        row.pop("seconds")
    found["metrics.csv"] = [sorted(row.items()) for row in rows]
    for split in (".", "train", "validation"):
        found[f"events in {split}/"] = list(events(folder / split))
    for name in ("predictions.csv", "reading.csv"):
        found[name] = read(folder / name)
    words = read(folder / "result.txt").split()
    others = ("seconds=", f"run={folder.name}")
    found["result.txt"] = [word for word in words if not word.startswith(others)]
    return found


# What tells of the time and of the folder, which are others in every run.
OTHERS = ("examples_per_second", "configuration", "_hparams_/")


def events(folder):
    """(step, tag, value) of all events in a folder, in order; of the graph, its tag."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in tf.train.summary_iterator(str(path)):
            if event.graph_def:
                yield event.step, "graph", None
            for value in event.summary.value:
                known = not value.tag.startswith(OTHERS)
                yield event.step, value.tag, known and value.SerializeToString()


def differences(expected, found):
    """The names of what differs between two fingerprints."""
    names = sorted({*expected, *found})
    return [name for name in names if expected.get(name) != found.get(name)]


def torture(script, argv, num_kills, generator, work_dir):
    """Kills runs of one script until there were so many kills.

    Args:
        script: its name without `.py`.
        argv: its options.
        num_kills: how many.
        generator: a `random.Random`.
        work_dir: an empty folder.

    Returns:
        A dict of counts, and the list of differences.
    """
    untouched = work_dir / "untouched"
    finish(launch(script, [*argv, "--log-dir", str(untouched)]))
    expected = fingerprint(run_folder(untouched, script))
    counts = {"runs": 0, "kills": 0, "while saving": 0, "compared": len(expected)}
    found = []
    while counts["kills"] < num_kills:
        log_dir = work_dir / f"killed{counts['runs']}"
        counts["runs"] += 1
        is_ended = False
        while not is_ended:
            folder = run_folder(log_dir, script)
            if folder is not None and (folder / "config.json").exists():
                process = launch(script, ["--resume", str(folder)])
            else:  # killed before there was anything to resume
                log_dir = log_dir.with_name(log_dir.name + "+")
                process = launch(script, [*argv, "--log-dir", str(log_dir)])
            if counts["kills"] == num_kills:
                finish(process)
                break
            instant = INSTANTS[counts["kills"] % len(INSTANTS)]
            outcome = kill(process, log_dir, script, instant, generator)
            is_ended = not outcome
            counts["kills"] += bool(outcome)
            counts["while saving"] += outcome == "saving"
        killed = fingerprint(run_folder(log_dir, script))
        found += [f"{script}: {name}" for name in differences(expected, killed)]
    return counts, found


def main(argv=None):
    """Tortures all scripts; returns 0 if nothing differs, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=17, help="per script")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    args = parser.parse_args(argv)
    generator = random.Random(args.seed)
    found = []
    totals = {}
    for script, options in CASES.items():
        with tempfile.TemporaryDirectory() as work_dir:
            counts, differing = torture(
                script, options, args.kills, generator, Path(work_dir)
            )
        print(script, json.dumps(counts), *differing, sep="\n  ", flush=True)
        found += differing
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
    print(
        f"TensorFlow {tf.VERSION}, {os.cpu_count()} cores: {totals['kills']} kills, "
        f"{totals['while saving']} of them while a checkpoint was written, over "
        f"{totals['runs']} runs: {len(found)} differences"
    )
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
