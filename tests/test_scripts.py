"""The scripts as a user meets them: through main([...]), and as real processes."""

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios

import numpy as np
import pytest
from conftest import NUM_SMALL_TEST, PROJECT_DIR
from scripts import (
    EACH_SCRIPT,
    ONE_SCRIPT,
    PATIENCE,
    SLOW,
    main,
    read_until,
    run,
    run_code,
    run_folders,
    start,
)

from seqmnist import paths
from seqmnist import tf1 as tf
from seqmnist.data import mnist
from seqmnist.record.log import Result


@ONE_SCRIPT
def test_a_run_as_a_process_prints_plain_lines_and_nothing_else(name, small, tmp_path):
    status, out, err = run([f"{name}.py", *small, "--recurrence", "auto"])
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "\r" not in out
    assert re.match(rf"{name}, preset .*: 28 time steps of 28 pixels, ", lines[0])
    assert re.match(r"recurrence: (fast|plain) \(", lines[2])
    assert lines[3].startswith("run folder: ")
    reports = [line.split()[3] for line in lines if line.startswith("epoch")]
    assert reports == ["1", "6", "12"]
    end = lines[4 + len(reports) : -1]
    assert re.match(r"test accuracy [01]\.\d{4} \(\d+ of 130 images\), loss", end[0])
    assert end[-1].startswith("look at it: tensorboard --logdir ")
    result = Result.parse(lines[-1])
    assert (result.script, result.steps) == (name, 12)
    assert result.test_correct.endswith(f"/{NUM_SMALL_TEST}")


@ONE_SCRIPT
def test_a_run_leaves_a_complete_folder(name, small, tmp_path, capsys):
    assert main(name, [*small, "--summaries", "all", "--recurrence", "auto"]) == 0
    last_line = capsys.readouterr().out.splitlines()[-1]
    (folder,) = run_folders(tmp_path / "logs", name)
    names = {path.name for path in folder.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents.")}
    assert len(events) == 1
    assert names - events == {
        *("config.json", "metrics.csv", "result.txt", "lock", "checkpoints"),
        *("train", "validation", "predictions.csv", "reading.csv"),
        *("curves.png", "confusion.png", "mistakes.png", "reading.png"),
    }
    assert re.fullmatch(r"\d{8}-\d{6}-validation-size-20-units-5-seed0", folder.name)
    assert (folder / "result.txt").read_text() == last_line + "\n"
    config = json.loads((folder / "config.json").read_text())
    assert config["units"] == 5
    assert config["parameters"] == Result.parse(last_line).parameters
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


@EACH_SCRIPT
def test_pixels_train_too(name, small):
    argv = [*small, "--view", "pixels", "--steps", "2", "--report-every", "never"]
    assert main(name, argv) == 0


def test_each_run_gets_a_new_folder(small, tmp_path):
    for expected in (1, 2, 3):
        assert main("train_rnn", small) == 0
        assert len(run_folders(tmp_path / "logs", "train_rnn")) == expected


@EACH_SCRIPT
def test_user_errors_are_one_line_status_2_and_leave_nothing(name, small, tmp_path):
    status, out, err = run([f"{name}.py", *small, "--data-dir", str(tmp_path / "no")])
    assert (status, out) == (2, "")
    assert err == (
        f"error: {tmp_path / 'no'}: cannot be read as a folder (No such file or "
        "directory); --data-dir takes a folder with the four IDX files of MNIST or of "
        "a set like it (see data/README.md)\n"
    )
    assert not (tmp_path / "logs").exists()


def test_a_misspelt_option_is_told_without_loading_tensorflow(small):
    code = (
        "import sys, train_rnn\n"
        "try: train_rnn.main(['--unit', '3'])\n"
        "except SystemExit as e: print(e.code, 'tensorflow' in sys.modules)"
    )
    out, err = run_code(code)
    assert out == "2 False\n"
    assert err.startswith("error: unrecognized arguments: --unit")


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--data-dir", "no"], "no: cannot be read as a folder"),
        (["--batch-size", "601"], "--batch-size 601: the training split has only 600"),
        (["--validation-size", "620"], "--validation-size 620: expected 0 to 619"),
        (["--predict", "130"], "--predict 130: expected 0 to 129"),
        (["--init-checkpoint", "no"], "--init-checkpoint no: no such checkpoint"),
        (["--init-checkpoint", "."], "no readable file `checkpoint` in this folder"),
        (["--log-dir", "/dev/null"], "cannot make a run folder in /dev/null (Not a"),
        (["--resume", "no"], "--resume no: no run to go on with"),
    ],
)
def test_what_cannot_be_used_is_told_before_tensorflow_loads(argv, message, small):
    code = (
        "import sys, train_rnn\n"
        f"print(train_rnn.main({[*small, *argv]!r}))\n"
        "print('tensorflow' in sys.modules)"
    )
    out, err = run_code(code)
    assert out == "2\nFalse\n"
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err


