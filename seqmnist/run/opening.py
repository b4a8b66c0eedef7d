"""The opening of a run: a new folder, or an old one with a checkpoint to resume."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple, Sequence

from seqmnist.cli import options
from seqmnist.data.class_names import numbered
from seqmnist.data.mnist import Splits
from seqmnist.errors import UserError, differences, one_line, tell
from seqmnist.paths import read_small, shown
from seqmnist.record import figures
from seqmnist.record.folder import (
    MAX_TEXT_BYTES,
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
from seqmnist.scripts import script_digest

LENGTH_FLAGS = ("--steps", "--epochs", "--decay-steps")


class Opening(NamedTuple):
    """The folder and the checkpoint with which a run begins, new or resumed.

    Attributes:
        folder: the run's folder, locked. `None` for all workers but the chief, and for
            a new run: `make_folder` makes the folder when the network is ready.
        start: the checkpoint to continue from; `None` to start at step 0.
        result: the run's result if the run is finished, else `None`.
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
    """Opens a run; prints the result if the run is finished.

    Problems with the checkpoints of a resumed run are printed on stderr.

    Args:
        config: the run's configuration.
        splits: the data.
        plan: the length of the run.
        is_chief: whether this worker has the run's folder.
        stack: unlocks the folder at the end.

    Returns:
        The `Opening`. A new run has no folder yet.

    Raises:
        UserError: a new run's folder cannot be made, or the weights to start from do
            not exist; or the run to resume cannot be resumed, and is not changed.
    """
    if config.resume is None:
        if is_chief:
            check_log_dir(config.log_dir, config.script)
            if config.init_checkpoint is not None:
                check_path(config.init_checkpoint)
            figures.prepare()
        return Opening()
    path = Path(os.path.abspath(config.resume))
    result = _finished(path, plan)
    if result is not None or not is_chief:
        return Opening(result=result)
    check_name("--resume", path)
    folder = stack.enter_context(RunFolder(path))
    result = _finished(path, plan)  # another process may just have finished the run
    if result is not None:
        return Opening(result=result)
    start = _find_start(folder, config, splits, plan)
    figures.prepare()
    return Opening(folder, start)


def make_folder(
    config: Namespace, splits: Splits, network: Network, stack: contextlib.ExitStack
) -> RunFolder:
    """Makes a new run's folder with config.json; if that fails, leaves nothing."""
    folder = RunFolder.create(config.log_dir, config.script, config.label)
    stack.enter_context(folder)
    record = {**options.recorded(config), **_facts(splits, network)}
    folder.write_first_config({**record, "environment": environment()})
    return folder


def note_resumption(
    folder: RunFolder, config: Namespace, splits: Splits, network: Network, step: int
) -> None:
    """Notes a resumption in config.json; prints changes that affect the last digits."""
    record = read_config(str(folder.path))
    before = {"workers": 1, **record, **record.get("environment", {})}
    now = environment()
    facts = _facts(splits, network)
    changes = [
        f"{name} was {before.get(name)}, is {value}"
        for name, value in {**facts, **now}.items()
        if name not in ("started", "data_sha256", "classes", "script_sha256")
        and before.get(name, value) != value
    ]
    script = facts["script_sha256"]
    if before.get("script_sha256", script) != script:
        changes.insert(0, "the script has been changed")
    if changes:
        tell(f"not to the bit as without the stop: {'; '.join(changes)}")
    resumption = {"step": step, "command": config.command, "environment": now}
    values = options.recorded(config)
    record.update({name: values[name] for name in [*options.MAY_GROW, "class_names"]})
    record["classes"] = facts["classes"]
    record["resumed"] = [*record.get("resumed", []), resumption]
    folder.write_config(record)


def as_typed(script: str, words: Sequence[str]) -> str:
    """The shell command that runs a script with these arguments."""
    path = f"{script}.py"
    if os.path.basename(sys.argv[0]) == path:
        path = shown(sys.argv[0])
    return " ".join(map(shlex.quote, ["python", path, *words]))


def _facts(splits: Splits, network: Network) -> dict[str, Any]:
    """The facts in config.json other than options and environment."""
    return {
        "script_sha256": script_digest(network.classifier.network),
        "workers": network.workers.size,
        "parameters": network.num_parameters,
        "recurrence_used": network.engine.description,
        "data_sha256": splits.digest,
        "polarity": splits.polarity,
        "classes": _names(splits),
    }


def _names(splits: Splits) -> list[str] | None:
    """The classes' names, or `None` if they are numbers from 0."""
    names = splits.class_names
    return None if names == numbered(len(names)) else list(names)


def _finished(folder: Path, plan: Plan) -> Result | None:
    """The result of a finished run, which is printed too; else `None`.

    Raises:
        UserError: the run is finished, and longer than `plan`; or its result cannot be
            read.
    """
    if not (folder / RESULT_FILE).exists():
        return None
    result = read_result(folder)
    if result.steps != plan.num_steps:
        _check_length(folder, result.steps, plan)
        return None
    print(f"{shown(folder)}: this run is finished")
    print(one_line(str(result)), flush=True)
    return result._replace(folder=str(folder))


def _check_length(folder: Path, before: int, plan: Plan) -> None:
    """Raises a `UserError` if a run of `before` steps would become shorter."""
    if plan.num_steps < before:
        raise UserError(
            f"--resume {shown(folder)}: the run goes to step {before}, and cannot be "
            f"made shorter, {plan.num_steps} steps; expected more, or neither --steps "
            "nor --epochs"
        )


