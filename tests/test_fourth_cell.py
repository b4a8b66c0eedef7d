"""A fourth cell, added as docs/architecture.md says, in a folder of its own."""

import re
import shutil
import sys

import numpy as np
import pytest
from conftest import PROJECT_DIR
from pages import DOCS_DIR, named_blocks
from scripts import exported_probabilities, run_folders

import predict
from seqmnist import tf1 as tf
from seqmnist.record.log import Result

# What changes in train_rnn.py; the guide has the same in a table.
CHANGES = [
    (
        "from seqmnist.cells import BasicRNNCell, stack\n",
        "from mgu import MinimalGatedUnit\nfrom seqmnist.cells import stack\n",
    ),
    ('"cell_name": "basic_rnn_cell"', '"cell_name": "minimal_gated_unit"'),
    ('CELL_OPTIONS = {"recurrent_init": "glorot"}', "CELL_OPTIONS = {}"),
    (
        re.compile(r"BasicRNNCell\(\s+config.units,.*?\n            \)", re.DOTALL),
        "MinimalGatedUnit(config.units, config.cell_name)",
    ),
    ('parse(argv, "train_rnn",', 'parse(argv, "train_mgu",'),
]


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The module train_mgu, in a folder with mgu.py."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    cell = named_blocks(DOCS_DIR / "architecture.md")["cell"]
    (folder / "mgu.py").write_text(cell)
    source = (PROJECT_DIR / "train_rnn.py").read_text()
    for old, new in CHANGES:
        pattern = old if isinstance(old, re.Pattern) else re.compile(re.escape(old))
        source, count = pattern.subn(new, source)
        assert count == 1, old
    (folder / "train_mgu.py").write_text(source)
    shutil.copy(str(PROJECT_DIR / "predict.py"), str(folder))
    monkeypatch.syspath_prepend(str(folder))
    import train_mgu

    yield train_mgu
    for name in ("train_mgu", "mgu"):
        monkeypatch.delitem(sys.modules, name)


def test_the_fourth_cell_trains_resumes_predicts_and_is_exported(
    script, small, tmp_path, capsys
):
    argv = [*small[:-1], "auto", "--learning-rate", "0.01", "--steps", "40"]
    assert script.main(argv) == 0
    (folder,) = run_folders(tmp_path / "logs", "train_mgu")
    out = capsys.readouterr().out
    if not tf.VERSION.startswith("1."):
        assert "compiled (MinimalGatedUnit has no fast path" in out
    result = Result.parse(out.splitlines()[-1])
    assert (result.script, result.cell) == ("train_mgu", "minimal_gated_unit")
    assert result.test_loss < 2.25  # it learns

    result_file = folder / "result.txt"
    result_file.unlink()
    assert script.main(["--resume", str(folder)]) == 0
    assert "resumed after step 40" in capsys.readouterr().out
    assert Result.parse(result_file.read_text()).test_loss == result.test_loss

    model = str(tmp_path / "model")
    assert predict.main([str(folder), "--test-index", "3", "--export", model]) == 0
    assert "predicted" in capsys.readouterr().out
    probabilities = exported_probabilities(model, np.zeros([2, 28, 28], np.uint8))
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
