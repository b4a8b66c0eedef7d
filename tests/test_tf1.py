"""What TensorFlow says at start-up is held back, and nothing else of stderr."""

import os
import resource
import subprocess
import sys
import threading

import pytest
from conftest import PROJECT_DIR
from scripts import PATIENCE, SLOW, run

from seqmnist import tf1


def everything(line):
    return True


def run_code(code, status=0, **kwargs):
    """Runs Python code in a process of its own; returns its stderr, as bytes."""
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=str(PROJECT_DIR),
        capture_output=True,
        timeout=PATIENCE,
        **kwargs,
    )
    assert process.returncode == status, process.stderr
    return process.stderr


@pytest.fixture(autouse=True)
def nothing_is_left():
    """No test leaves a descriptor or a thread that was not there before."""
    before = {*os.listdir("/dev/fd"), *threading.enumerate()}
    yield
    assert {*os.listdir("/dev/fd"), *threading.enumerate()} <= before


def test_unwanted_lines_go_and_the_others_keep_their_order():
    code = (
        "import os, sys\n"
        "from seqmnist import tf1\n"
        "with tf1.stderr_held_back(lambda line: 'unwanted' not in line):\n"
        "    for number in range(50):\n"
        "        os.write(2, b'unwanted\\n%d by C\\n' % number)\n"
        "        print(number, 'by Python\\nunwanted', file=sys.stderr, flush=True)\n"
        "os.write(2, b'after by C\\n')"
    )
    numbers = [*range(50), "after"]
    lines = [f"{n} by {who}" for n in numbers for who in ("C", "Python")]
    assert run_code(code).decode().splitlines() == lines[:-1]


def test_what_is_said_before_a_sudden_end_is_printed():
    code = (
        "import os\n"
        "from seqmnist import tf1\n"
        "with tf1.stderr_held_back(lambda line: False):\n"
        "    os.write(2, b'F0000 the reason\\nand more')\n"
        "    os._exit(7)"
    )
    assert run_code(code, status=7) == b"F0000 the reason\nand more"


def test_a_partial_last_line_is_kept_as_it_is(capfd):
    with tf1.stderr_held_back(lambda line: line != "unwanted"):
        os.write(2, b"a line\n\xff part")
    os.write(2, b", and the rest\n")
    with tf1.stderr_held_back(lambda line: line != "unwanted"):
        os.write(2, b"unwanted")
    assert (
        capfd.readouterr().err
        == "a line\n\N{REPLACEMENT CHARACTER} part, and the rest\n"
    )


