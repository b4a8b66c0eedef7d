"""The scripts as a user runs them, through main([...]) or as processes."""

import importlib
import signal
import subprocess
import sys

import pytest
from conftest import PROJECT_DIR

from seqmnist.classifier import Classifier

NAMES = ["train_rnn", "train_lstm", "train_gru_pixel"]
EACH_SCRIPT = pytest.mark.parametrize("name", NAMES)


def main(name, argv):
    return importlib.import_module(name).main(argv)


def classifier_of(script, config):
    """The `Classifier` that a script trains."""
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


def run(argv, **kwargs):
    """Runs a script to its end; returns status, stdout and stderr."""
    with start(argv, **kwargs) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def run_code(code):
    """Runs Python code in a process of its own; returns stdout and stderr."""
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=str(PROJECT_DIR),
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0
    return process.stdout, process.stderr


def run_folders(log_dir, name):
    return sorted((log_dir / name).iterdir())
