"""Trains the networks of the tables of results, and makes the tables.

    make results                             all that is missing; hours
    python results/reproduce.py --only gru   that experiment, or all with these letters
    python results/reproduce.py --tables     only prints the tables of what is there

Each experiment is a command, run once for each of its seeds. What it leaves is in
logs/results/NAME-seedN/, as for any run; config.json, metrics.csv and result.txt, of
which the tables are made, are copied to results/NAME/seedN/. What is there is not run
again, and what was stopped is resumed.

`--tables` prints the tables in Markdown. That of the best of each task is in README.md,
the others are in docs/results.md. Copy them there when they change;
tests/test_results.py compares.
"""

import json
import os
import shlex
import sys
from collections import namedtuple
from pathlib import Path
from statistics import mean, stdev

RESULTS_DIR = Path(__file__).resolve().parent
PROJECT_DIR = RESULTS_DIR.parent
LOG_DIR = PROJECT_DIR / "logs" / "results"
sys.path.insert(0, str(PROJECT_DIR))

from seqmnist.cli.parser import OneLineParser  # noqa: E402
from seqmnist.cli.types import whole_number  # noqa: E402
from seqmnist.data.distortions import Distortions  # noqa: E402
from seqmnist.errors import Diverged, one_line_errors, writing  # noqa: E402
from seqmnist.launching.sweep import (  # noqa: E402
    FAILURE_FILE,
    Job,
    find_run,
    is_done,
    run_sweep,
)
from seqmnist.record.folder import CONFIG_FILE, METRICS_FILE, RESULT_FILE  # noqa: E402
from seqmnist.record.log import Result, read_metrics  # noqa: E402

KEPT_FILES = (CONFIG_FILE, METRICS_FILE, RESULT_FILE, FAILURE_FILE)

# A network that ends below this on validation has not learned the task.
LEARNED = 0.5
MILESTONES = (0.9, 0.95, 0.98)

# Before the pixel network learns, its loss is ln(10) = 2.30: it guesses.
GUESSING = 2.2
NOTEBOOK_ACCURACY = 0.97  # of training batches, which the notebook has at step 7,500
REACHING = [f"{100 * accuracy:.0f} %" for accuracy in MILESTONES]
RESULTS_HEAD = [
    *("task", "command", "parameters", "epochs", "distorted", "minutes"),
    *("test accuracy", "failed", *REACHING),
]
BEST_HEAD = ["task", "command", "parameters", "test accuracy"]

NUM_TRAIN = 55_000  # MNIST's training images without the 5,000 of validation

# A command and its seeds; the task is what it is called in the table.
Experiment = namedtuple("Experiment", "task name command seeds")

# What was kept of a run: config.json as a dictionary, the rows of metrics.csv on
# validation, and the result as a dictionary, or `None` if the run failed.
Run = namedtuple("Run", "config rows result")

# The presets of BasicRNN and of the large pixel network had these values before bends.
UNBENT = "--max-stretch 0 --max-bend 0"
# The pixel presets had these values before coarse steps, and 28 epochs in a cosine of
# 17,000 steps.
BEFORE = "--recurrent-init orthogonal --max-shift 1 --max-slant 0.3 --weight-decay 0.02"
IN_FULL = f"--coarse-part 0 {BEFORE} --decay-steps 17000"

