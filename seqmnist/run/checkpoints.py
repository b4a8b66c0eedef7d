"""Checkpoints: the state from which a run continues as if it had not been stopped.

RUN/checkpoints/
    model.ckpt-500.index, model.ckpt-500.data-00000-of-00001
                     written by tf.train.Saver (format V2): weights, their averages,
                     Adam's slots, global_step
    model.ckpt-500.json
                     the rest of the run's state, and size and SHA-256 of the files;
                     renamed to its place last, so it marks a complete checkpoint
    checkpoint       names the latest checkpoint, for tf.train.latest_checkpoint
    best             names the best checkpoint on validation so far, for
                     tf.train.latest_checkpoint(folder, "best")
    partial/         a checkpoint is written here, then renamed to its place
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Callable, NamedTuple

from seqmnist import tf1 as tf
from seqmnist.errors import (
    CannotWrite,
    Diverged,
    UserError,
    differences,
    tensorflow_reason,
    writing,
)
from seqmnist.paths import file_size, read_small, shown
from seqmnist.record.folder import MAX_TEXT_BYTES, synchronize, write_text
from seqmnist.record.log import are_sizes
from seqmnist.run.progress import Progress

FOLDER = "checkpoints"
LATEST_FILE = "checkpoint"
BEST_FILE = "best"
NUM_KEPT = 3  # the last checkpoints, in addition to the best one
SLACK = 1 << 16  # bytes, for the files' content other than the variables

STATE = ".json"
INDEX = ".index"
DATA = ".data-00000-of-00001"
# Files are renamed to their place in this order, and removed in the reverse order.
SUFFIXES = (DATA, INDEX, STATE)

CHUNK = 1 << 20  # bytes that are read at a time

# What a text raises that is not a run's state.
NOT_A_STATE = (
    *(ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError),
)

# Lines that TensorFlow writes to stderr when a save fails, before it raises an error.
SAVE_WARNINGS = re.compile(
    r"save_restore|local_rendezvous|checkpoint/save|list of allocated tensors|^\s*$"
)


class Checkpoint(NamedTuple):
    """A checkpoint whose files are complete.

    Attributes:
        prefix: the beginning of the files' paths, for `tf.train.Saver`.
        state: the run's state without the variables.
    """

    prefix: Path
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run.

    Args:
        run_folder: the run's folder.

    Attributes:
        folder: the folder of the checkpoints.
    """

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / FOLDER

    def save(
        self,
        state: dict[str, Any],
        write: Callable[[str], None],
        num_bytes: int,
        best_step: int | None,
    ) -> None:
        """Saves a checkpoint completely, or changes nothing.

        Removes older checkpoints, except the last few and the best one.

        Args:
            state: the run's state without the variables, with its `step`.
            write: writes TensorFlow's files to a prefix.
            num_bytes: the approximate size of TensorFlow's files.
            best_step: the step of the checkpoint to keep as the best, or `None`.

        Raises:
            CannotWrite: disk full, folder gone, not allowed.
            Diverged: `write` found weights that are not finite.
        """
        name = f"model.ckpt-{state['step']}"
        partial = self.folder / "partial"
        with writing(shown(self.folder)):
            self.folder.mkdir(exist_ok=True)
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()
            try:
                _reserve(partial / "reserved", num_bytes + SLACK)
                write(str(partial / name))
                files = {}
                for suffix in (DATA, INDEX):
                    synchronize(partial / (name + suffix))
                    files[suffix] = _seal(partial / (name + suffix))
                text = _with_digest({**state, "files": files})
                write_text(partial / (name + STATE), text)
                # Checkpoints of later steps were found damaged at the resumption.
                for step in self.steps():
                    if step >= state["step"]:
                        self._remove(step)
                for suffix in SUFFIXES:
                    os.replace(partial / (name + suffix), self.folder / (name + suffix))
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            synchronize(self.folder)
            self._tidy(best_step)

    def newest(
        self, misfit: Callable[[dict[str, Any]], str] = lambda state: ""
    ) -> tuple[Checkpoint | None, list[str]]:
        """Finds the newest checkpoint that can be used.

        Args:
            misfit: takes a state; returns why a run cannot continue from it, or "".

        Returns:
            The checkpoint, or `None` if no checkpoint can be used; and one line for
            each newer checkpoint that is damaged or does not fit, with its name and the
            problem.
        """
        problems: list[str] = []
        for step in reversed(self.steps()):
            found = self.read(step)
            if isinstance(found, Checkpoint):
                problem = misfit(found.state)
                if not problem:
                    return found, problems
                found = f"{shown(found.prefix)} does not fit: {problem}"
            problems.append(found)
        return None, problems

    def has_any(self) -> bool:
        """Whether a checkpoint was ever saved completely, even if it is damaged now."""
        return any(self.folder.glob("model.ckpt-*" + STATE))

    def read(self, step: int) -> Checkpoint | str:
        """Reads and checks a checkpoint.

        Args:
            step: the checkpoint's step.

        Returns:
            The checkpoint; if it is damaged, a line that says so.
        """
        prefix = self._prefix(step)
        try:
            state = _read_state(_with_suffix(prefix, STATE))
            if state["step"] != step:
                raise ValueError(f"it is the one of step {state['step']}")
            for suffix, expected in state["files"].items():
                path = _with_suffix(prefix, suffix)
                # The size first: a file that does not end is not read.
                if file_size(path) != expected["bytes"] or _seal(path) != expected:
                    raise ValueError(f"{path.name} is not what was written")
            return Checkpoint(prefix, state)
        except OSError as error:
            name = os.path.basename(error.filename or "")
            return f"{shown(prefix)} is incomplete ({name}: {error.strerror})"
        except ValueError as error:
            return f"{shown(prefix)} is damaged ({error})"

    def steps(self) -> list[int]:
        """The steps with files, in order, damaged checkpoints included."""
        pattern = re.compile(
            r"model\.ckpt-(\d+)(" + "|".join(map(re.escape, SUFFIXES)) + ")"
        )
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        matches = filter(None, map(pattern.fullmatch, names))
        return sorted({int(match.group(1)) for match in matches})

    def _tidy(self, best_step: int | None) -> None:
        """Names the latest and the best checkpoint, and removes superfluous ones."""
        steps = self.steps()
        whole = [s for s in steps if _with_suffix(self._prefix(s), STATE).exists()]
        kept = whole[-NUM_KEPT:]
        if not kept:  # the checkpoint that was just saved is gone, too
            raise CannotWrite(f"{shown(self.folder)}: cannot be written (it vanished)")
        if best_step is not None:
            kept = sorted({best_step, *kept})
            self._point(BEST_FILE, [best_step])
        elif (self.folder / BEST_FILE).exists():  # it names a damaged checkpoint
            (self.folder / BEST_FILE).unlink()
        self._point(LATEST_FILE, kept)
        for step in set(steps) - set(kept):
            self._remove(step)

    def _prefix(self, step: int) -> Path:
        """The beginning of the paths of a checkpoint's files."""
        return self.folder / f"model.ckpt-{step}"

    def _point(self, name: str, steps: list[int]) -> None:
        """Writes a file like TensorFlow's `checkpoint`, with relative paths."""
        prefixes = [f'"{self._prefix(step).name}"' for step in steps]
        lines = [f"model_checkpoint_path: {prefixes[-1]}"]
        lines += [f"all_model_checkpoint_paths: {prefix}" for prefix in prefixes]
        write_text(self.folder / name, "\n".join(lines) + "\n")

    def _remove(self, step: int) -> None:
        """Removes a checkpoint's files, first the one that marks it as complete."""
        for suffix in reversed(SUFFIXES):
            path = _with_suffix(self._prefix(step), suffix)
            if path.exists():
                path.unlink()


