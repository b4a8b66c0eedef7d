"""The table of results: made of runs that are there, resumed where they are not."""

import json
import shlex
import shutil
import sys

import pytest
from conftest import PROJECT_DIR
from scripts import SLOW, VARIANT

import train_gru_pixel
import train_lstm
import train_rnn
from seqmnist.cli import options

sys.path.insert(0, str(PROJECT_DIR / "results"))
import reproduce

SCRIPTS = {s.__name__ + ".py": s for s in (train_rnn, train_lstm, train_gru_pixel)}
ALL = reproduce.EXPERIMENTS + reproduce.INGREDIENTS
KEPT = sorted(reproduce.RESULTS_DIR.glob("*/seed*[0-9]"))


@pytest.mark.parametrize("experiment", ALL, ids=lambda e: e.name)
def test_experiments_are_commands_that_the_scripts_take(experiment, parse):
    script, *argv = shlex.split(experiment.command)
    config = parse(SCRIPTS[script], argv)
    # Chosen by validation alone: test is touched once, at the end.
    assert config.evaluate_splits == ["validation"]


def test_names_are_not_used_twice():
    names = [experiment.name for experiment in ALL]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "folder", KEPT, ids=[f"{folder.parent.name}-{folder.name}" for folder in KEPT]
)
def test_what_is_kept_is_of_the_command(folder, parse):
    """Made by these options, as they are now; its figures agree with one another."""
    experiment = {e.name: e for e in ALL}[folder.parent.name]
    script, *argv = shlex.split(experiment.command)
    argv += ["--seed", folder.name[len("seed") :]]
    expected = options.deciding(parse(SCRIPTS[script], argv))
    text = (folder / "config.json").read_text()
    record = json.loads(text)
    assert record["script"] + ".py" == script
    for name, value in expected.items():
        if value != options.ALL:
            # A run does not record options that are newer.
            assert record.get(name, options.DEFAULTS.get(name)) == value, name
    assert str(PROJECT_DIR) not in text and record["data_dir"] == "data"
    _, rows, result = reproduce.read_run(folder)
    if result:
        assert int(result["steps"]) == int(rows[-1]["step"])
        test = (folder / "metrics.csv").read_text().splitlines()[-1].split(",")
        assert f"{test[5]}/{test[6]}" == result["test_correct"]


