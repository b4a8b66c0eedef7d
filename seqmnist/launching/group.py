"""The workers of one training on this machine, restarted together when one is lost."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sys
from typing import Iterator, Sequence

from seqmnist.distributed.cluster import VARIABLE
from seqmnist.errors import Diverged, LostWorker, UserError
from seqmnist.launching.processes import (
    Child,
    Signals,
    cores_of,
    find_script,
    wait,
)

RUN_FOLDER = "run folder: "  # how the chief tells where it is
GRACE_SECONDS = 15.0  # for the others to end by themselves when one has


def run_workers(num_workers: int, command: Sequence[str], restarts: int) -> int:
    """Trains with several workers.

    Args:
        num_workers: 2 or more.
        command: the script and its arguments.
        restarts: how often to start all of them again when one is lost.

    Returns:
        0, or the status of the worker that failed first.

    Raises:
        UserError: the script is none of the project's.
    """
    script, *arguments = command
    group = _Group(num_workers, [find_script(script), *arguments])
    with Signals() as signals:
        for restart in range(restarts + 1):
            status = group.run(signals)
            final = (0, UserError.status, Diverged.status)
            if status in final or signals.number is not None or group.is_stopped:
                return status
            if restart < restarts:
                _say(
                    f"worker {group.first} ended with status {status}; all start "
                    f"again: {' '.join(group.command)} (restart {restart + 1} of "
                    f"{restarts})"
                )
        _say(f"worker {group.first} ended with status {status}; no restart is left")
    return status


class _Group:
    """Workers that begin and end together.

    Args:
        num_workers: how many.
        command: the script and its arguments.

    Attributes:
        command: what they are started with next.
        first: who ended first with another status than 0.
        is_stopped: whether that was by a signal that it obeyed.
    """

    def __init__(self, num_workers: int, command: list[str]) -> None:
        self.num_workers = num_workers
        self.command = command
        self.first = 0
        self.is_stopped = False

    def run(self, signals: Signals) -> int:
        """Starts all workers and waits for their end.

        Args:
            signals: by which they are stopped.

        Returns:
            0, or the status of the worker that failed first.
        """
        with _free_ports(self.num_workers) as ports:
            addresses = [f"127.0.0.1:{port}" for port in ports]
        _say(
            f"{self.num_workers} workers at {', '.join(addresses)}. TensorFlow's "
            "servers listen on all interfaces and ask for no password: see to it that "
            "no other machine reaches these ports"
        )
        children = [self._start(index, addresses) for index in range(self.num_workers)]
        signals.children = children
        if signals.number is not None:  # it came before they were there
            for child in children:
                child.send(signals.number)
        status = self._wait(children)
        for child in children:
            child.finish()
        return status

    def _start(self, index: int, addresses: Sequence[str]) -> Child:
        """Starts a worker."""
        cluster = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
        return Child(
            self.command,
            f"[{index}] ",
            cores_of(index, self.num_workers),
            {VARIABLE: json.dumps(cluster)},
            self._notice if index == 0 else lambda line: None,
        )

    def _notice(self, line: str) -> None:
        """From now on, the run in the chief's folder is to be resumed."""
        if line.startswith(RUN_FOLDER):
            folder = line[len(RUN_FOLDER) :]
            self.command = [self.command[0], "--resume", folder]

    def _wait(self, children: Sequence[Child]) -> int:
        """Waits for all; ends those that are left when one has failed."""

        def failed() -> list[int]:
            return [i for i, child in enumerate(children) if child.status]

        wait(lambda: bool(failed()) or all(c.status is not None for c in children))
        if not failed():
            return 0
        # Who lost another worker has not failed first.
        self.first = min(
            failed(), key=lambda i: children[i].status == LostWorker.status
        )
        status = children[self.first].status
        assert status is not None
        stopped = [128 + number for number in (signal.SIGINT, signal.SIGTERM)]
        self.is_stopped = status in stopped
        # Those that were told to stop are given the time they need.
        seconds = float("inf") if self.is_stopped else GRACE_SECONDS
        if not wait(lambda: all(c.status is not None for c in children), seconds):
            for child in children:
                if child.status is None:
                    child.send(signal.SIGKILL)
        return status


@contextlib.contextmanager
def _free_ports(count: int) -> Iterator[list[int]]:
    """Ports that nobody listens at; they are kept until the block ends."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        yield [each.getsockname()[1] for each in sockets]


def _say(text: str) -> None:
    """Says something to the user, beside what the workers say."""
    print(f"launch: {text}", file=sys.stderr, flush=True)