class Variables:
    """Saves and restores the global variables of a graph.

    Args:
        graph: the `tf.Graph`; ops to save and restore are added to it.
        session: a session of the graph.

    Attributes:
        num_bytes: size of all variables together, in bytes.
    """

    def __init__(self, graph: tf.Graph, session: tf.Session) -> None:
        self._session = session
        with graph.as_default(), tf.name_scope("checkpoint"):
            self._variables = tf.global_variables()
            self.num_bytes = sum(
                v.dtype.base_dtype.size * v.shape.num_elements()
                for v in self._variables
            )
            # `Checkpoints` decides which checkpoints to keep.
            self._saver = tf.train.Saver(self._variables, max_to_keep=0)
            numbers = [v for v in self._variables if v.dtype.base_dtype.is_floating]
            are_finite = [tf.reduce_all(tf.math.is_finite(v)) for v in numbers]
            self._are_finite = tf.reduce_all(tf.stack(are_finite))

    def write(self, prefix: str) -> None:
        """Writes TensorFlow's files of a checkpoint.

        Args:
            prefix: the beginning of the files' paths.

        Raises:
            CannotWrite: disk full, folder gone, not allowed.
            Diverged: a variable is infinite or not a number; nothing is written.
        """
        if not self._session.run(self._are_finite):
            raise Diverged("weights are no longer finite")
        has_failed = True

        def is_wanted(line):
            return not (has_failed and SAVE_WARNINGS.search(line))

        try:
            # A Saver refuses eager mode.
            with self._session.graph.as_default(), tf.stderr_held_back(is_wanted):
                self._saver.save(
                    self._session, prefix, write_meta_graph=False, write_state=False
                )
                has_failed = False
        except (tf.errors.OpError, ValueError) as error:
            # The Saver raises a ValueError if the folder has vanished.
            if isinstance(error, ValueError) and os.path.isdir(os.path.dirname(prefix)):
                raise
            reason = tensorflow_reason(error)
            raise CannotWrite(f"{shown(prefix)}: cannot be written ({reason})")

    def restore(self, checkpoint: Checkpoint) -> None:
        """Sets all variables to their values in a checkpoint.

        Args:
            checkpoint: a checkpoint from `Checkpoints`.

        Raises:
            UserError: the checkpoint is of another network, and the line names the
                differences; or it cannot be read.
        """
        prefix = str(checkpoint.prefix)
        try:
            reader = tf.train.NewCheckpointReader(prefix)
            saved = reader.get_variable_to_shape_map()
            types = reader.get_variable_to_dtype_map()
        except tf.errors.OpError as error:  # the files vanished after they were checked
            raise UserError(
                f"{shown(prefix)}: cannot be read ({tensorflow_reason(error)})"
            )
        built = {v.op.name: v.shape.as_list() for v in self._variables}
        differing = "; ".join(
            differences(saved, built)
            or differences(
                {name: dtype.name for name, dtype in types.items()},
                {v.op.name: v.dtype.base_dtype.name for v in self._variables},
            )
        )
        if differing:
            raise UserError(
                f"{shown(prefix)} is a checkpoint of another network: {differing}"
            )
        with self._session.graph.as_default():
            self._saver.restore(self._session, prefix)