EXPERIMENTS = [
    Experiment(
        "rows, BasicRNN",
        "rnn-notebook",
        "train_rnn.py --preset basic-rnn-tensorboard --evaluate-splits validation",
        (0, 1, 2),
    ),
    Experiment(
        "rows, BasicRNN", "rnn-best", "train_rnn.py --preset best", tuple(range(5))
    ),
    Experiment(
        "rows, BasicRNN",
        "rnn-best-before",
        f"train_rnn.py --preset best --max-shift 1 --max-slant 0 {UNBENT} --epochs 60",
        (0, 1, 2),
    ),
    Experiment("rows, LSTM", "lstm-50-notebook", "train_lstm.py", (0, 1, 2)),
    Experiment(
        "rows, LSTM",
        "lstm-128-notebook",
        "train_lstm.py --preset lstm-128-prediction",
        (0, 1, 2),
    ),
    Experiment(
        "rows, LSTM", "lstm-best", "train_lstm.py --preset best", tuple(range(5))
    ),
    Experiment("pixels, GRU", "gru-notebook", "train_gru_pixel.py", tuple(range(8))),
    Experiment(
        "pixels, GRU", "gru-best", "train_gru_pixel.py --preset best", tuple(range(5))
    ),
    Experiment(
        "pixels, GRU",
        "gru-best-before",
        f"train_gru_pixel.py --preset best {IN_FULL} --epochs 28",
        (0, 1, 2),
    ),
    Experiment(
        "pixels, GRU",
        "gru-best-large",
        "train_gru_pixel.py --preset best-large",
        tuple(range(5)),
    ),
    Experiment(
        "pixels, GRU",
        "gru-best-large-unbent",
        f"train_gru_pixel.py --preset best-large {UNBENT}",
        (0,),
    ),
    Experiment(
        "pixels, GRU",
        "gru-best-large-before",
        f"train_gru_pixel.py --preset best-large {UNBENT} {IN_FULL} --epochs 28",
        (0,),
    ),
    Experiment(
        "permuted pixels, GRU",
        "gru-best-permuted",
        "train_gru_pixel.py --preset best-large --permute "
        f"{UNBENT} {BEFORE} --epochs 28",
        (0, 1, 2),
    ),
]

# The pixel network for 5 epochs of whole images, and with one thing changed each.
SHORTLY = f"train_gru_pixel.py --preset best {IN_FULL} --epochs 5"
CHANGES = [
    "",
    "--input-scale unit",
    "--input-scale symmetric",
    "--learning-rate 0.005",
    "--bias-init default",
    "--bias-init uniform",
    "--recurrent-init glorot",
    "--recurrent-init identity",
    "--max-grad-norm none",
    "--warmup-steps 0",
    "--weight-decay 0",
    "--ema-decay 0",
    "--max-shift 0 --max-slant 0",
]
INGREDIENTS = [
    Experiment(
        f"`{change}`" if change else "as it is",
        "-".join(["ingredients", *change.replace("--", "").split()]),
        f"{SHORTLY} {change}".strip(),
        (0,),
    )
    for change in CHANGES
]


@one_line_errors
def main(argv=None):
    """Runs what is missing, then prints the tables; returns an exit status."""
    parser = OneLineParser(prog="reproduce.py", description=__doc__)
    parser.add_argument("--only", default="", help="a name, or letters of names")
    parser.add_argument(
        "--jobs", type=whole_number(1), default=1, help="runs at the same time"
    )
    parser.add_argument("--tables", action="store_true", help="run nothing")
    args = parser.parse_args(argv)
    known = EXPERIMENTS + INGREDIENTS
    chosen = [e for e in known if args.only == e.name]
    chosen = chosen or [e for e in known if args.only in e.name]
    if not chosen:
        names = ", ".join(e.name for e in known)
        parser.error(f"--only {args.only}: in no name; the names are {names}")
    if not args.tables:
        os.chdir(PROJECT_DIR)
        status = reproduce(chosen, args.jobs)
        if status:
            return status
    tables = (results_table, ingredients_table, notebook_table, best_table)
    print(*(make_table(RESULTS_DIR) for make_table in tables), sep="\n\n")
    return 0


def reproduce(experiments, num_jobs=1):
    """Runs what is missing of some experiments to its end, and keeps it.

    Args:
        experiments: of `EXPERIMENTS` and `INGREDIENTS`.
        num_jobs: runs at the same time, each on its part of the cores.

    Returns:
        0, or the status of the first run that failed. One that diverged did not fail.
    """
    missing = []
    for experiment in experiments:
        for seed in experiment.seeds:
            target = RESULTS_DIR / experiment.name / f"seed{seed}"
            if not any((target / n).exists() for n in (RESULT_FILE, FAILURE_FILE)):
                command = [*shlex.split(experiment.command), "--seed", str(seed)]
                missing.append((Job(f"{experiment.name}-seed{seed}", command), target))
    status = run_sweep([job for job, _ in missing], LOG_DIR, num_jobs)
    for job, target in missing:
        if is_done(job, LOG_DIR):
            keep(find_run(job, LOG_DIR), target)
    return 0 if status == Diverged.status else status


