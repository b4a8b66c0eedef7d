"""compare.py: rows, order, filters and formats of the table."""

import csv
import io
import json
import os
import subprocess
import sys

import pytest
from conftest import PROJECT_DIR
from made_runs import HEADINGS, error_of, lines_of, make_four, make_run, names, predict
from scripts import run_code

from seqmnist.comparing import filters as run_filters


def test_the_best_run_comes_first_and_the_unfinished_last(tmp_path, capsys):
    make_run(tmp_path, 1, 188)
    make_run(tmp_path, 2, None)
    make_run(tmp_path, 3, 196, script="train_lstm", cell_name="lstm_cell")
    lines, err = lines_of(tmp_path, capsys)
    assert not err
    with_status = [*HEADINGS[:-1], "status", "run"]
    assert " ".join(lines[0].split()) == " ".join(with_status)
    figures = ["0.9400", "(47/50)", "0.9250", "(9250/10000)"]
    assert lines[1].split() == [
        *("0.9800", "(196/200)", *figures, "0.2100", "train_lstm", "lstm_cell", "rows"),
        *("150", "28360", "732", "3.2", "33785", "3", "finished"),
        "20260101-000000-seed3",
    ]
    assert lines[2].startswith("0.9400 (188/200)")
    assert lines[3].split() == [
        *("-", *figures, "-", "train_rnn", "basic_rnn_cell", "rows", "150", "28360"),
        *("732", "3.2", "33785", "2", "stopped", "20260101-000000-seed2"),
    ]
    assert len(lines) == 7 and lines[4] == ""


def test_columns_are_aligned_and_there_is_no_status_if_all_are_finished(
    tmp_path, capsys
):
    make_run(tmp_path, 1, 188, units=5)
    make_run(tmp_path, 12, 9, script="train_gru_pixel", view="pixels")
    lines, _ = lines_of(tmp_path, capsys)
    assert " ".join(lines[0].split()) == " ".join(HEADINGS)
    for heading in ("validation", "train", "script", "cell", "view", "run"):
        at = lines[0].index("  " + heading) + 2
        assert all(line[at - 1] == " " != line[at] for line in lines[:3])
    for heading in ("loss", "units", "parameters", "steps", "seconds", "seed"):
        at = lines[0].index(" " + heading) + len(heading)
        assert all(line[at] != " " == line[at + 1] for line in lines[:3])


def test_options_that_differ_between_runs_of_a_script_have_columns(tmp_path, capsys):
    make_run(tmp_path, 1, 188, learning_rate=0.01, data_dir="a", units=5)
    make_run(tmp_path, 2, 189, learning_rate=0.01, max_grad_norm=None)
    make_run(tmp_path, 3, 190, learning_rate=0.001, max_grad_norm=1.0)
    # Another script; that it differs from the others tells its name.
    make_run(tmp_path, 4, 100, script="train_lstm", weight_decay=0.5)
    lines, _ = lines_of(tmp_path, capsys)
    place = HEADINGS.index("steps")
    expected = [*HEADINGS[:place], "learning_rate", "max_grad_norm", *HEADINGS[place:]]
    assert " ".join(lines[0].split()) == " ".join(expected)
    ends = [
        lines[0].index(name) + len(name) for name in ("learning_rate", "max_grad_norm")
    ]
    values = [[line[:end].split()[-1] for end in ends] for line in lines[1:5]]
    assert values[:3] == [["0.001", "1.0"], ["0.01", "none"], ["0.01", "none"]]
    markdown = lines_of(tmp_path, capsys, "--format", "markdown")[0][0]
    assert " | learning_rate | max_grad_norm | steps | " in markdown


def test_a_script_that_was_changed_has_a_column(tmp_path, capsys):
    for seed, digest in ((0, "a" * 64), (1, "a" * 64), (2, "b" * 64)):
        make_run(tmp_path, seed, 190 - seed, script_sha256=digest)
    lines, _ = lines_of(tmp_path, capsys)
    assert "script_sha256" in lines[0].split()
    assert ["aaaaaaaa" in lines[1], "bbbbbbbb" in lines[2]] == [True, True]


