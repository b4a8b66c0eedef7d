"""Run folders made by hand, and what compare.py says of them."""

import json

import numpy as np

import compare
from seqmnist.data.class_names import numbered
from seqmnist.record.log import METRICS, Result
from seqmnist.record.predictions import write_predictions

CONFIG = {
    "preset": "quick",
    "data_dir": "data",
    "learning_rate": 0.001,
    "evaluate_splits": ["validation"],
    "init_checkpoint": None,
    "show": False,
    "log_dir": "logs",
    "view": "rows",
    "cell_name": "basic_rnn_cell",
    "units": 150,
    "parameters": 28360,
    "batch_size": 150,
    "recurrence_used": "fast",
    "data_sha256": "ab" * 32,
}


LABELS = np.arange(200) % 10


HEADINGS = (
    *("test accuracy", "validation", "train", "loss", "script", "cell", "view"),
    *("units", "parameters", "steps", "seconds", "examples/s", "seed", "run"),
)


def make_run(root, seed, correct, script="train_rnn", name=None, **options):
    """Writes the folder of a run with `correct` of 200 right, unfinished if `None`."""
    folder = root / script / (name or f"20260101-000000-seed{seed}")
    folder.mkdir(parents=True)
    environment = {"tensorflow": "2.21.0", "started": f"2026-01-0{1 + seed % 9}"}
    config = {"script": script, **CONFIG, "seed": seed, "environment": environment}
    config.update(options)
    (folder / "config.json").write_text(json.dumps(config))
    rows = [
        "366,1,train,0.5,0.85,8500,10000,1.5",
        "366,1,validation,0.3,0.9,45,50,1.5",
        "732,2,train,0.25,0.925,9250,10000,3.25",
        "732,2,validation,0.2,0.94,47,50,3.25",
    ]
    if correct is not None:
        rows.append(f"732,2,test,0.21,{correct / 200},{correct},200,3.25")
        (folder / "result.txt").write_text(f"{result(folder, seed, correct)}\n")
    text = "".join(f"{row}\n" for row in [",".join(METRICS), *rows])
    (folder / "metrics.csv").write_text(text)
    return folder


def result(folder, seed, correct):
    return Result(
        script=folder.parent.name,
        preset="quick",
        view="rows",
        cell="basic_rnn_cell",
        units=150,
        parameters=28360,
        seed=seed,
        steps=732,
        test_accuracy=correct / 200,
        test_correct=f"{correct}/200",
        test_loss=0.21,
        seconds=3.25,
        run=folder.name,
    )


def predict(folder, wrong):
    """Writes predictions that are wrong for these images."""
    predictions = LABELS.copy()
    predictions[wrong] = (predictions[wrong] + 1) % 10
    write_predictions(
        folder, LABELS, np.eye(10, dtype=np.float32)[predictions], numbered(10)
    )


def lines_of(log_dir, capsys, *argv):
    """Lines of stdout and what is on stderr, of a comparison that succeeds."""
    assert compare.main(["--log-dir", str(log_dir), *argv]) == 0
    out, err = capsys.readouterr()
    return out.splitlines(), err


def names(log_dir, capsys, *argv):
    """The rows' runs, without their time."""
    assert compare.main(["--log-dir", str(log_dir), "--format", "json", *argv]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    return [r["run"][16:] if r["run"] else f"{r['n']} runs" for r in rows]


def error_of(log_dir, capsys, *argv):
    """The one line of a comparison that fails with status 2, argparse's too."""
    try:
        assert compare.main(["--log-dir", str(log_dir), *argv]) == 2
    except SystemExit as stop:
        assert stop.code == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: ") and err.count("\n") == 1
    return err


def make_four(tmp_path):
    make_run(tmp_path, 1, 188, units=5, learning_rate=0.1)
    make_run(tmp_path, 2, 198, units=64)
    make_run(tmp_path, 3, 158, script="train_lstm", units=128, forget_bias=1.0)
    make_run(tmp_path, 4, None, script="train_lstm", units=9, init_checkpoint="a")
