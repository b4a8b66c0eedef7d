"""docs/migrating.md does what it says: its lines and its scripts are run."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT_DIR
from pages import DOCS_DIR, named_blocks, read
from scripts import SLOW, VARIANT

from seqmnist import tf1 as tf
from seqmnist.data.mnist import load_splits

IS_TF1 = tf.VERSION.startswith("1.")
PAGE = DOCS_DIR / "migrating.md"
BLOCKS = named_blocks(PAGE)
ROWS = [
    (row[0], re.findall(r"`([^`]+)`", row[1]))
    for row in re.findall(r"^\| (.*`.*) \| (`.*`) \|$", read(PAGE), re.M)
]


@pytest.fixture
def folder(tmp_path, small_data):
    """A working folder with little data under the scripts' name."""
    (tmp_path / "MNIST_data").symlink_to(small_data)
    return tmp_path


def run(name, folder, changes=()):
    """Runs a script of the page with some text changed; returns what it prints."""
    code = BLOCKS[name]
    for old, new in changes:
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=str(folder),
        env={**os.environ, "PYTHONPATH": str(PROJECT_DIR)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def losses(printed):
    return [float(x) for x in re.findall(r"^step \d+ loss (\S+)$", printed, re.M)]


def accuracy(printed):
    return float(re.search(r"^test accuracy (\S+)$", printed, re.M).group(1))


SHORT = [
    ('"MNIST_data")', '"MNIST_data", validation_size=20)'),
    ("training_steps = 1000", "training_steps = 40"),
]
OFTEN = ("display_step = 100", "display_step = 5")


@pytest.mark.parametrize("old, lines", ROWS, ids=[row[0] for row in ROWS])
def test_each_new_line_runs(old, lines, folder):
    names = {}
    imports = BLOCKS["imports"].replace("tf.disable_eager_execution()", "")
    with tf.Graph().as_default(), tf.Session() as session:
        exec(imports, names)
        data = folder / "MNIST_data"
        logits = tf.zeros([3, 10])
        names.update(
            x=tf.zeros([3, 28, 28]),
            p=tf.placeholder_with_default(0.5, []),
            c=tf.zeros([3, 50]),
            h=tf.zeros([3, 50]),
            cell=names["LSTMCell"](50),
            last=tf.zeros([3, 50]),
            labels=tf.constant([1, 2, 3]),
            one_hot=tf.one_hot([1, 2, 3], 10),
            logits=logits,
            loss=tf.reduce_sum(logits),
            session=session,
            log_dir=str(folder / "logs"),
            folder=str(data),
            splits=load_splits(data, 20),
        )
        tf.summary.scalar("before", names["loss"])
        before = dict(names)
        names["load_splits"] = lambda folder: load_splits(folder, 20)
        for line in lines:
            exec(line, names)
        made = [
            n for n in names if n != "load_splits" and names[n] is not before.get(n)
        ]
        assert made
        session.run(tf.global_variables_initializer())
        for name in made:
            for part in tf.nest.flatten(names[name]):
                if isinstance(part, tf.Tensor):
                    session.run(part)


def test_the_table_has_what_the_notebooks_used():
    old = " ".join(row[0] for row in ROWS)
    for name in [
        *("BasicRNNCell", "BasicLSTMCell", "LSTMCell", "GRUCell", "MultiRNNCell"),
        *("DropoutWrapper", "dynamic_rnn", "static_rnn", "bidirectional_dynamic_rnn"),
        *("fully_connected", "dense", "softmax_cross_entropy_with_logits"),
        *("read_data_sets", "next_batch", "initialize_all_variables", "SummaryWriter"),
    ]:
        assert name in old
    assert len(ROWS) > 25


@SLOW
def test_the_script_after_learns_and_its_checkpoint_is_restored(folder):
    printed = run("after", folder, [*SHORT, OFTEN])
    found = losses(printed)
    assert len(found) == 8 and found[-1] < 0.8 * found[0]
    restored = run("restore", folder, SHORT[:1])
    assert accuracy(restored) == pytest.approx(accuracy(printed), abs=1e-6)
    assert accuracy(printed) > 0.2


@pytest.mark.skipif(not IS_TF1, reason="tf.contrib is in TensorFlow 1.15 only")
def test_the_checkpoint_of_the_script_before_is_restored(folder):
    """The old script as it stands, with genuine cells."""
    printed = run(
        "before",
        folder,
        [("one_hot=True", "one_hot=True, validation_size=20"), SHORT[1], OFTEN],
    )
    found = losses(printed)
    assert len(found) == 8 and found[-1] < 0.8 * found[0]
    restored = run("restore", folder, SHORT[:1])
    assert accuracy(restored) == pytest.approx(accuracy(printed), abs=1e-6)


@pytest.mark.skipif(not IS_TF1, reason="tf.layers is in TensorFlow 1.15 only")
@pytest.mark.parametrize(
    "old, make",
    [
        ("tf.layers.dense(", lambda x: tf.layers.dense(x, 10)),
        (
            "tf.contrib.layers.fully_connected(",
            lambda x: contrib().layers.fully_connected(x, 10),
        ),
    ],
)
def test_a_readout_has_the_old_variables_and_values(old, make):
    ((_, lines),) = [row for row in ROWS if old in row[0]]
    inputs = np.random.RandomState(0).randn(3, 50).astype(np.float32)
    found = []
    for build in (make, None):
        with tf.Graph().as_default(), tf.Session() as session:
            names = {"tf": tf, "last": tf.constant(inputs)}
            if build is None:
                for line in lines:
                    exec(line, names)
                result = names.get("logits", names.get("hidden"))
            else:
                result = build(names["last"])
            shapes = {}
            for variable in tf.trainable_variables():
                shapes[variable.op.name] = shape = variable.shape.as_list()
                variable.load(np.random.RandomState(shape).randn(*shape), session)
            found.append((shapes, session.run(result)))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)


def contrib():
    import tensorflow

    return tensorflow.contrib


@VARIANT
@pytest.mark.skipif(IS_TF1, reason="TF 1.15 does not compile functions")
def test_the_fast_script_has_the_plain_ones_losses(folder):
    changes = [SHORT[0], ("training_steps = 1000", "training_steps = 12")]
    compiled = (
        "    loss = tf.function(train, jit_compile=True, autograph=False)(x, y)\n"
    )
    fast = run("fast", folder, changes)
    plain = run("fast", folder, [*changes, (compiled, "")])
    assert "slow" not in fast
    assert len(losses(fast)) == 12 and losses(fast)[-1] < losses(fast)[0]
    np.testing.assert_allclose(losses(fast), losses(plain), rtol=1e-5)


@VARIANT
@pytest.mark.skipif(IS_TF1, reason="TF 1.15 does not compile functions")
def test_the_fast_script_says_what_is_slow(folder):
    changes = [
        *(SHORT[0], ("training_steps = 1000", "training_steps = 1")),
        ("images, dtype=tf.float32)", "images, [28] * 100, dtype=tf.float32)"),
    ]
    printed = run("fast", folder, changes)
    assert "slow: sequences of several lengths have no fast path" in printed
    assert len(losses(printed)) == 1


def test_the_readme_leads_here():
    assert "](docs/migrating.md)" in (PROJECT_DIR / "README.md").read_text("utf-8")