@pytest.mark.skipif(sys.version_info < (3, 8), reason="audit hooks came with 3.8")
def test_nothing_is_removed_but_a_runs_own_checkpoints(small, tmp_path):
    """As Python tells of it; other than by Python, nothing here removes files."""
    mine = tmp_path / "logs" / "mine"
    mine.mkdir(parents=True)
    argv = [*small, "--checkpoint-every", "1"]
    code = (
        "import sys\n"
        "removed = set()\n"
        "def hook(event, args):\n"
        "    if event in ('os.remove', 'os.rmdir', 'shutil.rmtree'):\n"
        "        removed.add(str(args[0]))\n"
        "sys.addaudithook(hook)\n"
        "import train_rnn\n"
        f"train_rnn.main({argv!r})\n"
        "print(*sorted(removed), sep='\\n')"
    )
    out, _ = run_code(code)
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    lines = out.splitlines()
    removed = lines[[line[:6] for line in lines].index("result") + 1 :]
    assert len(removed) > 20
    temporary = tempfile.gettempdir()  # where Python tries whether it can write
    cache = os.environ["SEQMNIST_CACHE"]
    for path in removed:  # those within a folder that is removed have no folder
        assert (
            path.startswith((f"{folder}/checkpoints/", f"{cache}/in-use-"))
            or (path.startswith(f"{folder}/") and path.endswith(".partial"))
            or "model.ckpt-" in path
            or path == "room"  # in the cache's temporary folder
            or os.path.dirname(path) == temporary
        )
    assert mine.exists()


def test_nothing_is_pickled():
    for path in [*PROJECT_DIR.glob("*.py"), *(PROJECT_DIR / "seqmnist").glob("*.py")]:
        assert not re.search(r"pickle|marshal|shelve|eval\(", path.read_text()), path


def test_importing_has_no_side_effect():
    code = (
        "import sys, random, numpy\n"
        "before = random.getstate(), numpy.random.get_state()[1].tolist()\n"
        "import train_rnn, train_lstm, train_gru_pixel, compare\n"
        "from seqmnist import cells, classifier\n"
        "from seqmnist.record import figures\n"
        "from seqmnist.run import tf1_checkpoints, training\n"
        "after = random.getstate(), numpy.random.get_state()[1].tolist()\n"
        "print(before == after)\n"
        "print({'tensorflow', 'matplotlib'} & set(sys.modules))"
    )
    assert run_code(code) == ("True\nset()\n", "")


def test_tf1_shadows_no_name_of_tensorflow():
    import tensorflow.compat.v1 as tensorflow

    for name in dir(tf):
        if not name.startswith("_") and hasattr(tensorflow, name):
            assert getattr(tf, name) is getattr(tensorflow, name), name


@SLOW
def test_other_warnings_of_tensorflow_are_kept():
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from seqmnist import tf1 as tf\n"
        "tf.logging.warn('x is deprecated and will be removed in a future version.')\n"
        "tf.logging.warn('something is wrong')"
    )
    _, err = run_code(code)
    assert err.count("\n") == 1
    assert "something is wrong" in err


def test_ctrl_c_while_tensorflow_loads_is_quiet(small, tmp_path):
    """It waits for the end of loading, which this script makes wait for the signal."""
    script = tmp_path / "loading.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(PROJECT_DIR)!r})\n"
        "class Finder:\n"
        "    def find_spec(name, path, target=None):\n"
        "        if name.endswith('.pywrap_tensorflow'):\n"
        "            print('loading', flush=True)\n"
        "            sys.stdin.readline()\n"
        "sys.meta_path.insert(0, Finder)\n"
        "import train_rnn\n"
        "status = train_rnn.main(sys.argv[1:])\n"
        "print('tensorflow.compat.v1' in sys.modules)\n"
        "sys.exit(status)\n"
    )
    with start([str(script), *small], stdin=subprocess.PIPE) as process:
        read_until(process, process.stdout, "loading")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate("go on\n", timeout=PATIENCE)
    assert process.returncode == 130
    assert (out.splitlines()[-1], err) == ("True", "\ninterrupted\n")


@SLOW
def test_a_closed_pipe_is_no_traceback(small):
    script = PROJECT_DIR / "train_rnn.py"
    words = [sys.executable, str(script), *small, "--report-every", "1"]
    command = " ".join(map(shlex.quote, words)) + " | head -n 1"
    process = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert process.stdout.startswith("train_rnn, preset ")
    assert not process.stderr