def test_older_runs_have_the_defaults_in_a_group(tmp_path, capsys):
    for seed in (0, 1):
        make_run(tmp_path, seed, 190)
    make_run(tmp_path, 2, 180, label_smoothing=0.1)
    lines, _ = lines_of(tmp_path, capsys)
    end = lines[0].index("label_smoothing") + len("label_smoothing")
    assert [line[:end].split()[-1] for line in lines[1:3]] == ["0.0", "0.1"]


def test_data_that_differ_are_named_by_their_folder(tmp_path, capsys):
    make_run(tmp_path, 0, 190, data_sha256="a" * 64, data_dir="/sets/fashion")
    make_run(tmp_path, 1, 180, data_sha256="b" * 64, data_dir="/sets/kmnist")
    make_run(tmp_path, 2, 170, data_sha256="c" * 64, data_dir=["no path"])
    lines, _ = lines_of(tmp_path, capsys)
    assert "data_sha256" in lines[0]
    assert "fashion aaaaaaaa" in lines[1] and "kmnist bbbbbbbb" in lines[2]
    assert " cccccccc" in lines[3]


def test_runs_that_differ_only_in_seed_share_a_row(tmp_path, capsys):
    for seed, correct in ((0, 190), (1, 196), (2, 193)):
        # What tells nothing of the numbers may differ.
        options = {"log_dir": f"logs{seed}", "preset": f"{seed}", "data_dir": "d"}
        make_run(tmp_path, seed, correct, **options, checkpoint_every=f"{seed}steps")
    make_run(tmp_path, 3, 180, learning_rate=0.01)
    make_run(tmp_path, 4, 170, data_sha256="cd" * 32)
    make_run(tmp_path, 5, 160, init_checkpoint="a")
    make_run(tmp_path, 6, None)
    lines, _ = lines_of(tmp_path, capsys)
    # Standard deviation with n - 1: of 0.95, 0.965, 0.98 it is 0.015.
    assert lines[1].startswith("0.9650 ± 0.0150 (3)  0.9400 ± 0.0000 (3)  0.9250 ± ")
    assert lines[1].endswith("0-2  finished  3 runs")
    assert [line[:6].strip() for line in lines[2:6]] == [
        "0.9000",
        "0.8500",
        "0.8000",
        "-",
    ]
    expected = ["3 runs", "seed3", "seed4", "seed5", "seed6"]
    assert names(tmp_path, capsys) == expected
    expected = ["seed1", "seed2", "seed0", "seed3", "seed4", "seed5", "seed6"]
    assert names(tmp_path, capsys, "--each") == expected


def test_a_run_that_is_older_than_an_option_has_its_default(tmp_path, capsys):
    make_run(tmp_path, 0, 190, schedule="constant")
    make_run(tmp_path, 1, 191)
    make_run(tmp_path, 2, 192, schedule="exponential")
    assert names(tmp_path, capsys) == ["seed2", "2 runs"]


def test_the_same_run_again_does_not_count_as_another_seed(tmp_path, capsys):
    make_run(tmp_path, 0, 190, name="20260101-000000-old")
    make_run(tmp_path, 0, 191, name="20260101-000000-new", environment={"started": "9"})
    lines, _ = lines_of(tmp_path, capsys)
    assert lines[1].startswith("0.9550 (191/200)") and lines[1].endswith("-new")
    assert lines[2:] == [
        "",
        "not shown: 1 that did the same as a later run, seed included; --each shows "
        "them",
    ]
    make_run(tmp_path, 1, 197)
    lines, _ = lines_of(tmp_path, capsys)
    assert lines[1].startswith("0.9700 ± 0.0212 (2)")
    assert lines[3].startswith("not shown: 1 that")
    assert names(tmp_path, capsys, "--each") == ["seed1", "new", "old"]