def test_blocks_may_be_nested():
    code = (
        "import os\n"
        "from seqmnist import tf1\n"
        "with tf1.stderr_held_back(lambda line: 'outer' not in line):\n"
        "    os.write(2, b'first\\nfor the outer\\n')\n"
        "    with tf1.stderr_held_back(lambda line: 'inner' not in line):\n"
        "        os.write(2, b'for the inner\\nfor the outer\\nsecond\\n')\n"
        "    os.write(2, b'for the inner\\n')"
    )
    assert run_code(code) == b"first\nsecond\nfor the inner\n"


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_stderr_is_back_after_an_exception(kind, capfd):
    with pytest.raises(kind):
        with tf1.stderr_held_back(everything):
            os.write(2, b"before\n")
            raise kind
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_stderr_is_back_when_the_rule_fails(capfd):
    with pytest.raises(ZeroDivisionError):
        with tf1.stderr_held_back(lambda line: 1 / 0):
            os.write(2, b"before\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_much_is_held_back_even_from_code_that_holds_pythons_lock():
    """As C++ code does that TensorFlow runs while it is imported."""
    code = (
        "import ctypes, fcntl, os, struct, termios, time\n"
        "from seqmnist import tf1\n"
        "def num_unread():\n"
        "    found = fcntl.ioctl(2, termios.TIOCOUTQ, bytes(4))\n"
        "    return struct.unpack('i', found)[0]\n"
        "lines = b''.join(b'%d\\n' % n for n in range(100000))\n"
        "with tf1.stderr_held_back(lambda line: True):\n"
        "    os.write(2, b'first\\n')\n"
        "    while num_unread(): time.sleep(0.01)\n"
        "    write = ctypes.PyDLL(None).write  # does not give the lock away\n"
        "    assert write(2, lines, len(lines)) == len(lines)\n"
        "    os.write(2, lines)\n"  # does so
    )
    lines = b"".join(b"%d\n" % number for number in range(100000))
    assert len(lines) > 500000
    assert run_code(code) == b"first\n" + lines + lines


def test_no_disk_is_needed():
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    code = (
        "import os\n"
        "from seqmnist import tf1\n"
        "with tf1.stderr_held_back(lambda line: line != 'unwanted\\n'):\n"
        "    os.write(2, b'unwanted\\n' * 100 + b'wanted\\n')"
    )
    assert run_code(code, preexec_fn=limit) == b"wanted\n"


def test_a_child_that_outlives_the_block_is_not_waited_for():
    code = (
        "import os, subprocess, sys\n"
        "from seqmnist import tf1\n"
        "child_code = '''\n"
        "import sys\n"
        "print('from the child', file=sys.stderr, flush=True)\n"
        "print('begun', flush=True)\n"
        "sys.stdin.read()\n"
        "'''\n"
        "pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE}\n"
        "with tf1.stderr_held_back(lambda line: True):\n"
        "    child = subprocess.Popen([sys.executable, '-c', child_code], **pipes)\n"
        "    assert child.stdout.readline() == b'begun\\n'\n"
        "    os.write(2, b'from here\\n')\n"
        "assert child.poll() is None\n"
        "child.communicate()"
    )
    assert run_code(code) == b"from the child\nfrom here\n"


def test_a_closed_stderr_stays_closed():
    code = (
        "import os, sys\n"
        "from seqmnist import tf1\n"
        "os.close(2)\n"
        "with tf1.stderr_held_back(lambda line: True):\n"
        "    try: os.write(2, b'x')\n"
        "    except OSError: print('closed')\n"
        "os._exit(0)"
    )
    assert run_code(code) == b""


def test_a_script_runs_without_stderr(small):
    """As with `2>&-` in a shell."""
    status, out, _ = run(["train_rnn.py", *small], preexec_fn=lambda: os.close(2))
    assert status == 0
    assert out.splitlines()[-1].startswith("result ")


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: All log messages before absl::InitializeLog() is called are written "
        "to STDERR",
        "I0000 00:00:1795732578.888700    3641 cudart_stub.cc:31] Could not find cuda "
        "drivers on your machine, GPU will not be used.",
        "I0000 00:00:1795732579.933593    3641 cpu_feature_guard.cc:227] This "
        "TensorFlow binary is optimized to use available CPU instructions in "
        "performance-critical operations.",
        "To enable the following instructions: AVX2 FMA, in other operations, rebuild "
        "TensorFlow with the appropriate compiler flags.",
        "To enable the following instructions: SVE, in other operations, rebuild "
        "TensorFlow with the appropriate compiler flags.",
        "E0000 00:00:1795732587.374465    3641 cuda_platform.cc:52] failed call to "
        "cuInit: INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)",
        "2026-11-26 22:36:55.538894: I tensorflow/core/platform/cpu_feature_guard.cc:"
        "142] Your CPU supports instructions that this TensorFlow binary was not "
        "compiled to use: SSE4.1",
        # Of a processor that nobody here has seen.
        "I0000 00:00:1795732579.933593    3641 port.cc:1] Something is on.",
        "2026-11-26 22:36:55.546543: I tensorflow/core/platform/port.cc:94] Frequency",
    ],
)
def test_notices_at_start_up_are_known_on_any_processor(line, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    assert not tf1._is_no_notice(line + "\n")


@pytest.mark.parametrize(
    "line",
    [
        "W0000 00:00:1795732579.933593    3641 kernels.cc:1] Slow without AVX512F",
        "E0000 00:00:1795732579.933593    3641 kernels.cc:1] No AVX",
        "2026-11-26 22:36:55.546543: W tensorflow/core/kernels.cc:94] To enable it: no",
        "Traceback (most recent call last):",
        "I0",
        "I am no notice",
    ],
)
def test_other_lines_at_start_up_are_kept(line):
    assert tf1._is_no_notice(line + "\n")


def test_information_is_kept_if_it_is_asked_for(monkeypatch):
    line = "I0000 00:00:1795732579.933593    3641 kernels.cc:1] Something is on.\n"
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    assert tf1._is_no_notice(line)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    assert not tf1._is_no_notice(line)


@SLOW
@pytest.mark.skipif(tf1.VERSION.startswith("1."), reason="brings its own Keras")
def test_keras_is_not_imported_until_somebody_asks_for_it():
    code = (
        "import sys\n"
        "from seqmnist import tf1\n"
        "tf1.Session\n"
        "assert not [name for name in sys.modules if 'keras.src' in name]\n"
        "import tensorflow\n"
        "assert tensorflow.keras.layers.Dense(3).units == 3\n"
    )
    run_code(code)
