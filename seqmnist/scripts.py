"""Training scripts, the suite's and one's own: their files, interface and digest.

A training script has at its top level what train_rnn.py has: `DEFAULTS` and `PRESETS`
of its options, and the functions `network`, `loss` and `optimizer`. predict.py and
launch.py serve every such script.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Callable, Iterator

from seqmnist.errors import UserError
from seqmnist.paths import PROJECT_DIR, read_small

MAX_BYTES = 10_000_000  # a larger file is no script

INTERFACE = ("DEFAULTS", "PRESETS", "network", "loss", "optimizer")


def find_script(name: str) -> str:
    """The path of a training script; the script is read, but not run.

    Args:
        name: the name or path on the command line.

    Returns:
        The path if it exists, else, for a name without a folder, the path of the script
        in the project.

    Raises:
        UserError: there is no such file, or it is no training script.
    """
    path = Path(name)
    in_project = PROJECT_DIR / path.name
    if name == path.name and not os.path.exists(path) and os.path.exists(in_project):
        path = in_project
    if path.suffix != ".py" or not os.path.isfile(path):
        known = ", ".join(p.name for p in sorted(PROJECT_DIR.glob("train_*.py")))
        what = "no such" if not os.path.exists(path) else "no training"
        raise UserError(f"{name}: {what} script; expected {known}, or your own")
    try:
        text = read_small(path, MAX_BYTES)
        found = set(_top_level_names(ast.parse(text)))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name}: cannot be read as Python ({error})")
    except (MemoryError, RecursionError):  # both of Python's parser
        raise UserError(f"{name}: cannot be read as Python (it is nested too deeply)")
    missing = [word for word in INTERFACE if word not in found]
    if missing:
        raise UserError(
            f"{name}: no training script, as it has no {', '.join(missing)} at its top "
            "level; train_rnn.py shows what one has"
        )
    return str(path)


def _top_level_names(module: ast.Module) -> Iterator[str]:
    """The names that a module assigns, defines or imports at its top level."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def load_script(path: str) -> ModuleType:
    """Imports a script from its file; modules beside the file can be imported too.

    Args:
        path: a path from `find_script`.

    Raises:
        UserError: the script fails, or ends the process, while it is imported.
    """
    folder = str(Path(path).resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    name = f"own_{Path(path).stem}"  # the suite's script may have the same name
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"{path}: cannot be imported ({type(error).__name__}: {error})")
    return module


def script_digest(network: Callable) -> str | None:
    """The SHA-256 of the file that defines a script's network, in hexadecimal.

    Args:
        network: the script's function.

    Returns:
        The digest; `None` if there is no such file, as for a cell of a notebook.
    """
    code = getattr(network, "__code__", None)
    path = Path(getattr(code, "co_filename", ""))
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