@pytest.mark.parametrize(
    "seeds, text",
    [([0, 1, 2], "0-2"), ([3, 7], "3,7"), ([1, 2, 4, 5, 8], "1-2,4-5,8")],
)
def test_seeds_are_told_as_ranges(seeds, text, tmp_path, capsys):
    for seed in seeds:
        make_run(tmp_path, seed, 190)
    lines, _ = lines_of(tmp_path, capsys, "--format", "csv")
    (row,) = csv.DictReader(lines)
    assert row["seeds"] == text and row["n"] == str(len(seeds)) and row["seed"] == ""


@pytest.mark.parametrize(
    "argv, order",
    [
        ([], "2134"),
        (["--reverse"], "3124"),
        (["--sort", "units"], "1423"),
        (["--sort", "units", "--reverse"], "3241"),
        (["--sort", "test-accuracy"], "2134"),
        (["--sort", "Test accuracy", "--reverse"], "3124"),
        (["--sort", "loss"], "2134"),
        (["--sort", "script"], "3421"),
        (["--sort", "examples/s"], "2134"),
        (["--sort", "learning_rate"], "2341"),
        (["--sort", "learning_rate", "--reverse"], "1234"),
        (["--sort", "forget_bias"], "3214"),
        (["--sort", "init_checkpoint"], "4213"),
        (["--sort", "seed", "--reverse"], "4321"),
    ],
    ids=range(14),
)
def test_sort_orders_by_columns_and_options(argv, order, tmp_path, capsys):
    make_four(tmp_path)
    assert names(tmp_path, capsys, *argv) == [f"seed{seed}" for seed in order]


@pytest.mark.parametrize(
    "argv, left",
    [
        (["script=train_lstm"], "34"),
        (["script!=train_lstm"], "21"),
        (["script==train_lstm", "units > 9"], "3"),
        (["units>=64"], "23"),
        (["units>64"], "3"),
        (["units<=9"], "14"),
        (["units<9"], "1"),
        (["units=64.0"], "2"),
        (["learning_rate!=0.001"], "1"),
        (["learning-rate=1e-1"], "1"),
        (["status=finished"], "213"),
        (["status!=finished"], "4"),
        (["test_accuracy>=0.94"], "21"),
        (["test accuracy<0.94"], "3"),
        (["validation>0.9"], "2134"),
        (["forget_bias=1"], "3"),
        (["forget_bias!=2"], "3"),  # the others lack it
        (["init_checkpoint=none"], "213"),
        (["show=false", "evaluate_splits=validation", "seed=2"], "2"),
        (["n=1", "cell=basic_rnn_cell", "examples/s>0", "run!=x"], "2134"),
        (["seed>1", "--filter", "seed<4"], "23"),
    ],
    ids=range(21),
)
def test_filters_keep_what_fulfils_them_all(argv, left, tmp_path, capsys):
    make_four(tmp_path)
    found = names(tmp_path, capsys, "--filter", *argv)
    assert found == [f"seed{seed}" for seed in left]