def keep(folder, target):
    """Copies what the table is made of, with paths as seen from the project.

    Args:
        folder: the run's folder.
        target: the folder to make.

    Raises:
        CannotWrite: it cannot be made.
    """
    partial = target.with_name(f"{target.name}.partial")
    with writing(target):
        partial.mkdir(parents=True, exist_ok=True)
        for name in KEPT_FILES:
            if (folder / name).exists():
                text = (folder / name).read_text()
                (partial / name).write_text(text.replace(f"{PROJECT_DIR}/", ""))
        partial.rename(target)


def read_run(folder):
    """Reads what was kept of a run.

    Args:
        folder: its folder in results/.

    Returns:
        The `Run`.
    """
    config = json.loads((folder / CONFIG_FILE).read_text())
    rows = [row for row in read_metrics(folder) if row["split"] == "validation"]
    result = None
    has_ended = rows and not (folder / FAILURE_FILE).exists()
    if has_ended and rows[-1]["accuracy"] >= LEARNED:
        result = Result.parse((folder / RESULT_FILE).read_text())._asdict()
    return Run(config, rows, result)


def results_table(results_dir):
    """The table of the runs that are there.

    Args:
        results_dir: the folder results/.

    Returns:
        The table, lines of Markdown.
    """
    return _table(RESULTS_HEAD, EXPERIMENTS, results_row, results_dir)


def ingredients_table(results_dir):
    """The table of what each ingredient is worth, of the runs that are there.

    Args:
        results_dir: the folder results/.

    Returns:
        The table, lines of Markdown.
    """
    head = ["changed", "validation accuracy", *REACHING]
    return _table(head, INGREDIENTS, ingredients_row, results_dir)


def notebook_table(results_dir):
    """The table of how the pixel notebook's own settings fare, a row per seed.

    Args:
        results_dir: the folder results/.

    Returns:
        The table, lines of Markdown.
    """
    head = ["seed", "loss stays below 2.2 from step", "training batches at 0.97"]
    rows = map(notebook_row, _seed_folders(results_dir / "gru-notebook"))
    return _lines([*head, "test accuracy"], rows)


def notebook_row(folder):
    """What became of one run of the pixel notebook's settings.

    Args:
        folder: its folder in results/.

    Returns:
        A list of strings: the seed, the step from which training no longer guesses, the
        first step at which the training batches since the last report have
        `NOTEBOOK_ACCURACY`, and the test accuracy. A dash for never, and for the test
        accuracy of a run that diverged.
    """
    rows = [row for row in read_metrics(folder) if row["split"] == "train"]
    guessing = [row["step"] for row in rows if row["loss"] >= GUESSING]
    learning = [row["step"] for row in rows if row["step"] > max(guessing, default=0)]
    good = [row["step"] for row in rows if row["accuracy"] >= NOTEBOOK_ACCURACY]
    result, accuracy = folder / RESULT_FILE, "–"
    if result.exists():
        accuracy = f"{Result.parse(result.read_text()).test_accuracy:.4f}"
    firsts = [f"{steps[0]:,.0f}" if steps else "–" for steps in (learning, good)]
    return [folder.name[len("seed") :], *firsts, accuracy]


def best_table(results_dir):
    """The table of the best experiment of each task, of the runs that are there.

    An experiment of one run is not the best where another one has several.

    Args:
        results_dir: the folder results/.

    Returns:
        The table, lines of Markdown.
    """
    best = {}
    for experiment in EXPERIMENTS:
        results = [run.result for run in _read_runs(experiment, results_dir)]
        accuracies = [result["test_accuracy"] for result in results if result]
        if accuracies:
            found = len(accuracies) > 1, mean(accuracies), experiment
            known = best.get(experiment.task, found)
            best[experiment.task] = max(known, found, key=lambda row: row[:2])
    experiments = [experiment for *_, experiment in best.values()]
    return _table([*BEST_HEAD, "seeds"], experiments, best_row, results_dir)