@pytest.mark.parametrize(
    "make_table, page",
    [
        (reproduce.results_table, "docs/results.md"),
        (reproduce.ingredients_table, "docs/results.md"),
        (reproduce.notebook_table, "docs/results.md"),
        (reproduce.best_table, "README.md"),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)
def test_the_docs_have_the_tables_of_what_is_kept(make_table, page):
    table = make_table(reproduce.RESULTS_DIR)
    assert table.count("\n") > 1
    assert f"\n\n{table}\n\n" in (PROJECT_DIR / page).read_text(encoding="utf-8")


def test_the_best_of_a_task_is_that_of_the_highest_mean(tmp_path, monkeypatch):
    """Of several seeds: a single one may be lucky."""
    names = ("a", "b", "c", "d")
    monkeypatch.setattr(
        reproduce,
        "EXPERIMENTS",
        [reproduce.Experiment("a task", name, f"{name}.py", (0, 3)) for name in names],
    )
    found = {
        **{("a", 0): 0.9, ("a", 3): 0.9, ("b", 0): 0.95, ("b", 3): 0.89},
        ("c", 0): None,  # failed
        ("d", 0): 0.99,
    }
    for name, seed in found:
        (tmp_path / name / f"seed{seed}").mkdir(parents=True)

    def read_run(folder):
        seed = int(folder.name[len("seed") :])
        accuracy = found[folder.parent.name, seed]
        result = {"test_accuracy": accuracy, "seed": seed} if accuracy else None
        config = {"parameters": 7, "batch_size": 1, "max_shift": 0, "max_slant": 0.1}
        return reproduce.Run(config, rows(0.5), result)

    monkeypatch.setattr(reproduce, "read_run", read_run)
    assert reproduce.best_table(tmp_path).splitlines()[2:] == [
        "| a task | `b.py` | 7 | 0.9200 ± 0.0424 (2) | 0, 3 |"
    ]


def test_a_row_of_ingredients_has_validation_and_milestones():
    experiment = reproduce.INGREDIENTS[1]
    found = reproduce.ingredients_row(
        experiment, [reproduce.Run({}, rows(0.91, 0.96), {})]
    )
    assert found[1:] == ["failed", "100 (0.5)", "200 (1.0)", "–"]
    found = reproduce.ingredients_row(
        experiment, [reproduce.Run({}, rows(0.91, 0.96), {"a": 1})]
    )
    assert found == [
        *("`--input-scale unit`", "0.9600 (1)", "100 (0.5)", "200 (1.0)", "–")
    ]


@pytest.fixture
def made(tmp_path, monkeypatch, small_data):
    """Redirects what is made into a folder, with an experiment of a second."""
    monkeypatch.setattr(reproduce, "RESULTS_DIR", tmp_path / "results")
    monkeypatch.setattr(reproduce, "LOG_DIR", tmp_path / "logs")

    def make(*more):
        command = [
            *("train_rnn.py", "--data-dir", str(small_data), "--validation-size", "20"),
            *("--units", "3", "--batch-size", "50", "--steps", "6"),
            *("--evaluate-every", "2", "--summaries", "scalars"),
            *("--recurrence", "plain", "--evaluate-splits", "validation", *more),
        ]
        quoted = " ".join(map(shlex.quote, command))
        experiment = reproduce.Experiment("a task", "small", quoted, (4,))
        monkeypatch.setattr(reproduce, "EXPERIMENTS", [experiment])
        return experiment, tmp_path / "results" / "small" / "seed4"

    return make


@SLOW
def test_an_experiment_is_run_once_and_kept(made, capsys):
    experiment, kept = made()
    assert reproduce.reproduce([experiment]) == 0
    assert {path.name for path in kept.iterdir()} == {
        *("config.json", "metrics.csv", "result.txt")
    }
    assert json.loads((kept / "config.json").read_text())["seed"] == 4
    capsys.readouterr()
    assert reproduce.reproduce([experiment]) == 0
    assert capsys.readouterr().out == ""
    row = reproduce.results_table(reproduce.RESULTS_DIR).splitlines()[2]
    assert row.startswith("| a task | `train_rnn.py --data-dir ")
    assert "| 0.0 | no |" in row and "| 1 of 1 |" in row  # six steps do not learn it
    assert row.endswith("| – | – | – |")


@VARIANT
def test_what_was_stopped_is_resumed(made, capsys):
    experiment, kept = made()
    reproduce.reproduce([experiment])
    expected = (kept / "result.txt").read_text()
    (folder,) = reproduce.LOG_DIR.glob("*/*/*/")
    shutil.rmtree(str(kept))
    (folder / "result.txt").unlink()
    capsys.readouterr()
    reproduce.reproduce([experiment])
    out, err = capsys.readouterr()
    assert f"train_rnn.py --resume {folder}\n" in err
    assert "[1] resumed after step 6\n" in out
    assert (kept / "result.txt").read_text().split()[:-2] == expected.split()[:-2]


def test_an_interrupted_run_ends_it_and_keeps_nothing(made, monkeypatch):
    _, kept = made()
    monkeypatch.setattr(reproduce, "run_sweep", lambda *args: 130)
    monkeypatch.setattr(reproduce, "INGREDIENTS", [])
    monkeypatch.chdir(PROJECT_DIR)
    assert reproduce.main([]) == 130
    assert not kept.exists()


def test_a_run_that_fails_is_not_kept(made):
    experiment, kept = made("--batch-size", "10000")
    assert reproduce.reproduce([experiment]) == 2
    assert not kept.exists()


@SLOW
def test_a_run_that_diverged_is_a_failure(made):
    experiment, kept = made("--learning-rate", "3e38", "--readout-init", "uniform")
    assert reproduce.reproduce([experiment]) == 0
    assert (kept / "failure.txt").read_text() == "the training diverged\n"
    row = reproduce.results_table(reproduce.RESULTS_DIR).splitlines()[2]
    assert "| 1 of 1 |" in row


def rows(*accuracies):
    """Validation rows of metrics.csv, one per 100 steps and 30 seconds."""
    return [
        {"step": 100.0 * n, "seconds": 30.0 * n, "accuracy": accuracy}
        for n, accuracy in enumerate(accuracies, 1)
    ]


def test_milestones_are_the_first_time_and_means_of_all_runs():
    runs = [rows(0.5, 0.95, 0.9, 0.97), rows(0.5, 0.6, 0.7, 0.96)]
    assert reproduce.milestone(runs, 0.95) == "300 (1.5)"
    assert reproduce.milestone(runs, 0.97) == "–"


def test_spread_is_mean_and_deviation():
    assert reproduce.spread([0.97, 0.98, 0.99]) == "0.9800 ± 0.0100 (3)"
    assert reproduce.spread([0.97]) == "0.9700 (1)"
    assert reproduce.spread([]) == "–"
