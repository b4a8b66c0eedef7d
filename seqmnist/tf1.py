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
import importlib.util
import os
import re
import signal as _signal  # `tf.signal` and `tf.logging` are TensorFlow's
import socket
import sys
import threading
from logging import getLogger

from seqmnist.errors import UserError

# What TensorFlow 1.15 and 2.21 say on stderr at start-up on a machine without a GPU,
# found by running both. Some of it precedes TF_CPP_MIN_LOG_LEVEL, and the variable that
# silences oneDNN's notice does so by computing in another way. Told by where it comes
# from, as the words are others on other processors.
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
# Anything else that is information, as 2.21 and 1.15 write it.
INFORMATION = re.compile(r"^(I\d{4} \d\d:|\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: I )")

# Bytes; far more than is written. Memory is only taken for what is.
CHUNK_SIZE = 1 << 24


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


def _is_no_notice(line):
    """Whether a line at start-up is news; information is, if the user asks for it."""
    if START_UP_NOTICES.search(line):
        return False
    is_asked_for = os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0"
    return is_asked_for or not INFORMATION.search(line)


def _import_quietly(name):
    """Imports TensorFlow and finds its devices without the start-up notices."""
    with _interrupts_held_back(), stderr_held_back(_is_no_notice):
        with _keras_left_out():
            tensorflow = importlib.import_module(name)
        # Would otherwise report a missing CUDA driver at the first Session.
        tensorflow.config.experimental.list_physical_devices("GPU")


@contextlib.contextmanager
def _keras_left_out():
    """Saves the second in which TensorFlow imports Keras, which is not used here.

    TensorFlow does so at once, unless it is to use the older tf_keras in its place and
    that is not installed. `tf.keras` is there as ever for those who ask for it later.
    """
    variable = "TF_USE_LEGACY_KERAS"
    if variable in os.environ or importlib.util.find_spec("tf_keras"):
        yield
        return
    os.environ[variable] = "1"
    try:
        yield
    finally:
        del os.environ[variable]


@contextlib.contextmanager
def stderr_held_back(is_wanted):
    """Holds back what is written to stderr, by TensorFlow's C++ side too.

    It is kept in memory, as a disk may be full. Blocks may be nested. To a child that
    outlives the block, its stderr is then a pipe that nobody reads.

    Args:
        is_wanted: takes a line; says, at the end, whether to print it after all.
    """
    captured: list[bytes] = []
    try:
        with _stderr_read_into(captured):
            yield
    finally:
        # As bytes, which have no other ends of lines than a terminal has.
        for line in b"".join(captured).splitlines(True):
            text = line.decode(errors="replace")
            if is_wanted(text):
                sys.stderr.write(text)
        if captured:
            sys.stderr.flush()  # before C++ writes the next line


@contextlib.contextmanager
def _stderr_read_into(captured):
    """Appends to a list of bytes what is written to stderr; to nothing if closed."""
    if sys.stderr is None or not _is_open(2):
        yield
        return
    with contextlib.ExitStack() as stack:
        sys.stderr.flush()
        stderr = os.dup(2)
        stack.callback(os.close, stderr)
        # Not a pipe: a socket can be shut down, even if a child has it too.
        reader, writer = map(stack.enter_context, socket.socketpair())
        thread = threading.Thread(target=_read, args=[reader, captured], daemon=True)
        thread.start()
        try:
            os.dup2(writer.fileno(), 2)
            yield
        finally:
            try:
                sys.stderr.flush()
            finally:
                os.dup2(stderr, 2)
                writer.shutdown(socket.SHUT_WR)
                thread.join()


def _read(reader, captured):
    """Appends what comes out of a socket to a list, until the socket is shut down.

    C++ code may hold Python's lock while it writes more than the socket holds. So the
    system is told to wait for a whole chunk: it takes what comes by itself.
    """
    while True:
        chunk = reader.recv(CHUNK_SIZE, socket.MSG_WAITALL)
        if not chunk:
            return
        captured.append(chunk)


def _is_open(descriptor):
    """Whether a file descriptor is open."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


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
