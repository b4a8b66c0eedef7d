"""Scripts of one's own: every command serves them; and training in a notebook."""

import json
import shutil
import sys

import numpy as np
import pytest
from conftest import PROJECT_DIR
from pages import DOCS_DIR, named_blocks
from scripts import VARIANT, exported_probabilities, main, run, run_folders

import predict
import train_rnn
from seqmnist.errors import UserError
from seqmnist.record.log import Result
from seqmnist.scripts import find_script, load_script, script_digest


@pytest.fixture
def own_script(tmp_path):
    """A copy of train_rnn.py under another name, whose network inverts the images."""
    text = (PROJECT_DIR / "train_rnn.py").read_text()
    text = text.replace("as_sequences(images,", "as_sequences(255 - images,")
    text = text.replace('"train_rnn"', '"my_net"')
    path = tmp_path / "my net" / "my_net.py"
    path.parent.mkdir()
    path.write_text(text)
    return path


def logits_of(printed):
    (line,) = [line for line in printed.splitlines() if line.startswith("  logit ")]
    return np.array(line.split()[1:], float)


def test_its_runs_are_predicted_and_exported(own_script, small, tmp_path, capsys):
    script = load_script(str(own_script))
    assert script.main([*small, "--predict", "3"]) == 0
    printed = capsys.readouterr().out
    (folder,) = run_folders(tmp_path / "logs", "my_net")
    record = json.loads((folder / "config.json").read_text())
    assert record["script_sha256"] == script_digest(script.network)
    argv = [str(folder), "--test-index", "3", "--script", str(own_script)]
    assert predict.main([*argv, "--export", str(tmp_path / "model")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    (trained,) = [line for line in printed.splitlines() if line.startswith("  logits ")]
    expected = np.array(trained.split()[1:], float)
    np.testing.assert_allclose(logits_of(out), expected, atol=1e-3)
    images = np.zeros([1, 28, 28], np.uint8)
    assert exported_probabilities(tmp_path / "model", images).shape == (1, 10)

    sys.path.remove(str(own_script.parent))  # where --script has put it
    assert predict.main([str(folder), "--test-index", "3"]) == 2
    assert "no script in the folder of predict.py; give its file with --script" in (
        capsys.readouterr().err
    )
    # Another script of this run's options; predict.py cannot know, but says so.
    argv[-1] = str(PROJECT_DIR / "train_rnn.py")
    assert predict.main(argv) == 0
    out, err = capsys.readouterr()
    assert "train_rnn.py is not the script that made the run, or has been" in err
    assert np.abs(logits_of(out) - expected).max() > 0.1


def test_a_changed_script_is_said_when_it_resumes(own_script, small, capsys, tmp_path):
    assert load_script(str(own_script)).main(small) == 0
    (folder,) = run_folders(tmp_path / "logs", "my_net")
    (folder / "result.txt").unlink()
    with open(str(own_script), "a") as file:
        file.write("# changed\n")
    capsys.readouterr()
    assert load_script(str(own_script)).main(["--resume", str(folder)]) == 0
    assert capsys.readouterr().err == (
        "not to the bit as without the stop: the script has been changed\n"
    )


@pytest.mark.parametrize(
    "text, finding",
    [
        ("DEFAULTS = PRESETS = {}\ndef network(): 1 / 0\n", "as it has no loss, optim"),
        ("def f(:\n", "cannot be read as Python"),
        ("\0", "cannot be read as Python"),
        ("x = " + "-" * 100_000 + "1\n", "cannot be read as Python"),
        pytest.param(
            "x = a" + ".a" * 200_000 + "\n",
            "cannot be read as Python .it is nested too deeply",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 8), reason="Python 3.7's parser crashes"
            ),
        ),
        ("#" * 10_000_001, "cannot be read as Python .* has more than 10000000 bytes"),
        ("raise SystemExit\n", "no DEFAULTS, PRESETS, network, loss, optimizer"),
    ],
)
def test_what_is_no_training_script_is_not_run(text, finding, tmp_path):
    path = tmp_path / "other.py"
    path.write_text(text)
    with pytest.raises(UserError, match=finding):
        find_script(str(path))
    with pytest.raises(UserError, match="no such script; expected train_gru_pixel"):
        find_script(str(tmp_path / "none.py"))


def test_a_script_of_the_project_is_found_by_its_bare_name_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = str(PROJECT_DIR / "train_lstm.py")
    assert find_script("train_lstm.py") == find_script(expected) == expected
    for name in ("mine/train_lstm.py", "./train_lstm.py", "../train_lstm.py"):
        with pytest.raises(UserError, match=f"{name}: no such script; expected"):
            find_script(name)


