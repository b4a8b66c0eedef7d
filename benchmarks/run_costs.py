"""How long it takes to keep a run and to show it, beside the training itself.

    python benchmarks/run_costs.py

Runs the three scripts' first presets, shortened, as a user would, and times from within
every checkpoint, what TensorBoard gets beside scalars, and the figures at the end. The
first histograms are those of the beginning too. The times are in docs/tensorboard.md,
those of checkpoints in docs/resuming.md.
"""

import contextlib
import importlib
import io
import os
import statistics
import sys
import tempfile
import time

PROJECT_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PROJECT_DIR)

from seqmnist.record.log import Result  # noqa: E402
from seqmnist.record.summaries import Histograms  # noqa: E402
from seqmnist.run.illustrator import Illustrator  # noqa: E402
from seqmnist.run.recorder import Recorder  # noqa: E402

RUNS = {
    "train_rnn": ["--epochs", "20"],
    "train_lstm": [],
    "train_gru_pixel": ["--steps", "300", "--evaluate-every", "100steps"],
}

# What is timed: the class and the name of the method that does it.
METHODS = {
    "checkpoints": (Recorder, "save"),
    "beginning": (Illustrator, "begin"),
    "inputs": (Illustrator, "add_inputs"),
    "histograms": (Illustrator, "add_histograms"),
    "pictures": (Illustrator, "add_pictures"),
    "gradient norms of validation": (Histograms, "gradient_norm"),
    "figures at the end": (Illustrator, "finish"),
}


@contextlib.contextmanager
def timed(times):
    """Notes the seconds of every call of `METHODS`, by name, while in the block."""

    def replacement(name, method):
        def call(*args, **kwargs):
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                times.setdefault(name, []).append(time.perf_counter() - start)

        return call

    originals = {name: getattr(*place) for name, place in METHODS.items()}
    for name, (owner, attribute) in METHODS.items():
        setattr(owner, attribute, replacement(name, originals[name]))
    try:
        yield
    finally:
        for name, (owner, attribute) in METHODS.items():
            setattr(owner, attribute, originals[name])


def measure(script, argv):
    """Runs a script.

    Args:
        script: its name without `.py`.
        argv: its options.

    Returns:
        The seconds that each call took, by the names of `METHODS`, and those of the
        training.
    """
    times = {}
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as log_dir, contextlib.redirect_stdout(out):
        with timed(times):
            importlib.import_module(script).main([*argv, "--log-dir", log_dir])
    return times, Result.parse(out.getvalue().splitlines()[-1]).seconds


def main():
    """Prints a table per script."""
    for script, argv in RUNS.items():
        times, seconds = measure(script, argv)
        print(f"{' '.join([script, *argv])}: {seconds:.1f} s of training")
        for name, found in times.items():
            print(
                f"  {name:<28} {len(found):3} x {1000 * statistics.median(found):5.0f} "
                f"ms (at most {1000 * max(found):5.0f}), together {sum(found):5.2f} s"
            )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