def test_a_limit_on_accuracy_picks_groups_and_not_their_luckiest_seeds(
    tmp_path, capsys
):
    for seed, correct in ((0, 180), (1, 190), (2, 185)):
        make_run(tmp_path, seed, correct)
    assert names(tmp_path, capsys, "--filter", "test_accuracy>0.92") == ["3 runs"]
    error_of(tmp_path, capsys, "--filter", "test_accuracy>0.93")
    assert names(tmp_path, capsys, "--filter", "seed>0", "n>1") == ["2 runs"]


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--filter", "units"], "found 'units'; expected a name, one of = != < <= >"),
        (["--filter", "=5"], "found '=5'; expected a name"),
        (["--filter", "units<many"], "found 'units<many'; < compares numbers"),
        (["--filter", "script<5"], "script is no number but, for example, train_"),
        (["--filter", "unit=5"], "is called 'unit'; did you mean units"),
        (["--filter", "learning_rat>5"], "did you mean learning_rate"),
        (["--filter", "qqqqqq=5"], "is called 'qqqqqq'; see --help"),
        (["--filter", "units=7", "seed=1"], "none of 4 runs in "),
        (["--sort", "test_acuracy"], "--sort: no column of the table and no option "),
        (["--sort", "unit"], "is called 'unit'; did you mean units"),
        (["--format", "xml"], "invalid choice"),
        (["--formt", "csv"], "did you mean --format?"),
        (["--plot", "x.gif"], "--plot: found 'x.gif'; expected a name that ends in "),
        (["--plot", ""], "--plot: found ''; expected a name that ends in .png"),
        (["--plot", "no/where/x.png"], "no/where is no folder that can be written"),
        (["--plot", "README.md.png/x.png"], "is no folder that can be written to"),
    ],
    ids=range(16),
)
def test_what_cannot_be_used_is_told_in_one_line(argv, message, tmp_path, capsys):
    make_four(tmp_path)
    assert message in error_of(tmp_path, capsys, *argv)


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_nothing_to_compare_is_one_line_and_status_2(name, tmp_path, capsys):
    error_of(tmp_path / name, capsys)


def test_json_has_every_digit_and_the_runs_of_a_group(tmp_path, capsys):
    for seed, correct in ((0, 190), (1, 197), (2, None)):
        make_run(tmp_path, seed, correct)
    (tmp_path / "train_rnn" / "20260101-000000-seed2" / "metrics.csv").unlink()
    lines, _ = lines_of(tmp_path, capsys, "--format", "json")
    content = json.loads("\n".join(lines))
    group, single = content["rows"]
    assert content["comparison"] is None
    assert group["test_accuracy"] == pytest.approx(0.9675)
    assert group["std"]["test_accuracy"] == pytest.approx(0.035 / 2**0.5)
    assert (group["test_correct"], group["test_count"]) == (387, 400)
    assert (group["n"], group["seed"], group["script"]) == (2, None, "train_rnn")
    assert group["examples_per_second"] == pytest.approx(732 * 150 / 3.25)
    assert [run["test_accuracy"] for run in group["runs"]] == [0.95, 0.985]
    assert [run["options"]["seed"] for run in group["runs"]] == [0, 1]
    assert "seed" not in group["options"] and group["options"]["units"] == 150
    assert single["status"] == "stopped" and single["test_accuracy"] is None
    assert single["steps"] is None and single["runs"] == []


def test_csv_has_every_field_and_option(tmp_path, capsys):
    make_run(tmp_path, 0, 190, name="a,b\n")
    make_run(tmp_path, 1, None, forget_bias=1.5)
    lines, _ = lines_of(tmp_path, capsys, "--format", "csv")
    first, second = csv.DictReader(io.StringIO("\n".join(lines)))
    assert first["run"] == "a,b\\n" and first["test_accuracy"] == "0.95"
    assert first["test_loss"] == "0.21" and first["test_accuracy_std"] == ""
    assert first["option_evaluate_splits"] == "validation"
    assert (first["option_forget_bias"], second["option_forget_bias"]) == ("", "1.5")
    assert second["status"] == "stopped" and second["test_count"] == ""


@pytest.mark.parametrize(
    "text, cell",
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-x", "'-x"),
        ("@a", "'@a"),
        ("\ta", "'\\ta"),
        ("\r=a", "'\\r=a"),
        ("a=1", "a=1"),
        ("-", "-"),
        ("a\nb", "a\\nb"),
    ],
)
def test_a_text_in_csv_is_no_formula(text, cell, tmp_path, capsys):
    make_run(tmp_path, 0, 190, preset=text, learning_rate=-1.5, extra=[text, 2])
    lines, _ = lines_of(tmp_path, capsys, "--format", "csv")
    (row,) = csv.DictReader(lines)
    assert row["preset"] == row["option_preset"] == cell
    assert row["option_learning_rate"] == "-1.5" and row["seeds"] == "0"
    assert row["option_extra"] == (f"{cell} 2" if text != "-" else "'- 2")


