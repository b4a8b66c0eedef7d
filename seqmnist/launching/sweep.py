"""Many trainings, a few at a time, each with its own folder."""

from __future__ import annotations

import contextlib
import re
import shlex
import zlib
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Sequence

from seqmnist.cli.parser import OneLineParser, make_parser, parse
from seqmnist.cores import cores_of
from seqmnist.errors import CannotWrite, Diverged, UserError
from seqmnist.launching.processes import (
    Child,
    Signals,
    say,
    wait,
)
from seqmnist.paths import read_small, shown
from seqmnist.record.folder import CONFIG_FILE, RESULT_FILE, write_text
from seqmnist.scripts import find_script, load_script

# Written into the folder of a run that diverged; the sweep does not repeat the run.
FAILURE_FILE = "failure.txt"

MAX_NAME = 100  # letters of a job's name
MAX_BYTES = 10_000_000  # of a sweep's file

COMMENT = re.compile(r"(^|\s)#.*")


class Job(NamedTuple):
    """A training of a sweep.

    Attributes:
        name: the name of the job's folder.
        command: the script and its arguments, without `--log-dir`.
    """

    name: str
    command: list[str]


class Script(NamedTuple):
    """A script of a sweep, loaded once for all of its lines.

    Attributes:
        path: its file.
        module: its module.
        parser: its parser.
    """

    path: str
    module: ModuleType
    parser: OneLineParser


def read_sweep(path: Path) -> list[Job]:
    """Reads a sweep's file: a command per line, with or without `python`.

    Empty lines and comments are left out. A comment goes from a # at the beginning of a
    word to the line's end.

    Args:
        path: the file.

    Returns:
        The jobs, named after their commands.

    Raises:
        UserError: the file cannot be read, or a line is not a training command.
        SystemExit: with status 2 and one line on stderr if a line has an unknown
            option or a value that is not allowed.
    """
    try:
        text = read_small(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--sweep {path}: cannot be read ({reason}); expected a file with a line "
            "like 'train_rnn.py --seed 1' for each run"
        )
    lines = text.splitlines()
    scripts: dict[str, Script] = {}
    jobs: dict[str, Job] = {}
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        try:
            words = shlex.split(COMMENT.sub("", line))
        except ValueError as error:
            raise UserError(f"{where}: {error}; quote it as in a shell")
        if words and re.fullmatch(r"python[0-9.]*", words[0]):
            words.pop(0)
        if not words:
            continue
        if "\0" in line:
            raise UserError(f"{where}: has a NUL, which no argument can; leave it out")
        if words[0] not in scripts:
            scripts[words[0]] = _load(words[0], where)
        script = scripts[words[0]]
        _check(script, words[1:], where)
        name = _name(words)
        if name in jobs:
            raise UserError(f"{where}: is there twice; leave out one of them")
        jobs[name] = Job(name, [script.path, *words[1:]])
    if not jobs:
        raise UserError(f"--sweep {path}: names no runs; expected one per line")
    return list(jobs.values())


def run_sweep(jobs: Sequence[Job], log_dir: Path, num_jobs: int) -> int:
    """Runs the jobs that are not done; resumes the jobs that were stopped.

    Args:
        jobs: the jobs of the sweep.
        log_dir: the folder with a folder per job.
        num_jobs: jobs to run at the same time, each on its part of the cores.

    Returns:
        The status of the first run that failed other than by diverging; else the status
        of a diverged run; else 0.
    """
    failed: list[int] = []
    waiting = [(i, job) for i, job in enumerate(jobs, 1) if not is_done(job, log_dir)]
    say(f"{len(jobs)} runs, {len(jobs) - len(waiting)} of them done before")
    running: dict[int, tuple[int, Job, Child]] = {}
    with Signals() as signals:
        while running or (waiting and signals.number is None):
            for slot in set(range(num_jobs)) - set(running):
                if waiting and signals.number is None:
                    number, job = waiting.pop(0)
                    child = _start(number, job, log_dir, cores_of(slot, num_jobs))
                    running[slot] = (number, job, signals.add(child))
            wait(
                lambda: (
                    not running
                    or any(c.status is not None for _, _, c in running.values())
                )
            )
            for slot, (number, job, child) in list(running.items()):
                if child.status is None:
                    continue
                child.finish()
                del running[slot]
                if child.status:
                    failed.append(child.status)
                    say(f"run {number} ended with status {child.status}")
                folder = find_run(job, log_dir)
                if child.status == Diverged.status and folder is not None:
                    with contextlib.suppress(CannotWrite):  # then it is run again
                        write_text(folder / FAILURE_FILE, "the training diverged\n")
    if signals.number is not None:
        failed.append(128 + signals.number)
    done = sum(is_done(job, log_dir) for job in jobs)
    say(
        f"{done} of {len(jobs)} runs are done; compare them: python compare.py "
        f"--log-dir {shown(log_dir)}"
    )
    others = [status for status in failed if status != Diverged.status]
    return next(iter(others + failed), 0)


def is_done(job: Job, log_dir: Path) -> bool:
    """Whether a job's run has a result, or diverged."""
    folder = find_run(job, log_dir)
    return folder is not None and any(
        (folder / name).exists() for name in (RESULT_FILE, FAILURE_FILE)
    )


def find_run(job: Job, log_dir: Path) -> Path | None:
    """The folder of a job's run, or `None` if the run has not begun."""
    configs = sorted((log_dir / job.name).glob(f"*/*/{CONFIG_FILE}"))
    return configs[-1].parent if configs else None


def _start(number: int, job: Job, log_dir: Path, cores: Sequence[int]) -> Child:
    """Starts a job, or resumes its run."""
    folder = find_run(job, log_dir)
    if folder is None:
        command = [*job.command, "--log-dir", str(log_dir / job.name)]
    else:
        command = [job.command[0], "--resume", str(folder)]
    say(f"run {number}: python {' '.join(map(shlex.quote, command))}")
    return Child(command, f"[{number}] ", cores)


def _load(name: str, where: str) -> Script:
    """The script of a line."""
    try:
        path = find_script(name)
        module = load_script(path)
    except UserError as error:
        raise UserError(f"{where}: {error}")
    parser = make_parser(Path(path).stem, "", module.DEFAULTS, module.PRESETS)
    return Script(path, module, parser)


def _check(script: Script, arguments: list[str], where: str) -> None:
    """Checks a line's arguments before the sweep starts."""
    for word in arguments:
        flag = word.split("=")[0]
        if flag in ("--log-dir", "--resume", "--help", "-h"):
            raise UserError(f"{where}: {flag} is not for a sweep's run; leave it out")
    parse(
        arguments,
        Path(script.path).stem,
        "",
        script.module.DEFAULTS,
        script.module.PRESETS,
        source=f"{where}: ",
        parser=script.parser,
    )


def _name(words: Sequence[str]) -> str:
    """The name of a command's folder: readable, and different for each command."""
    text = " ".join(words)
    name = re.sub(r"[^\w.]+", "-", re.sub(r"\.py\b", "", text), flags=re.ASCII)
    # If the name does not determine the words, a checksum of them is appended.
    pattern = r"--[a-z-]+|\w[\w.]*"
    is_plain = all(re.fullmatch(pattern, word, re.ASCII) for word in words)
    if is_plain and len(name) <= MAX_NAME:
        return name
    return f"{name[:MAX_NAME].strip('-.')}-{zlib.crc32(text.encode()):08x}"
