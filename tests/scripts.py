"""The scripts as a user runs them, through main([...]) or as processes."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import PROJECT_DIR

from seqmnist import tf1 as tf
from seqmnist.classifier import Classifier
from seqmnist.run.checkpoints import Checkpoints

NAMES = ["train_rnn", "train_lstm", "train_gru_pixel"]
EACH_SCRIPT = pytest.mark.parametrize("name", NAMES)

# Left to `make test-ci`: what takes long and is shown in another way by `make test`.
SLOW = pytest.mark.slow
# Left to `make test-all`: what takes long and is shown elsewhere by `make test-ci`.
VARIANT = pytest.mark.variant


def slow_after(count, values, variant_after=None):
    """A test's parameters; all but the first few are left to slower test runs.

    Args:
        count: the number of parameters that `make test` tries.
        values: the parameters; a tuple holds one value for each of several names.
        variant_after: the number of parameters that `make test-ci` tries; all if not
            given. `make test-all` tries the others.
    """
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    if variant_after is None:
        variant_after = len(rows)
    return [
        pytest.param(
            *row,
            marks=VARIANT if i >= variant_after else [SLOW] if i >= count else [],
        )
        for i, row in enumerate(rows)
    ]


ONE_SCRIPT = pytest.mark.parametrize("name", slow_after(1, NAMES, variant_after=1))

ENDLESS = ["--steps", "1000000", "--report-every", "never", "--evaluate-every", "never"]

# Seconds for what comes for certain, on however busy a machine: only a failure takes
# so long. Nothing is asserted of the time that something takes.
PATIENCE = 300


def wait_for(look, what):
    """Looks again and again until something is found.

    Args:
        look: looks, and gives what was found.
        what: is waited for, in words.

    Returns:
        What `look` gave when it was true.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE} seconds: {what}")


def main(name, argv):
    return importlib.import_module(name).main(argv)


def classifier_of(script, config, size=28):
    """The `Classifier` that a script trains, for images of `size` x `size` pixels."""
    config.image_shape, config.num_classes = [size, size], 10
    return Classifier(config, script.network, script.loss, script.optimizer)


def hear_ctrl_c():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(argv, **kwargs):
    """Starts a script as a process of its own, from another folder."""
    command = [sys.executable, str(PROJECT_DIR / argv[0]), *argv[1:]]
    kwargs.setdefault("cwd", str(PROJECT_DIR.parent))
    # A shell may have started the tests in the background, with Ctrl-C ignored.
    kwargs.setdefault("preexec_fn", hear_ctrl_c)
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def read_until(process, stream, beginning):
    """Reads what a process prints, up to a line with this beginning; returns it all."""
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    text = ""
    try:
        for line in stream:
            text += line
            if line.startswith(beginning):
                return text
    finally:
        timer.cancel()
    raise AssertionError(f"ended without a line {beginning!r}: {text}")


def run(argv, **kwargs):
    """Runs a script to its end; returns status, stdout and stderr."""
    with start(argv, **kwargs) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def run_code(code):
    """Runs Python code in a process of its own; returns stdout and stderr."""
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=str(PROJECT_DIR),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert process.returncode == 0
    return process.stdout, process.stderr


def run_folders(log_dir, name):
    return sorted((log_dir / name).iterdir())


def wait_for_checkpoint(log_dir, name, step=1):
    """Waits until a run saved a checkpoint of that step or later; gives its folder."""

    def look():
        folders = run_folders(log_dir, name) if (log_dir / name).is_dir() else []
        return [f for f in folders if any(n >= step for n in Checkpoints(f).steps())]

    return wait_for(look, f"a checkpoint of {name} at step {step}")[0]


def environment():
    """That of the tests, but for what was set when TensorFlow was loaded."""
    return {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}


def exported_probabilities(folder, images):
    """Runs an exported model, of either TensorFlow, on images."""
    with tf.Session(graph=tf.Graph()) as session:
        loaded = tf.saved_model.load(session, ["serve"], str(folder))
        signature = loaded.signature_def["serving_default"]
        return session.run(
            signature.outputs["probabilities"].name,
            {signature.inputs["images"].name: images},
        )