def read_result(folder: Path) -> Result:
    """The result in a run's folder."""
    try:
        content = read_small(folder / RESULT_FILE, MAX_TEXT_BYTES)
        return Result.parse(content.decode())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{shown(folder / RESULT_FILE)}: marks the run as finished, but cannot be "
            f"read ({error}); move the file away, and --resume writes it again"
        )


def _find_start(
    folder: RunFolder, config: Namespace, splits: Splits, plan: Plan
) -> Checkpoint | None:
    """The checkpoint to continue from; `None` if no checkpoint was ever saved."""
    record = read_config(config.resume)
    _check_record(record, config, splits.digest)
    if folder.left_by:
        tell(f"{folder.left_by}, left without unlocking the run")
    checkpoints = Checkpoints(folder.path)
    start, problems = checkpoints.newest(
        lambda state: too_short(folder.path, state["log_sizes"])
    )
    for line in problems:
        tell(line)
    _check_growth(record, config, plan, start)
    if start is not None:
        _check_start(start, config, plan)
        _check_best(start, checkpoints)
    elif checkpoints.has_any():
        raise UserError(
            f"--resume {config.resume}: no checkpoint can be used; start anew: "
            f"{as_typed(config.script, _arguments(record))}"
        )
    return start


def _check_record(record: dict[str, Any], config: Namespace, data_digest: str) -> None:
    """Raises a `UserError` if a run was started with other data or another decay."""
    if record.get("data_sha256") != data_digest:
        raise UserError(
            f"--resume {config.resume}: {config.data_dir} holds other data (SHA-256 "
            f"{data_digest}) than the run was started with "
            f"({record.get('data_sha256')}); give --data-dir the folder with the "
            "run's data"
        )
    before = record.get("decay_steps", config.decay_steps)
    if before != config.decay_steps:
        raise UserError(
            f"--resume {config.resume}: would be another run with --decay-steps all, "
            f"{config.decay_steps} (the run has {before}); leave it out"
        )


def _check_growth(
    record: dict[str, Any], config: Namespace, plan: Plan, start: Checkpoint | None
) -> None:
    """Raises a `UserError` if a run would become shorter, or have no learning rate."""
    if not hasattr(config, "grown_from"):
        return
    before = config.grown_from["steps"]
    if before is None:
        before = config.grown_from["epochs"] * plan.steps_per_epoch
    _check_length(Path(config.resume), before, plan)
    if config.schedule == "exponential" and config.decay_steps == before:
        tell(
            f"the learning rate decays as before, by {config.decay_steps} steps; with "
            "--decay-steps all, a run that has the new length from the beginning "
            "decays more slowly"
        )
    if before < plan.num_steps and plan.coarse_steps:
        raise UserError(
            f"--resume {config.resume}: a part of its steps, {config.coarse_part:g}, "
            "reads images at half their size, so it cannot be made longer; start a new "
            "run of the new length"
        )
    is_over = config.schedule == "cosine" and config.decay_steps < plan.num_steps
    if before < plan.num_steps and is_over:
        advice = "start a new run"
        if start is not None:
            words = _without_length(_arguments(record))
            words += ["--init-checkpoint", shown(start.prefix)]
            words += ["--steps", str(plan.num_steps - start.state["step"])]
            advice += f" from its weights: {as_typed(config.script, words)}"
        raise UserError(
            f"--resume {config.resume}: the cosine of its learning rate is zero after "
            f"{config.decay_steps} steps, so it cannot go on to {plan.num_steps}; "
            f"{advice}"
        )


def _arguments(record: dict[str, Any]) -> list[str]:
    """The arguments of the command that began a run; none if they cannot be read."""
    try:
        return shlex.split(str(record.get("command")))[1:]
    except ValueError:  # config.json was changed
        return []


def _without_length(words: list[str]) -> list[str]:
    """A command line's words without what gives the length, or follows from it."""
    kept, rest = [], iter(words)
    for word in rest:
        if word in LENGTH_FLAGS:
            next(rest, None)
        elif word.split("=")[0] not in LENGTH_FLAGS:
            kept.append(word)
    return kept


def _check_start(start: Checkpoint, config: Namespace, plan: Plan) -> None:
    """Raises a `UserError` if a checkpoint is not of the run that is configured."""
    saved, here = start.state["options"], options.deciding(config)
    # A checkpoint may be from before an option was added.
    differing = differences(
        {name: value for name, value in saved.items() if name in here},
        {name: value for name, value in here.items() if name in saved},
    )
    step = start.state["step"]
    differing += differences(start.state["position"], plan.position(step, config.seed))
    if differing or step > plan.num_steps:
        raise UserError(
            f"{shown(start.prefix)} is not of the run that config.json describes: "
            f"{', '.join(differing) or f'step {step} of {plan.num_steps}'}; restore "
            "the file that was changed, or start a new run with --init-checkpoint"
        )


def _check_best(start: Checkpoint, checkpoints: Checkpoints) -> None:
    """Drops a best checkpoint that cannot be read from the state to start from."""
    best_step = start.state["best_step"]
    best = start if best_step is None else checkpoints.read(best_step)
    if isinstance(best, str):
        # Without files: a later checkpoint was better. It is damaged, and the resumed
        # run will find it again.
        if best_step in checkpoints.steps():
            tell(f"{best}; it was the best, the next best is kept")
        start.state.update(best_step=None, best=None)
