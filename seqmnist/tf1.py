"""TensorFlow's version 1 interface, loaded quietly when it is first used.

    from seqmnist import tf1 as tf

stands for `import tensorflow.compat.v1 as tf`. The difference: TensorFlow takes seconds
to import, so that happens at the first `tf.something`, when options and data have been
checked; and what it says about itself on the way is held back (oneDNN, CPU features,
missing CUDA, deprecations), while other warnings and errors pass.

Every graph here is built inside an explicit `tf.Graph()`, so TensorFlow 2's eager mode
is never met and nothing global has to be switched off.
"""

import contextlib
import importlib
import os
import re
import signal as _signal  # `tf.signal` and `tf.logging` are TensorFlow's
import sys
import tempfile
import threading
from logging import getLogger

from seqmnist.errors import UserError

# What TensorFlow 1.15 and 2.21 say on stderr at start-up on a machine without a GPU,
# found by running both. Some of it precedes TF_CPP_MIN_LOG_LEVEL, and the variable that
# silences oneDNN's notice does so by computing in another way.
START_UP_NOTICES = re.compile(
    r"All log messages before absl::InitializeLog"
    r"|oneDNN custom operations are on"
    r"|cudart_stub\.cc|cuda_platform\.cc|cuda_diagnostics\.cc"
    r"|Could not find cuda drivers"
    r"|cpu_feature_guard|AVX|To enable (them|the following instructions)"
    r"|FutureWarning: Passing \(type, 1\) or '1type'"
    r"|np_resource = np\.dtype|_np_q?u?int\d+ = np\.dtype"
)


def __getattr__(name):
    """Looks `name` up in TensorFlow (PEP 562), which is imported the first time."""
    if name.startswith("__"):  # asked for by importlib, inspect and friends
        raise AttributeError(name)
    value = getattr(_tensorflow(), name)
    globals()[name] = value
    return value


def _tensorflow():
    """The module `tensorflow.compat.v1`."""
    name = "tensorflow.compat.v1"
    if name not in sys.modules:
        # Level 1 keeps the C++ side's warnings and errors, not its information.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
        getLogger("tensorflow").addFilter(_is_no_deprecation)
        try:
            _import_quietly(name)
        except ImportError as error:
            if error.name == "tensorflow":
                raise UserError(
                    "TensorFlow is not installed for this Python "
                    f"({sys.version_info[0]}.{sys.version_info[1]}); "
                    "run: pip install -r requirements.txt (Python 3.7 or 3.10 to 3.13)"
                )
            raise
    return importlib.import_module(name)


def _is_no_deprecation(record):
    """Drops "... is deprecated and will be removed", said of most of TF1's names."""
    return "is deprecated and will be removed" not in record.getMessage()


def _import_quietly(name):
    """Imports TensorFlow and finds its devices without the start-up notices."""
    with _interrupts_held_back(), stderr_held_back(
        lambda line: not START_UP_NOTICES.search(line)
    ):
        tensorflow = importlib.import_module(name)
        # Would otherwise report a missing CUDA driver at the first Session.
        tensorflow.config.experimental.list_physical_devices("GPU")


@contextlib.contextmanager
def stderr_held_back(is_wanted):
    """Holds back what is written to stderr, by TensorFlow's C++ side too.

    Args:
        is_wanted: takes a line; says, at the end, whether to print it after all.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            for line in captured.read().decode(errors="replace").splitlines(True):
                if is_wanted(line):
                    sys.stderr.write(line)


@contextlib.contextmanager
def _interrupts_held_back():
    """Lets a Ctrl-C wait for the end of the block.

    TensorFlow imports some of its parts within an `except:` of all exceptions, where a
    KeyboardInterrupt would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted, and may set handlers
        return
    received = []
    previous = _signal.signal(_signal.SIGINT, lambda *args: received.append(args))
    try:
        yield
    finally:
        _signal.signal(_signal.SIGINT, previous)
    if received:
        raise KeyboardInterrupt
