"""The benchmark runs, and its peers' losses are checked."""

import json
import subprocess
import sys

import pytest
from conftest import PROJECT_DIR
from scripts import VARIANT

from seqmnist import tf1 as tf

RUN = [sys.executable, str(PROJECT_DIR / "benchmarks" / "run.py")]

pytestmark = pytest.mark.skipif(
    tf.VERSION.startswith("1."), reason="runs on the current TensorFlow"
)


@VARIANT
def test_the_benchmark_measures_the_suite_both_ways(tmp_path):
    """A loss that is not the one that NumPy finds would end it."""
    out = tmp_path / "bench"
    argv = ["--workloads", "lstm-50", "--peers", "suite", "suite_plain"]
    argv += ["--rounds", "1", "--no-growth", "--out", str(out)]
    process = subprocess.run([*RUN, *argv], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    results = json.loads((out / "results.json").read_text())
    peers = results["workloads"]["lstm-50"]["peers"]
    assert set(peers) == {"suite", "suite_plain", "matmul"}
    assert abs(peers["suite"]["loss"] - peers["suite_plain"]["loss"]) < 1e-5
    for values in peers.values():
        assert values["median"] > 0
        assert values["peak_megabytes"] > 1
    table = (out / "results.md").read_text()
    assert "| **seqmnist** |" in table and "| matmul floor |" in table
    assert (out / "steps.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_loss_ends_the_benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT_DIR / "benchmarks"))
    import run

    monkeypatch.setattr(run, "reference_loss", lambda *args: 2.0)
    run.check_loss({"loss": 2.0001}, {}, "suite")
    with pytest.raises(SystemExit, match=r"suite: loss 2\.01, expected 2\.0"):
        run.check_loss({"loss": 2.01}, {}, "suite")


def test_the_documented_table_is_the_one_that_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT_DIR / "benchmarks"))
    import report

    folder = PROJECT_DIR / "benchmarks" / "results"
    table = report.as_markdown(json.loads((folder / "results.json").read_text()))
    assert (folder / "results.md").read_text() == table
    rows = [line for line in table.split("\nSeconds")[0].splitlines() if "|" in line]
    assert len(rows) == 13
    page = PROJECT_DIR / "docs" / "performance.md"
    assert "\n".join(rows) in page.read_text(encoding="utf-8")