@SLOW
@pytest.mark.parametrize("python", ["3.7", "later"])
def test_a_user_without_a_home_gets_one(python, monkeypatch):
    def expanduser(path):
        if python == "3.7":
            raise KeyError("getpwuid(): uid not found: 54321")
        return path

    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(os.path, "expanduser", expanduser)
    paths.give_home()
    home = os.environ["HOME"]
    assert os.listdir(home) == []
    monkeypatch.undo()
    paths.give_home()
    assert os.environ["HOME"] != home  # an existing one stays


def test_a_notebooks_matplotlib_backend_does_no_harm(small, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://not_installed.backend_inline")
    status, _, err = run(["train_rnn.py", *small])
    assert (status, err) == (0, "")


def test_data_dir_is_read(small, small_data, tmp_path):
    assert main("train_rnn", small) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    digest = json.loads((folder / "config.json").read_text())["data_sha256"]
    assert digest == mnist.load_splits(small_data, 20).digest
    assert digest != mnist.load_splits().digest


def test_init_checkpoint_is_evaluated(small, tmp_path, capsys):
    """Weights by which every image is a 4 come to the share of fours in the data."""
    with tf.Graph().as_default(), tf.Session() as session:
        shapes = {
            "notebook/rnn/gru_cell/gates/kernel": [33, 10],
            "notebook/rnn/gru_cell/gates/bias": [10],
            "notebook/rnn/gru_cell/candidate/kernel": [33, 5],
            "notebook/rnn/gru_cell/candidate/bias": [5],
            "rnn/output/w": [5, 10],
        }
        for variable, shape in shapes.items():
            tf.get_variable(variable, shape)
        bias = np.eye(10, dtype=np.float32)[4] * 1000
        tf.get_variable("rnn/output/b", initializer=bias)
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver().save(session, str(tmp_path / "notebook.ckpt"))
    argv = [*small, "--steps", "0", "--init-checkpoint", path]
    assert main("train_gru_pixel", argv) == 0
    result = Result.parse(capsys.readouterr().out.splitlines()[-1])
    labels = mnist.load_splits().test.labels[:NUM_SMALL_TEST]
    assert result.test_correct == f"{(labels == 4).sum()}/{NUM_SMALL_TEST}"


def test_evaluation_batch_size_is_used(small, monkeypatch):
    from seqmnist.run import loop

    sizes = []
    evaluation_batches = loop.evaluation_batches

    def recording(split, size):
        for batch in evaluation_batches(split, size):
            sizes.append(len(batch.labels))
            yield batch

    monkeypatch.setattr(loop, "evaluation_batches", recording)
    argv = [*small, "--evaluate-every", "never", "--evaluation-batch-size", "60"]
    assert main("train_rnn", argv) == 0
    assert sizes == [60, 60, 10]


@pytest.mark.parametrize(
    "every, steps", [("1", range(1, 13)), ("5", [5, 10]), ("0", [])]
)
def test_summary_every_counts_the_summaries(every, steps, small, tmp_path):
    assert main("train_rnn", [*small, "--summary-every", every]) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_rnn")
    (path,) = (folder / "train").iterdir()
    found = [
        event.step
        for event in tf.train.summary_iterator(str(path))
        if "loss" in [value.tag for value in event.summary.value]
    ]
    assert found == list(steps)


def test_show_without_a_screen_says_where_the_figure_is(small, monkeypatch, capsys):
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert main("train_rnn", [*small, "--show"]) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"--show: no screen found; the curves are in .*png\n", err)
    assert out.splitlines()[-1].startswith("result ")


@SLOW
def test_a_terminal_gets_a_progress_bar(small):
    """Under a pseudo-terminal: loss, accuracy and examples/s, and the same lines."""
    primary, secondary = pty.openpty()
    size = struct.pack("HHHH", 40, 120, 0, 0)  # rows, columns, not used, not used
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, size)
    command = [sys.executable, str(PROJECT_DIR / "train_rnn.py"), *small]
    process = subprocess.Popen(command, stdout=secondary, stderr=secondary)
    os.close(secondary)
    text = b""
    while True:
        try:
            chunk = os.read(primary, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not chunk:
            break
        text += chunk
    os.close(primary)
    assert process.wait(timeout=PATIENCE) == 0
    text = text.decode()
    assert re.search(r"12/12 .*loss \d\.\d+, accuracy \d\.\d+, [\d,]+ examples/s", text)
    for what in ("loading TensorFlow", "evaluating the test images", "drawing figures"):
        assert f"{what} ...\r" in text
    assert "compiling" not in text  # as it is not
    assert re.search(r"^result script=train_rnn ", text, re.MULTILINE)