def best_row(experiment, runs):
    """An experiment's row of the table of the best.

    Args:
        experiment: one of `EXPERIMENTS`.
        runs: the `Run` of each seed.

    Returns:
        A list of strings.
    """
    row = dict(zip(RESULTS_HEAD, results_row(experiment, runs)))
    seeds = ", ".join(str(run.result["seed"]) for run in runs if run.result)
    return [*(row[name] for name in BEST_HEAD), seeds]


def _read_runs(experiment, results_dir):
    """Reads the runs of an experiment that are there, in the order of their seeds."""
    return [read_run(folder) for folder in _seed_folders(results_dir / experiment.name)]


def _seed_folders(folder):
    """The folders of an experiment's runs, in the order of their seeds."""
    return sorted(folder.glob("seed*[0-9]"))


def _table(head, experiments, make_row, results_dir):
    """A table in Markdown, with a row for each experiment that has been run."""
    found = [(e, _read_runs(e, results_dir)) for e in experiments]
    return _lines(head, [make_row(e, runs) for e, runs in found if runs])


def _lines(head, rows):
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ingredients_row(experiment, runs):
    """An experiment's row of the table of ingredients.

    Args:
        experiment: one of `INGREDIENTS`.
        runs: the `Run` of each seed.

    Returns:
        A list of strings.
    """
    rows = [run.rows for run in runs]
    lasts = [run.rows[-1]["accuracy"] for run in runs if run.result]
    return [
        experiment.task,
        spread(lasts) if lasts else "failed",
        *(milestone(rows, accuracy) for accuracy in MILESTONES),
    ]


def results_row(experiment, runs):
    """An experiment's row of the table of results.

    Args:
        experiment: one of `EXPERIMENTS`.
        runs: the `Run` of each seed.

    Returns:
        A list of strings.
    """
    config = runs[0].config
    results = [run.result for run in runs if run.result]
    lasts = [run.rows[-1] for run in runs if run.rows]
    seconds = [last["seconds"] for last in lasts]
    steps = max((last["step"] for last in lasts), default=0)
    epochs = steps * config["batch_size"] / NUM_TRAIN
    return [
        experiment.task,
        f"`{experiment.command}`",
        f"{config['parameters']:,}",
        f"{epochs:.0f}" if epochs > 10 else f"{epochs:.1f}",
        "yes" if any(config.get(name) for name in Distortions._fields) else "no",
        f"{mean(seconds or [0]) / 60:.1f}",
        spread([result["test_accuracy"] for result in results]),
        f"{len(runs) - len(results)} of {len(runs)}",
        *(milestone([run.rows for run in runs], a) for a in MILESTONES),
    ]


def spread(accuracies):
    """Mean, standard deviation (n - 1) and number of some accuracies."""
    if not accuracies:
        return "–"
    text = f"{mean(accuracies):.4f}"
    if len(accuracies) > 1:
        text += f" ± {stdev(accuracies):.4f}"
    return f"{text} ({len(accuracies)})"


def milestone(runs, accuracy):
    """Steps and minutes until validation first has this accuracy, means of the runs.

    Args:
        runs: the rows of metrics.csv on validation, for each run.
        accuracy: 0 to 1.

    Returns:
        "steps (minutes)"; a dash unless all runs come to it.
    """
    firsts = [
        next((row for row in rows if row["accuracy"] >= accuracy), None)
        for rows in runs
    ]
    if None in firsts:
        return "–"
    steps = mean(row["step"] for row in firsts)
    minutes = mean(row["seconds"] for row in firsts) / 60
    return f"{steps:,.0f} ({minutes:.1f})"


if __name__ == "__main__":
    sys.exit(main())
