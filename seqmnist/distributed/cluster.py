"""The workers that train one network, from the environment variable TF_CONFIG.

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]},
                "task": {"type": "worker", "index": 0}}'

Users of TensorFlow, Kubernetes operators and launch.py set this variable for each
process, with the process's own index. Worker 0 is the chief: only the chief has a run
folder. Some platforms name it apart, as "chief" or "master", before the workers.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import socket
from pathlib import Path
from typing import Any, Mapping, NamedTuple

from seqmnist.errors import TryAgain, UserError, one_line

VARIABLE = "TF_CONFIG"
EXAMPLE = (
    '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
TASK_TYPES = ("chief", "master", "worker")
CONNECT_SECONDS = 2.0


class Cluster(NamedTuple):
    """The workers, and the index of this process among them.

    Attributes:
        addresses: the addresses of all workers, "host:port" each.
        task_index: the index of this worker, 0 to `len(addresses) - 1`.
    """

    addresses: list[str]
    task_index: int


def read_cluster(environ: Mapping[str, str]) -> Cluster | None:
    """Reads the variable TF_CONFIG.

    Args:
        environ: the environment variables.

    Returns:
        The cluster; `None` if the variable is missing or empty, or names only this
        worker.

    Raises:
        UserError: the variable does not have the form in the module's docstring.
    """
    text = environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(f"is no JSON ({error})")
    cluster, task = _member(value, "cluster"), _member(value, "task")
    if not cluster and not task:
        return None
    others = sorted(str(kind) for kind in cluster if kind not in TASK_TYPES)
    if others:
        raise _bad(f"names tasks of type {', '.join(others)}, and all must train")
    lists = {name: cluster.get(name, []) for name in TASK_TYPES}
    for name, addresses in lists.items():
        if not isinstance(addresses, list):
            raise _bad(f"has no list of addresses at cluster.{name}")
    chiefs = lists["chief"] + lists["master"]
    if len(chiefs) > 1:
        raise _bad(f"names {len(chiefs)} chiefs")
    addresses = chiefs + lists["worker"]
    if not addresses:
        raise _bad("has no list of addresses at cluster.worker")
    for address in addresses:
        if not isinstance(address, str) or not _is_address(address):
            raise _bad(f"has {json.dumps(address)} as a worker's address")
    for address in addresses:
        if addresses.count(address) > 1:
            raise _bad(f"has the address {address} twice")
    kind, index = task.get("type"), task.get("index")
    if kind not in TASK_TYPES:
        raise _bad(f"has {json.dumps(kind)} as task.type")
    if isinstance(index, str) and re.fullmatch("[0-9]{1,9}", index):
        index = int(index)  # some operators write the index as a string
    if type(index) is not int or not 0 <= index < len(lists[kind]):
        raise _bad(
            f"has {json.dumps(task.get('index'))} as task.index, and "
            f"{len(lists[kind])} tasks of type {kind}"
        )
    if kind == "worker":
        index += len(chiefs)
    return Cluster(addresses, index) if len(addresses) > 1 else None


def code_digest(script: str | None) -> str:
    """A digest of this version of the code.

    Args:
        script: the SHA-256 of the script's file, if it has one.

    Returns:
        The first 16 digits of the SHA-256, in hexadecimal, of the script and of all
        modules of this package.
    """
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(str(script).encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def check_port(address: str) -> None:
    """Checks that a server can listen at the port of an address.

    TensorFlow's server would share a port with another server, and both would fail
    later.

    Args:
        address: the address of this worker.

    Raises:
        TryAgain: the port is in use.
    """
    _, port = _split(address)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise TryAgain(
                f"{VARIABLE}: this worker cannot listen at port {port} of {address} "
                f"({error.strerror}); give it a free port, or stop the process that "
                "has this one"
            )


def connection_error(address: str) -> OSError | None:
    """The error of a connection to an address.

    Args:
        address: the address of a worker.

    Returns:
        The error; `None` if a process listens at the address. `ConnectionRefusedError`
        means that no process listens; other errors may be temporary.
    """
    try:
        socket.create_connection(_split(address), CONNECT_SECONDS).close()
    except OSError as error:
        return error
    except UnicodeError:  # the name cannot be a host's
        return OSError(errno.EINVAL, "no host's name")
    return None


def _split(address):
    """Host and port of an address; an IPv6 host is in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _is_address(address):
    """Whether a text is "host:port"."""
    match = re.fullmatch(r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", address)
    return match is not None and 0 < int(match.group(2)) < 65536


def _member(value: object, name: str) -> dict[str, Any]:
    """A member of TF_CONFIG that has to be an object; empty if it is missing."""
    member = value.get(name, {}) if isinstance(value, dict) else None
    if not isinstance(member, dict):
        raise _bad(f"has no object at {name}")
    return member


def _bad(what: str) -> UserError:
    """The error for a malformed variable."""
    return UserError(
        one_line(
            f"{VARIABLE} {what}; expected {EXAMPLE}, or no such variable for one worker"
        )
    )
