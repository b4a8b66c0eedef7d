"""Compares the runs in logs/: a table of their test accuracies, the best first.

    python compare.py
    python compare.py --log-dir somewhere/else

Reads each run folder's config.json and result.txt; a run without a result, because it
still trains or was stopped, is listed last with what its config.json says.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from seqmnist.errors import UserError, one_line_errors
from seqmnist.options import OneLineParser
from seqmnist.paths import LOG_DIR, check_folder, shown
from seqmnist.run_folder import CONFIG_FILE, RESULT_FILE
from seqmnist.run_log import Result

# Heading -> field of `Result`, and how it is shown.
COLUMNS = {
    "test accuracy": ("test_accuracy", "{:.4f}"),
    "correct": ("test_correct", "{}"),
    "script": ("script", "{}"),
    "preset": ("preset", "{}"),
    "view": ("view", "{}"),
    "cell": ("cell", "{}"),
    "units": ("units", "{}"),
    "parameters": ("parameters", "{}"),
    "steps": ("steps", "{}"),
    "seconds": ("seconds", "{:.1f}"),
    "seed": ("seed", "{}"),
    "run": ("run", "{}"),
}


def read_run(folder):
    """Reads a run folder.

    Args:
        folder: a folder with a config.json, as a `Path`.

    Returns:
        A dict by the names of `Result`'s fields; without result.txt only those that
        config.json knows.

    Raises:
        ValueError: the folder is not a run of this suite.
        OSError: its files cannot be read.
    """
    result_file = folder / RESULT_FILE
    if result_file.exists():
        return Result.parse(result_file.read_text())._asdict()
    config = json.loads((folder / CONFIG_FILE).read_text())
    if not isinstance(config, dict) or "script" not in config:
        raise ValueError(f"{CONFIG_FILE} is not a run's configuration")
    known = ("script", "preset", "view", "units", "parameters", "seed")
    run = {name: config[name] for name in known if name in config}
    return {**run, "cell": config.get("cell_name", "-"), "run": folder.name}


def read_runs(log_dir):
    """Reads all runs below a folder.

    Args:
        log_dir: the folder's path.

    Returns:
        Two lists: the runs, as `read_run` returns them, the best test accuracy first
        and those without a result last; and a line per folder that cannot be read.
    """
    runs, unreadable = [], []
    for folder, subfolders, files in os.walk(log_dir):
        if CONFIG_FILE not in files:
            continue
        subfolders.clear()  # a run's own
        try:
            runs.append(read_run(Path(folder)))
        except (OSError, ValueError) as error:
            unreadable.append(f"{shown(folder)}: not read ({error})")
    runs.sort(key=lambda run: (-run.get("test_accuracy", -1), run["run"]))
    return runs, unreadable


def format_table(runs):
    """The table as lines of aligned columns.

    Args:
        runs: dicts, as `read_run` returns them.

    Returns:
        A list of lines, the header first.
    """
    rows = [list(COLUMNS)]
    for run in runs:
        missing = {"test_accuracy": "no result yet"}
        rows.append(
            [
                form.format(run[field]) if field in run else missing.get(field, "-")
                for field, form in COLUMNS.values()
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in rows
    ]


@one_line_errors
def main(argv=None):
    """Prints the table.

    Args:
        argv: the command line's arguments; `None` for those of the process.

    Returns:
        The exit status: 0, or 2 if there is nothing to compare.
    """
    parser = OneLineParser(
        prog="compare.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--log-dir",
        default=str(LOG_DIR),
        metavar="DIR",
        help=f"folder to look for runs in (default: {shown(LOG_DIR)})",
    )
    log_dir = parser.parse_args(argv).log_dir
    check_folder(log_dir, "--log-dir takes a folder with runs in it")
    runs, unreadable = read_runs(log_dir)
    for line in unreadable:
        print(line, file=sys.stderr)
    if not runs:
        raise UserError(
            f"no runs in {shown(log_dir)}; train one first: python train_rnn.py"
        )
    print("\n".join(format_table(runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