def test_names_may_be_assigned_imported_or_annotated(tmp_path):
    path = tmp_path / "other.py"
    path.write_text(
        "from train_rnn import loss, sgd as optimizer\nDEFAULTS: dict = {}\n"
        "PRESETS = {}\ndef network(images, config, noise): pass\n"
    )
    assert find_script(str(path)) == str(path)
    assert find_script("train_lstm.py") in (
        "train_lstm.py",
        str(PROJECT_DIR / "train_lstm.py"),
    )


def test_one_beside_predict_py_is_found_by_its_name(
    own_script, small, tmp_path, monkeypatch, capsys
):
    assert load_script(str(own_script)).main(small) == 0
    (folder,) = run_folders(tmp_path / "logs", "my_net")
    monkeypatch.syspath_prepend(str(own_script.parent))
    capsys.readouterr()
    assert predict.main([str(folder), "--test-index", "3"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.delitem(sys.modules, "my_net")


@pytest.mark.parametrize(
    "name", ["os", "sys", "conftest", "__main__", "a b", "../train_rnn", ""]
)
def test_no_other_module_is_run_for_a_name_in_config_json(name, tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"script": name}))
    assert predict.main([str(tmp_path), "--test-index", "3"]) == 2
    assert "no script in the folder of predict.py" in capsys.readouterr().err


def test_a_script_may_have_dataclasses_and_one_that_fails_is_a_line(own_script):
    text = own_script.read_text()
    added = "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: int\n"
    added = "from __future__ import annotations\n" + added + "import sys\n"
    own_script.write_text(text.replace("import sys\n", added, 1))
    assert load_script(str(own_script)).A(3).a == 3
    own_script.write_text(text + "raise SystemExit(0)\n")
    with pytest.raises(UserError, match="cannot be imported .SystemExit: 0"):
        load_script(str(own_script))
    own_script.write_text("import no_such_module\n" + text)
    with pytest.raises(UserError, match="cannot be imported .ModuleNotFoundError: No"):
        load_script(str(own_script))


def test_the_name_of_a_script_fits_in_a_result_line(own_script, capsys):
    own_script.write_text(own_script.read_text().replace('"my_net"', '"my net"'))
    assert load_script(str(own_script)).main([]) == 2
    assert "'my net' as the name of a script; expected let" in capsys.readouterr().err


@VARIANT
def test_workers_and_sweeps_take_it(own_script, small, tmp_path):
    few = [word for word in small if word != "--log-dir"]
    few.remove(str(tmp_path / "logs"))
    argv = ["launch.py", "--workers", "2", str(own_script), *small]
    status, _, err = run(argv)
    assert status == 0, err
    assert len(run_folders(tmp_path / "logs", "my_net")) == 1
    words = " ".join(f"'{word}'" for word in [str(own_script), *few])
    sweep = tmp_path / "sweep.txt"
    sweep.write_text(f"\ufeffpython {words}\r\npython3 {words} --seed 1\r\n", "utf-8")
    argv = ["launch.py", "--sweep", str(sweep), "--log-dir", str(tmp_path / "swept")]
    status, _, err = run(argv)
    assert status == 0, err
    assert len(list((tmp_path / "swept").glob("*/my_net/*/result.txt"))) == 2


def test_train_returns_the_result_also_twice_in_a_process(small, tmp_path, capsys):
    first = train_rnn.train(small)
    second = train_rnn.train(small)
    assert first.test_loss == second.test_loss
    assert first.folder != second.folder
    line = capsys.readouterr().out.splitlines()[-1]
    assert str(second) == line and "folder" not in line
    assert Result.parse(line).test_correct == second.test_correct
    again = train_rnn.train(["--resume", second.folder])
    assert again.folder == second.folder
    with pytest.raises(UserError, match="cannot be read"):
        train_rnn.train([*small, "--data-dir", str(tmp_path / "none")])
    with pytest.raises(SystemExit):
        train_rnn.train(["--unit", "3"])
    # Numbers as numbers, and all in one text, are understood.
    assert train_rnn.train([*small, "--steps", 2]).steps == 2
    text = " ".join(f"'{word}'" for word in small)
    assert train_rnn.train(f"{text} --steps 2").steps == 2
    assert main("train_rnn", ["--resume", second.folder]) == 0


def test_the_notebook_example_runs(small, monkeypatch, capsys, tmp_path):
    """As in a kernel, whose own arguments are not for the script."""
    code = named_blocks(DOCS_DIR / "own-scripts.md")["notebook"]
    assert code.count('["--preset", "quick"]') == 1
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    values = {}
    exec(code.replace('["--preset", "quick"]', repr(small)), values)
    result = values["result"]
    assert capsys.readouterr().out.endswith(
        f"{result.test_accuracy} {result.test_loss} {result.folder}\n"
    )
    shutil.rmtree(result.folder)
