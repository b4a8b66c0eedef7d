"""How long checkpoints take, as a share of the training they secure.

    python benchmarks/checkpoint_cost.py

Runs the three scripts' first presets, shortened, as a user would, and times every
checkpoint from within; the share is for one checkpoint every 30 seconds, the default,
and for the whole run, with those at its start, at its end and after its evaluations.
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

from seqmnist import trainer  # noqa: E402
from seqmnist.run_log import Result  # noqa: E402

RUNS = {
    "train_rnn": ["--epochs", "20"],
    "train_lstm": [],
    "train_gru_pixel": ["--steps", "300", "--evaluate-every", "100steps"],
}
INTERVAL = 30  # seconds, the default of --checkpoint-every


def measure(script, argv):
    """Runs a script.

    Args:
        script: its name without `.py`.
        argv: its options.

    Returns:
        The seconds that each checkpoint took, and those of the training.
    """
    times = []
    save = trainer.Trainer.save

    def timed(self):
        start = time.perf_counter()
        save(self)
        times.append(time.perf_counter() - start)

    trainer.Trainer.save = timed
    out = io.StringIO()
    try:
        with tempfile.TemporaryDirectory() as log_dir, contextlib.redirect_stdout(out):
            importlib.import_module(script).main([*argv, "--log-dir", log_dir])
    finally:
        trainer.Trainer.save = save
    return times, Result.parse(out.getvalue().splitlines()[-1]).seconds


def main():
    """Prints a line per script."""
    for script, argv in RUNS.items():
        times, seconds = measure(script, argv)
        median, longest = statistics.median(times), max(times)
        print(
            f"{script}: {len(times)} checkpoints of {1000 * median:.0f} ms "
            f"(at most {1000 * longest:.0f}), "
            f"{median / INTERVAL:.2%} at one in {INTERVAL} s; "
            f"{sum(times) / seconds:.1%} of this run's {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
