"""Compares the runs in logs/: a table of their accuracies, best first.

    python compare.py
    python compare.py --filter script=train_lstm 'units>=64' --sort seconds
    python compare.py --plot curves.png
    python compare.py --format csv > runs.csv

Runs that differ only in their seed share a row, with mean ± standard deviation (number
of runs). A line below the table says whether the best row differs from the next beyond
chance. Runs that still train and stopped runs come last, with their values so far.
"""

import shutil
import sys

from seqmnist.cli.parser import OneLineParser
from seqmnist.comparing.best_two import compare_best
from seqmnist.comparing.filters import (
    OF_GROUPS,
    filter_expression,
    filter_rows,
    resolve,
    sort_rows,
)
from seqmnist.comparing.overlay import check_plot, save_overlay
from seqmnist.comparing.rows import group_rows, single_row
from seqmnist.comparing.runs import find_runs
from seqmnist.comparing.table import (
    escaped,
    format_csv,
    format_json,
    format_markdown,
    format_table,
)
from seqmnist.errors import UserError, one_line_errors
from seqmnist.paths import LOG_DIR, check_folder, shown

FORMATS = ("table", "markdown", "csv", "json")


def make_parser():
    """Builds the parser.

    Returns:
        The parser.
    """
    parser = OneLineParser(prog="compare.py", description=__doc__)
    parser.add_argument(
        "--log-dir",
        default=str(LOG_DIR),
        metavar="DIR",
        help=f"folder to look for runs in (default: {shown(LOG_DIR)})",
    )
    parser.add_argument(
        "--sort",
        default="test_accuracy",
        metavar="COLUMN",
        help="a column, or an option in config.json; accuracies highest first, all "
        "else lowest first (default: test_accuracy)",
    )
    parser.add_argument(
        "--reverse", action="store_true", help="sort in the reverse order"
    )
    parser.add_argument(
        "--filter",
        action="append",
        nargs="+",
        default=[],
        type=filter_expression,
        metavar="EXPRESSION",
        help="show only rows that fulfil all expressions: name, one of = != < <= > >=, "
        "value, in quotes, as in script=train_lstm 'units>=64' status=finished 'n>=3'; "
        "a name is a column or an option in config.json",
    )
    parser.add_argument(
        "--each",
        action="store_true",
        help="show a row for each run, also for runs that differ only in seed",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="csv and json have all fields and digits (default: table)",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw the rows' validation accuracies against epochs in one figure, a new "
        ".png, .pdf or .svg file",
    )
    return parser


def select(runs, args):
    """Filters, groups and sorts the runs.

    Args:
        runs: the runs, as `find_runs` returns them.
        args: the parsed options.

    Returns:
        The rows.

    Raises:
        UserError: a name is neither a column nor an option, a text is compared with a
            number, or no row is left.
    """
    rows = [single_row(run) for run in runs]
    name = resolve("--sort", args.sort, rows)
    filters = [
        condition._replace(name=resolve("--filter", condition.name, rows))
        for conditions in args.filter
        for condition in conditions
    ]
    rows = filter_rows(rows, [f for f in filters if f.name not in OF_GROUPS])
    rows = rows if args.each else group_rows(rows)
    rows = filter_rows(rows, [f for f in filters if f.name in OF_GROUPS])
    if not rows:
        raise UserError(
            f"none of {len(runs)} runs in {shown(args.log_dir)} fulfils --filter "
            f"{' '.join(map(str, filters))}; leave out a condition"
        )
    return sort_rows(rows, name, args.reverse)


def show(rows, comparison, output_format):
    """Prints the rows.

    Args:
        rows: the rows.
        comparison: the comparison from `compare_best`, or `None`.
        output_format: one of `FORMATS`.
    """
    if output_format == "json":
        print(format_json(rows, comparison))
        return
    if output_format == "csv":
        print(format_csv(rows), end="")
        return
    if output_format == "markdown":
        lines = format_markdown(rows)
    else:
        is_terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_terminal else None
        lines = format_table(rows, width)
    repeats = sum(row.repeats for row in rows)
    if repeats:
        text = f"not shown: {repeats} that did the same as a later run, seed included"
        lines += ["", f"{text}; --each shows them"]
    if comparison:
        is_markdown = output_format == "markdown"
        found = comparison["lines"]
        lines += ["", *(map(escaped, found) if is_markdown else found)]
    text = "\n".join(lines)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = text.replace("± ", "+-")
    print(text)


@one_line_errors
def main(argv=None):
    """Prints the table.

    Args:
        argv: the command line's arguments; `None` for those of the process.

    Returns:
        The exit status: 0, or 2 if there is nothing to compare.
    """
    args = make_parser().parse_args(argv)
    plot = check_plot(args.plot) if args.plot is not None else None
    check_folder(args.log_dir, "--log-dir takes a folder with runs in it")
    runs, problems = find_runs(args.log_dir)
    for line in problems:
        print(line, file=sys.stderr)
    if not runs:
        raise UserError(
            f"no runs in {shown(args.log_dir)}; train one first: python train_rnn.py"
        )
    rows = select(runs, args)
    comparison, problems = compare_best(rows)
    for line in problems:
        print(line, file=sys.stderr)
    show(rows, comparison, args.format)
    if plot is not None:
        sys.stdout.flush()
        print(save_overlay(plot, rows), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
