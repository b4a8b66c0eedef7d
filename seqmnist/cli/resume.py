"""The options of a resumed run: read from config.json, and compared with given ones."""

from __future__ import annotations

import os
from typing import Any, Callable, Mapping, Sequence

from seqmnist.cli.options import BY_NAME, DEFAULTS, MAY_CHANGE, MAY_GROW, as_text, flag
from seqmnist.cli.types import ALL
from seqmnist.errors import UserError
from seqmnist.record.folder import CONFIG_FILE, read_config


def recorded_options(
    parse: Callable[[str, Sequence[str]], dict[str, Any]],
    script: str,
    folder: str,
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Reads the options in a run's config.json, and checks them like typed options.

    An option that is missing in config.json, since the run is older, has its default.

    Args:
        parse: takes the beginning of an error's line, and words of a command line;
            returns the words' values.
        script: the script that resumes the run.
        folder: the run's folder.
        values: the script's options and their defaults.

    Returns:
        Option -> value.

    Raises:
        UserError: config.json cannot be read, is another script's, or has no length of
            the run.
    """
    record = read_config(folder)
    if record.get("script") != script:
        raise UserError(
            f"--resume {folder}: a run of {record.get('script')}.py; resume it with "
            "that script"
        )
    found = {name: record.get(name, value) for name, value in values.items()}
    # These do not fall back to the defaults: the folder, the length, the window.
    found.update(
        {"resume": None, "show": False},
        epochs=record.get("epochs"),
        steps=record.get("steps"),
    )
    words = [f"--preset={record.get('preset')}"]
    for name, value in found.items():
        if isinstance(value, list) and isinstance(values[name], list):
            if any(str(item).startswith("-") for item in value):
                raise UserError(
                    f"--resume {folder}: {CONFIG_FILE} has {name} {value}; expected "
                    f"what {flag(name)} takes; restore the file that was changed"
                )
            words += [flag(name), *map(str, value)]
        elif name != "show" and (
            value is not None or DEFAULTS.get(name, "") is not None
        ):
            words.append(f"{flag(name)}={value}")
    parsed = parse(f"{os.path.join(folder, CONFIG_FILE)}: ", words)
    if (parsed.get("epochs") is None) == (parsed.get("steps") is None):
        raise UserError(f"--resume {folder}: {CONFIG_FILE} has no length of the run")
    return {**found, **parsed}


def merged(values: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merges a run's options with those given together with --resume.

    Raises:
        UserError: a given option would change the run; the line names all such options.
    """
    given = dict(given)
    if "evaluate_splits" in given:
        given["evaluate_splits"] = list(dict.fromkeys(given["evaluate_splits"]))
    for name in given:
        if name in BY_NAME and BY_NAME[name].is_path:
            given[name] = os.path.abspath(given[name])
    changed = [
        f"{flag(name)} {as_text(value)} (the run has {as_text(values[name])})"
        for name, value in given.items()
        if name not in MAY_CHANGE | MAY_GROW  # run/opening.py looks at the length
        and name != "resume"
        and value != values[name]
        # run/opening.py compares the length of the run with the recorded decay steps.
        and (name, value) != ("decay_steps", ALL)
    ]
    if changed:
        raise UserError(
            f"--resume {given['resume']}: would be another run with "
            f"{', '.join(changed)}; leave out what differs, or start a new run with "
            "--init-checkpoint"
        )
    if not MAY_GROW.isdisjoint(given):
        before = {name: values[name] for name in MAY_GROW}
        values = {**values, **dict.fromkeys(MAY_GROW), "grown_from": before}
    return {**values, **given}
