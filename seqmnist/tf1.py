"""TensorFlow's version 1 interface, loaded quietly when it is first used.

    from seqmnist import tf1 as tf

stands for `import tensorflow.compat.v1 as tf`, with two differences. TensorFlow takes
seconds to import, so the import happens at the first `tf.something`, after options and
data have been checked. TensorFlow's notices at start-up (oneDNN, CPU features, missing
CUDA, deprecations) are dropped, while other warnings and errors are printed.

This project builds every graph inside an explicit `tf.Graph()`, where TensorFlow 2's
eager mode does not apply. So no global switch has to be set.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import re
import signal as _signal  # `tf.signal` and `tf.logging` are TensorFlow's
import socket
import subprocess
import sys
import threading
from logging import getLogger
from typing import Callable, Iterator

from seqmnist import compile_cache
from seqmnist.errors import UserError
from seqmnist.paths import give_home
from seqmnist.waiting import waiting_for

# Lines of TensorFlow 1.15 and 2.21 on stderr at start-up on a machine without a GPU,
# found by running both. TF_CPP_MIN_LOG_LEVEL does not silence all of them, and the
# variable that silences oneDNN's notice also changes the computation. The patterns
# match a line's source, since the words differ between processors.
START_UP_NOTICES = re.compile(
    r"All log messages before absl::InitializeLog"
    r"|oneDNN custom operations are on"
    r"|cudart_stub\.cc|cuda_platform\.cc|cuda_diagnostics\.cc"
    r"|Could not find cuda drivers"
    r"|cpu_feature_guard\.cc"
    r"|^To enable .*, rebuild TensorFlow with the appropriate compiler flags"
    r"|FutureWarning: Passing \(type, 1\) or '1type'"
    r"|np_resource = np\.dtype|_np_q?u?int\d+ = np\.dtype"
)
# Any other line of level "information", in the formats of 2.21 and 1.15.
INFORMATION = re.compile(r"^(I\d{4} \d\d:|\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: I )")

# A program for the shell: keeps its input to the end, and returns it; if nobody reads
# that any more, as the process has died, prints it on stderr.
HOLDER = r"""
trap '' PIPE
held=$(cat; printf .)
held=${held%.}
[ -z "$held" ] || { printf %s "$held"; } 2>&- || printf %s "$held" >&2
"""


def __getattr__(name):
    """Looks `name` up in TensorFlow (PEP 562); the first call imports TensorFlow."""
    if name.startswith("__"):  # asked for by importlib, inspect and friends
        raise AttributeError(name)
    value = getattr(_tensorflow(), name)
    globals()[name] = value
    return value


def _tensorflow():
    """The module `tensorflow.compat.v1`."""
    name = "tensorflow.compat.v1"
    if name not in sys.modules:
        # Level 1 prints the C++ side's warnings and errors, but no information.
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
    """Drops "... is deprecated and will be removed", as most of TF1's names print."""
    return "is deprecated and will be removed" not in record.getMessage()


def _is_no_notice(line):
    """Whether to print a line of start-up; level 0 asks for information lines too."""
    if START_UP_NOTICES.search(line):
        return False
    is_asked_for = os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0"
    return is_asked_for or not INFORMATION.search(line)


def _import_quietly(name):
    """Imports TensorFlow and finds its devices without the start-up notices."""
    give_home()
    with waiting_for("loading TensorFlow"), _interrupts_held_back(), stderr_held_back(
        _is_no_notice
    ):
        with _keras_left_out(), _garbage_left_alone():
            tensorflow = importlib.import_module(name)
        # Without this call, the first Session would report a missing CUDA driver.
        find_devices = tensorflow.config.experimental.list_physical_devices
        if tensorflow.VERSION.startswith("1."):
            find_devices("GPU")
        else:
            with compile_cache.turned_on():
                find_devices("GPU")


@contextlib.contextmanager
def _keras_left_out():
    """Keeps TensorFlow from importing Keras, which takes a second and is not used.

    TensorFlow imports these modules at once, and goes on without those that cannot be
    imported. `tf.keras` can still be used later.
    """
    left_out = {"keras.src.optimizers", "tf_keras.src.optimizers"} - set(sys.modules)
    for name in left_out:
        sys.modules[name] = None  # type: ignore[assignment]  # cannot be imported
    try:
        yield
    finally:
        for name in left_out:
            del sys.modules[name]


@contextlib.contextmanager
def _garbage_left_alone():
    """Keeps Python from looking for garbage, as a large import makes almost none.

    The search takes 0.4 of the 4 s that TensorFlow takes to import.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def stderr_held_back(is_wanted: Callable[[str], bool]) -> Iterator[None]:
    """Holds back text written to stderr within a block, by TensorFlow's C++ side too.

    The text is kept in the memory of a shell, as a disk may be full. Blocks may be
    nested. If C++ ends this process within the block, the shell prints all. A child
    process that outlives the block is left with a stderr that nobody reads.

    Args:
        is_wanted: takes a line; returns whether to print the line after the block.
    """
    captured: list[bytes] = []
    try:
        with _stderr_read_into(captured):
            yield
    finally:
        # Split as bytes: `str.splitlines` would split at more characters.
        for line in b"".join(captured).splitlines(True):
            text = line.decode(errors="replace")
            if is_wanted(text):
                sys.stderr.write(text)
        if captured:
            sys.stderr.flush()  # before C++ writes the next line


@contextlib.contextmanager
def _stderr_read_into(captured):
    """Appends all bytes written to stderr to a list; none if stderr is closed."""
    if sys.stderr is None or not _is_open(2):
        yield
        return
    with contextlib.ExitStack() as stack:
        sys.stderr.flush()
        # A socket, not a pipe: it can be shut down even if a child holds it too.
        reader, writer = map(stack.enter_context, socket.socketpair())
        try:
            holder = subprocess.Popen(
                ["/bin/sh", "-c", HOLDER],
                stdin=reader.fileno(),
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is not for the shell
            )
        except OSError:  # no shell, or no further process
            yield
            return
        stderr = os.dup(2)
        stack.callback(os.close, stderr)
        try:
            os.dup2(writer.fileno(), 2)
            yield
        finally:
            try:
                sys.stderr.flush()
            finally:
                os.dup2(stderr, 2)
                writer.shutdown(socket.SHUT_WR)
                captured.append(holder.communicate()[0])


def _is_open(descriptor):
    """Whether a file descriptor is open."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _interrupts_held_back():
    """Delays a Ctrl-C until the end of the block.

    TensorFlow imports some of its modules within a bare `except:`, which would swallow
    a KeyboardInterrupt.
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
