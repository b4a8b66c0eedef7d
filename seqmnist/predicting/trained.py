"""Finds a trained run's script, options and checkpoint."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

from seqmnist.cli.parser import parse
from seqmnist.data.class_names import is_name, numbered
from seqmnist.data.mnist import (
    DARK_ON_LIGHT,
    LIGHT_ON_DARK,
    MAX_LABEL,
    MAX_SIDE,
    MIN_SIDE,
)
from seqmnist.errors import UserError, tell
from seqmnist.record.folder import check_name, read_config
from seqmnist.run.checkpoints import Checkpoint, Checkpoints
from seqmnist.scripts import INTERFACE, find_script, load_script, script_digest


def read_run(
    run_dir: str, script_file: str | None = None
) -> tuple[ModuleType, Namespace, dict[str, Any]]:
    """Reads the script and the options of a run.

    What config.json says of the script's place is not followed, as the script is run
    here. Prints a line on stderr if the script has been changed since the training.

    Args:
        run_dir: the run's folder.
        script_file: the script that made the run; `None` for the one in the folder of
            predict.py that has the name in config.json.

    Returns:
        The script as a module; the run's configuration, see cli/options.py, with the
        `image_shape` and `num_classes` of its data; and the contents of config.json.

    Raises:
        UserError: the folder is not a run's, or the script cannot be imported.
        SystemExit: with status 2 if an option in config.json has a value that is not
            allowed.
    """
    record = read_config(run_dir, "{}: no run to predict with")
    name = str(record.get("script"))
    if script_file is not None:
        script = load_script(find_script(script_file))
    else:
        found = _import_script(name)
        if found is None:
            raise UserError(
                f"{run_dir}: config.json has a run of {name!r}, which is no script in "
                "the folder of predict.py; give its file with --script"
            )
        script = found
    digest = script_digest(script.network)
    if record.get("script_sha256", digest) != digest:
        file = os.path.basename(str(script.__file__))
        tell(
            f"{run_dir}: {file} is not the script that made the run, or has been "
            "changed since; --script gives another one"
        )
    config = parse(
        [f"--resume={run_dir}"],
        name,
        script.__doc__,
        script.DEFAULTS,
        script.PRESETS,
    )
    try:
        _add_form(config, record)
    except UserError as error:
        raise UserError(f"{run_dir}: {error}")
    return script, config, record


def _add_form(config: Namespace, record: dict[str, Any]) -> None:
    """Adds the form of the run's data; that of MNIST if an old run does not say."""
    shape, count = record.get("image_shape", [28, 28]), record.get("num_classes", 10)
    names, polarity = record.get("classes"), record.get("polarity", LIGHT_ON_DARK)
    try:
        height, width = shape
        sizes = [(height, MIN_SIDE, MAX_SIDE), (width, MIN_SIDE, MAX_SIDE)]
        is_form = all(
            type(size) is int and smallest <= size <= largest
            for size, smallest, largest in [*sizes, (count, 2, MAX_LABEL + 1)]
        )
        if is_form:
            names = numbered(count) if names is None else names
            is_form = len(names) == count and all(map(is_name, names))
            is_form = is_form and isinstance(names, (list, tuple))
            is_form = is_form and polarity in (LIGHT_ON_DARK, DARK_ON_LIGHT)
    except (TypeError, ValueError):
        is_form = False
    if not is_form:
        raise UserError(
            f"config.json: found image_shape {shape}, num_classes {count}, polarity "
            f"{polarity} and classes {names}; expected what a run writes"
        )
    config.image_shape, config.num_classes, config.classes = shape, count, names
    config.polarity = polarity


def _import_script(name: str) -> ModuleType | None:
    """The script of this name as a module, or `None` if there is none."""
    loaded = sys.modules.get(name)
    if all(hasattr(loaded, word) for word in INTERFACE):
        return loaded
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
        find_script(str(spec and spec.origin))
    except (UserError, ValueError):  # such as "os" or "__main__" in config.json
        return None
    return importlib.import_module(name)


def find_checkpoint(run_dir: str, wanted: str) -> Checkpoint:
    """Finds the checkpoint to predict with; names damaged checkpoints on stderr.

    Args:
        run_dir: the run's folder.
        wanted: "latest" or "best".

    Returns:
        The newest complete `Checkpoint`, or the best one on validation.

    Raises:
        UserError: no such checkpoint exists.
    """
    folder = Path(os.path.abspath(run_dir))
    check_name("RUN_DIR", folder)
    checkpoints = Checkpoints(folder)
    latest, problems = checkpoints.newest()
    if latest is None:
        found = "; ".join(problems) or "it has none"
        raise UserError(
            f"{run_dir}: no checkpoint to predict with ({found}); train it first, or "
            "give the folder of another run"
        )
    for problem in problems:
        tell(f"{problem}; an older one is used")
    if wanted == "latest":
        return latest
    best_step = latest.state.get("best_step")
    if best_step is None:
        raise UserError(
            f"--checkpoint best: {run_dir} was never evaluated on validation; leave it "
            "out, for the latest checkpoint"
        )
    best = checkpoints.read(best_step)
    if not isinstance(best, Checkpoint):
        raise UserError(
            f"--checkpoint best: {best}; leave it out, for the latest checkpoint"
        )
    return best
