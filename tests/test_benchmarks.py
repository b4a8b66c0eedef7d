"""The benchmark runs, and its peers' losses are checked."""

import json
import subprocess
import sys

import pytest
from conftest import PROJECT_DIR
from scripts import VARIANT

from seqmnist import tf1 as tf

# What was measured, a folder per processor.
FOLDERS = sorted(
    path for path in (PROJECT_DIR / "benchmarks" / "results").iterdir() if path.is_dir()
)
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
    assert results["whole"] == {}
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


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_documented_tables_are_those_that_were_measured(monkeypatch, folder):
    monkeypatch.syspath_prepend(str(PROJECT_DIR / "benchmarks"))
    import report

    text = report.as_markdown(json.loads((folder / "results.json").read_text()))
    assert (folder / "results.md").read_text() == text
    tables = [part for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 3
    page = (PROJECT_DIR / "docs" / "performance.md").read_text(encoding="utf-8")
    for table in tables:
        assert table.strip() in page
