"""Trains one network with several workers, or many networks one after another.

    python launch.py --workers 2 train_gru_pixel.py --preset best
    python launch.py --sweep runs.txt --jobs 2

With --workers, each worker on this machine computes its share of every batch. The
result is that of one process, up to rounding. When a worker is lost, all start again
from the last checkpoint. docs/workers.md is about workers on several machines.

A sweep's file has a command per line, such as `train_rnn.py --units 300 --seed 1`. Each
command gets its own folder in logs/NAME-OF-THE-FILE/. Finished runs are not run again,
and stopped runs are resumed.
"""

import argparse
import sys
from pathlib import Path

from seqmnist.cli.parser import OneLineParser
from seqmnist.cli.types import path, whole_number
from seqmnist.errors import one_line_errors
from seqmnist.launching.group import run_workers
from seqmnist.launching.sweep import read_sweep, run_sweep
from seqmnist.paths import LOG_DIR, shown
from seqmnist.record.folder import check_log_dir


def make_parser():
    """Builds the parser.

    Returns:
        The parser.
    """
    parser = OneLineParser(
        prog="launch.py",
        usage=(
            "launch.py --workers N [--restarts N] SCRIPT [options of the script]\n"
            "       launch.py --sweep FILE [--jobs N] [--log-dir DIR]"
        ),
        description=__doc__,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--workers",
        type=whole_number(2),
        metavar="N",
        help="train one network with N processes, 2 or more",
    )
    what.add_argument(
        "--sweep", type=path, metavar="FILE", help="run the commands in this file"
    )
    parser.add_argument(
        "--restarts",
        type=whole_number(0),
        metavar="N",
        help="how often to start all workers again when one is lost (default: 3)",
    )
    parser.add_argument(
        "--jobs",
        type=whole_number(1),
        metavar="N",
        help="runs of the sweep at the same time, 1 or more, each on its part of the "
        "cores (default: 1)",
    )
    parser.add_argument(
        "--log-dir",
        type=path,
        metavar="DIR",
        help=f"the sweep's folder (default: {shown(LOG_DIR)}/NAME-OF-THE-FILE)",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="SCRIPT ...")
    return parser


@one_line_errors
def main(argv=None):
    """Launches the workers or the sweep.

    Args:
        argv: the command line's arguments; `None` for those of the process.

    Returns:
        The exit status: 0, or the status of the first process that failed.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.workers is not None:
        for flag, value in (("--jobs", args.jobs), ("--log-dir", args.log_dir)):
            if value is not None:
                parser.error(f"argument {flag}: is for --sweep; leave it out")
        if not args.command:
            parser.error("argument --workers: expected a training script after it")
        restarts = 3 if args.restarts is None else args.restarts
        return run_workers(args.workers, args.command, restarts)
    if args.restarts is not None or args.command:
        extra = "--restarts" if args.restarts is not None else args.command[0]
        parser.error(f"argument --sweep: found {extra} in addition; leave it out")
    file = Path(args.sweep)
    log_dir = Path(args.log_dir) if args.log_dir else LOG_DIR / file.stem
    jobs = read_sweep(file)
    check_log_dir(str(log_dir), ".")
    return run_sweep(jobs, log_dir, args.jobs or 1)


if __name__ == "__main__":
    sys.exit(main())