def _reserve(path: Path, num_bytes: int) -> None:
    """Raises the `OSError` of a full disk, which TensorFlow does not report clearly."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, num_bytes)
    path.unlink()


def _with_suffix(prefix: Path, suffix: str) -> Path:
    """One of a checkpoint's files."""
    return prefix.with_name(prefix.name + suffix)


def _seal(path: Path) -> dict[str, int | str]:
    """The size and SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for part in iter(lambda: file.read(CHUNK), b""):
            digest.update(part)
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}


def _with_digest(state: dict[str, Any]) -> str:
    """A state as JSON text that holds its own digest."""
    text = json.dumps(state, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({**state, "sha256": digest}, indent=2, sort_keys=True) + "\n"


def _read_state(path: Path) -> dict[str, Any]:
    """Reads a text of `_with_digest`; raises a `ValueError` if it was changed."""
    content = read_small(path, MAX_TEXT_BYTES)
    try:
        state = json.loads(content.decode())
        del state["sha256"]
        is_whole = content.decode() == _with_digest(state) and _is_state(state)
    except NOT_A_STATE:  # cut off or changed beyond JSON, or not of a run
        is_whole = False
    if not is_whole:
        raise ValueError(f"{path.name} is not what was written")
    return state


def _is_state(state: dict[str, Any]) -> bool:
    """Whether a state has the form of a run's; if not, may raise a `NOT_A_STATE`."""
    Progress.from_state(state)
    seals = state["files"]
    return (
        set(seals) == {DATA, INDEX}
        and all(type(seal["bytes"]) is int for seal in seals.values())
        and are_sizes(state["log_sizes"])
        and isinstance(state["position"], dict)
        and isinstance(state["options"], dict)
    )
