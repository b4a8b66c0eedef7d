"""The workers of one training on this machine, restarted together when one is lost."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import socket
from typing import Sequence

from seqmnist.cores import cores_of
from seqmnist.distributed.cluster import VARIABLE
from seqmnist.errors import TryAgain
from seqmnist.launching.processes import (
    Child,
    Signals,
    say,
    wait,
)
from seqmnist.scripts import find_script

RUN_FOLDER = "run folder: "  # the beginning of the chief's line with the run's folder
GRACE_SECONDS = 15.0  # for the other workers to end after one has failed


def run_workers(num_workers: int, command: Sequence[str], restarts: int) -> int:
    """Trains with several workers.

    All workers are started again if one was killed, or lost another worker.

    Args:
        num_workers: the number of workers, 2 or more.
        command: the script and its arguments.
        restarts: the most times to start all workers again.

    Returns:
        0, or the status of the worker that failed first, if no restart is left or a
        restart would not help.

    Raises:
        UserError: the script is no training script.
    """
    script, *arguments = command
    group = _Group(num_workers, [find_script(script), *arguments])
    with Signals() as signals:
        for restart in range(restarts + 1):
            status = group.run(signals)
            if not group.is_lost or signals.number is not None:
                return status
            if restart < restarts:
                command = " ".join(map(shlex.quote, group.command))
                say(
                    f"worker {group.first} ended with status {status}; all start "
                    f"again: {command} (restart {restart + 1} of {restarts})"
                )
        say(f"worker {group.first} ended with status {status}; no restart is left")
    return status


class _Group:
    """Workers that begin and end together.

    Args:
        num_workers: the number of workers.
        command: the script and its arguments.

    Attributes:
        command: the command for the next start.
        first: the index of the worker that failed first, as far as known.
        is_lost: whether this worker was killed, or ended because it lost another one.
    """

    def __init__(self, num_workers: int, command: list[str]) -> None:
        self.num_workers = num_workers
        self.command = command
        self.first = 0
        self.is_lost = False

    def run(self, signals: Signals) -> int:
        """Starts all workers and waits for their end.

        Args:
            signals: the signals that stop the workers.

        Returns:
            0, or the status of the worker that failed first.
        """
        addresses = free_addresses(self.num_workers)
        say(
            f"{self.num_workers} workers at {', '.join(addresses)}. TensorFlow's "
            "servers listen on all interfaces and ask for no password: see to it that "
            "no other machine reaches these ports"
        )
        children = [
            signals.add(self._start(index, addresses))
            for index in range(self.num_workers)
        ]
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
        """Notes the chief's run folder; a restart resumes the run in it."""
        is_resumed = any(word.split("=")[0] == "--resume" for word in self.command)
        if line.startswith(RUN_FOLDER) and not is_resumed:
            folder = line[len(RUN_FOLDER) :]
            self.command = [self.command[0], "--resume", folder]

    def _wait(self, children: Sequence[Child]) -> int:
        """Waits for all workers; if one has failed, ends the others."""

        def failed() -> list[int]:
            return [i for i, child in enumerate(children) if child.status]

        def all_ended() -> bool:
            return all(child.status is not None for child in children)

        wait(lambda: bool(failed()) or children[0].status is not None)
        # A worker that lost another one has not failed first.
        self.first = min(
            failed(), key=lambda i: children[i].status == TryAgain.status, default=0
        )
        first = children[self.first]
        status = first.status or 0
        self.is_lost = first.was_killed or status == TryAgain.status
        # After a signal to stop, the workers get all the time they need.
        is_stopped = status in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        if not wait(all_ended, float("inf") if is_stopped else GRACE_SECONDS):
            for child in children:
                if child.status is None:
                    child.send(signal.SIGKILL)
        return status


def free_addresses(count: int) -> list[str]:
    """Finds `count` different free addresses on this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