def test_names_below_a_markdown_table_are_escaped(tmp_path, capsys):
    make_run(tmp_path, 0, 190, name="a|b*c")
    make_run(tmp_path, 1, 180, name="d", units=7)
    lines, _ = lines_of(tmp_path, capsys, "--format", "markdown")
    assert r" a\|b\*c; next: " in lines[-2]
    assert " a|b*c; next: " in lines_of(tmp_path, capsys)[0][-2]


def test_markdown_is_a_table(tmp_path, capsys):
    make_run(tmp_path, 0, 190, name="a|b")
    make_run(tmp_path, 1, 180, script="train_lstm")
    lines, _ = lines_of(tmp_path, capsys, "--format", "markdown")
    assert lines[0] == f"| {' | '.join(HEADINGS)} |"
    assert lines[1].split(" | ")[:4] == ["| ---", "---", "---", "---:"]
    assert lines[2].startswith("| 0.9500 (190/200) | 0.9400 (47/50) |")
    assert lines[2].endswith(" | a\\|b |")
    assert lines[4] == "" and "Newcombe" in lines[6] and len(lines) == 7


def test_names_that_would_break_the_table_are_escaped(tmp_path, capsys):
    make_run(tmp_path, 1, 190, script="a\nb\x1b[31m")
    make_run(tmp_path, 2, 180, cell_name="s" * 5000)
    lines, _ = lines_of(tmp_path, capsys)
    assert r"a\nb\x1b[31m" in lines[1] and r"best: a\nb\x1b[31m 2026" in lines[4]
    assert len(lines) == 6 and f" {'s' * 57}...  rows " in lines[2]


def test_a_narrow_terminal_gets_what_matters_most(tmp_path, capsys, monkeypatch):
    make_run(tmp_path, 1, 190)
    make_run(tmp_path, 2, None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    lines, _ = lines_of(tmp_path, capsys)
    left = "test accuracy validation script units steps seconds status run"
    assert lines[0].split() == left.split()
    assert max(map(len, lines[:3])) <= 100
    assert lines[3:] == [
        "",
        "left out, as the terminal is narrow: examples/s, view, cell, parameters, "
        "train, seed, loss",
    ]
    monkeypatch.setenv("COLUMNS", "250")
    assert "examples/s" in lines_of(tmp_path, capsys)[0][0]


def test_a_terminal_without_a_plus_minus_gets_two_signs(tmp_path):
    for seed in range(2):
        make_run(tmp_path, seed, 190)
    process = subprocess.run(
        [sys.executable, str(PROJECT_DIR / "compare.py"), "--log-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert process.returncode == 0
    assert b"\n0.9500 +-0.0000 (2)  0.9400 +-0.0000 (2)  " in process.stdout


def test_the_table_is_made_without_tensorflow_and_matplotlib(tmp_path):
    predict(make_run(tmp_path, 0, 190), range(10))
    predict(make_run(tmp_path, 1, 190, units=5), range(10))
    code = (
        "import sys, compare\n"
        f"assert compare.main(['--log-dir', {str(tmp_path)!r}]) == 0\n"
        "print({'tensorflow', 'matplotlib'} & set(sys.modules))"
    )
    out, err = run_code(code)
    assert "exact McNemar" in out and out.endswith("\nset()\n") and not err


def test_a_closed_pipe_is_no_traceback(tmp_path):
    for seed in range(300):
        make_run(tmp_path, seed, 190)
    script = PROJECT_DIR / "compare.py"
    for options in ("--each", "--format json"):
        process = subprocess.run(
            f"{sys.executable} {script} --log-dir {tmp_path} {options} | head -1",
            shell=True,
            capture_output=True,
        )
        assert process.stdout.count(b"\n") == 1 and not process.stderr


def test_filter_names_cover_the_headings():
    for heading in HEADINGS:
        assert run_filters.resolve("--sort", heading, [])
