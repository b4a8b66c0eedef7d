"""What a run begins with: a new folder, or its own and a checkpoint to go on from."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple, Sequence

from seqmnist.cli import options
from seqmnist.data.mnist import Splits
from seqmnist.errors import UserError, differences
from seqmnist.paths import shown
from seqmnist.record import figures
from seqmnist.record.folder import (
    RESULT_FILE,
    RunFolder,
    check_log_dir,
    check_name,
    environment,
    read_config,
)
from seqmnist.record.log import Result, too_short
from seqmnist.run.checkpoints import Checkpoint, Checkpoints
from seqmnist.run.network import Network
from seqmnist.run.plan import Plan
from seqmnist.run.tf1_checkpoints import check_path


class Opening(NamedTuple):
    """What a run begins with, new or resumed.

    Attributes:
        folder: its folder, locked; `None` of a new run, for which `make_folder` makes
            one when its network is ready, and for all workers but the chief.
        start: the checkpoint to go on from, or `None` for the beginning.
        result: what it came to, if it is finished.
    """

    folder: RunFolder | None = None
    start: Checkpoint | None = None
    result: Result | None = None


def open_run(
    config: Namespace,
    splits: Splits,
    plan: Plan,
    is_chief: bool,
    stack: contextlib.ExitStack,
) -> Opening:
    """Finds out what a run begins with; of a finished one, prints the result.

    Says on stderr what a user should know of the checkpoint to go on from.

    Args:
        config: the run's configuration.
        splits: the data.
        plan: how long to train.
        is_chief: whether this worker has the run's folder.
        stack: unlocks the folder in the end.

    Returns:
        It; nothing is made yet of a new run.

    Raises:
        UserError: a new run could not be logged, or not begin with the weights that it
            is to; or the run to resume cannot be, and is left as it was.
    """
    if config.resume is None:
        if is_chief:
            check_log_dir(config.log_dir, config.script)
            if config.init_checkpoint is not None:
                check_path(config.init_checkpoint)
            figures.prepare()
        return Opening()
    path = Path(os.path.abspath(config.resume))
    result = _finished(path)
    if result is not None or not is_chief:
        return Opening(result=result)
    check_name("--resume", path)
    folder = stack.enter_context(RunFolder(path))
    result = _finished(path)  # by a process that has just ended
    if result is not None:
        return Opening(result=result)
    start = _find_start(folder, config, splits, plan)
    figures.prepare()
    return Opening(folder, start)


def make_folder(
    config: Namespace, splits: Splits, network: Network, stack: contextlib.ExitStack
) -> RunFolder:
    """Makes the folder of a new run, with config.json, or leaves nothing behind."""
    folder = RunFolder.create(config.log_dir, config.script, config.seed)
    stack.enter_context(folder)
    record = {**options.recorded(config), **_facts(splits, network)}
    folder.write_first_config({**record, "environment": environment()})
    return folder


def note_resumption(
    folder: RunFolder, config: Namespace, splits: Splits, network: Network, step: int
) -> None:
    """Adds to config.json; says what has changed and will show in the last digits."""
    record = read_config(str(folder.path))
    before = {"workers": 1, **record, **record.get("environment", {})}
    now = environment()
    changes = [
        f"{name} was {before.get(name)}, is {value}"
        for name, value in {**_facts(splits, network), **now}.items()
        if name not in ("started", "data_sha256") and before.get(name) != value
    ]
    if changes:
        print(
            f"not to the bit as without the stop: {'; '.join(changes)}", file=sys.stderr
        )
    resumption = {"step": step, "command": config.command, "environment": now}
    record["resumed"] = [*record.get("resumed", []), resumption]
    folder.write_config(record)


def as_typed(script: str, words: Sequence[str]) -> str:
    """What to type to run a script with these arguments."""
    path = f"{script}.py"
    if os.path.basename(sys.argv[0]) == path:
        path = shown(sys.argv[0])
    return " ".join(map(shlex.quote, ["python", path, *words]))


def _facts(splits: Splits, network: Network) -> dict[str, Any]:
    """What config.json says of a run beside its options and its environment."""
    return {
        "workers": network.workers.size,
        "parameters": network.num_parameters,
        "recurrence_used": network.engine.description,
        "data_sha256": splits.digest,
    }


def _finished(folder: Path) -> Result | None:
    """The result of a run that needs no resumption, after saying so."""
    if not (folder / RESULT_FILE).exists():
        return None
    try:
        result = Result.parse((folder / RESULT_FILE).read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{shown(folder / RESULT_FILE)}: by it the run is finished, but it cannot "
            f"be read ({error}); move it away to have --resume write it again"
        )
    print(f"{shown(folder)}: this run is finished")
    print(result, flush=True)
    return result


def _find_start(
    folder: RunFolder, config: Namespace, splits: Splits, plan: Plan
) -> Checkpoint | None:
    """The checkpoint to go on from, or `None` if there never was one."""
    record = read_config(config.resume)
    _check_record(record, config, splits.digest)
    if folder.left_by:
        print(f"{folder.left_by}, left without unlocking the run", file=sys.stderr)
    checkpoints = Checkpoints(folder.path)
    start, problems = checkpoints.newest(
        lambda state: too_short(folder.path, state["log_sizes"])
    )
    for line in problems:
        print(line, file=sys.stderr)
    if start is not None:
        _check_start(start, config, plan)
        _check_best(start, checkpoints)
    elif checkpoints.has_any():
        words = shlex.split(str(record.get("command")))
        raise UserError(
            f"--resume {config.resume}: no checkpoint can be used; start anew: "
            f"{as_typed(config.script, words[1:])}"
        )
    return start


def _check_record(record: dict[str, Any], config: Namespace, data_digest: str) -> None:
    """Raises a `UserError` if a run was begun with other data or another decay."""
    if record.get("data_sha256") != data_digest:
        raise UserError(
            f"--resume {config.resume}: {config.data_dir} holds other data (SHA-256 "
            f"{data_digest}) than the run was started with "
            f"({record.get('data_sha256')}); give --data-dir the folder with those"
        )
    before = record.get("decay_steps", config.decay_steps)
    if before != config.decay_steps:
        raise UserError(
            f"--resume {config.resume}: would be another run with --decay-steps all, "
            f"{config.decay_steps} (the run has {before}); leave it out"
        )


def _check_start(start: Checkpoint, config: Namespace, plan: Plan) -> None:
    """Raises a `UserError` if a checkpoint is not of the run that is configured."""
    saved, here = start.state["options"], options.deciding(config)
    # A checkpoint may be older than an option.
    differing = differences(
        {name: value for name, value in saved.items() if name in here},
        {name: value for name, value in here.items() if name in saved},
    )
    step = start.state["step"]
    differing += differences(start.state["position"], plan.position(step, config.seed))
    if differing or step > plan.num_steps:
        raise UserError(
            f"{shown(start.prefix)} is not of the run that config.json tells of: "
            f"{', '.join(differing) or f'step {step} of {plan.num_steps}'}; restore "
            "the one that was changed, or start a new run with --init-checkpoint"
        )


def _check_best(start: Checkpoint, checkpoints: Checkpoints) -> None:
    """Forgets, in the state to start from, a best checkpoint that cannot be read."""
    best_step = start.state["best_step"]
    best = start if best_step is None else checkpoints.read(best_step)
    if isinstance(best, str):
        # No files at all: a later one was better, which is damaged and found again.
        if best_step in checkpoints.steps():
            print(f"{best}; it was the best, the next best is kept", file=sys.stderr)
        start.state.update(best_step=None, best=None)
