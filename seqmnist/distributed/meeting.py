"""Messages among the workers before the first step and after the last."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Sequence

from seqmnist import tf1 as tf
from seqmnist.distributed.cluster import connection_error
from seqmnist.errors import LostWorker

POLL_SECONDS = 0.05
FAREWELL_SECONDS = 10.0


class Meeting:
    """Messages between the chief and each other worker, at the start and at the end.

    They pass through queues at the chief, which each worker of any TensorFlow can read
    and fill; a collective operation among different TensorFlows would crash.

    Args:
        addresses: of all workers.
        index: which of them this is.
        server: this worker's `tf.train.Server`.
        timeout: seconds to wait for a worker.
    """

    def __init__(
        self, addresses: Sequence[str], index: int, server: Any, timeout: float
    ) -> None:
        self._addresses, self._index, self._timeout = addresses, index, timeout
        self._target = f"grpc://{addresses[0]}" if index else server.target
        self._graph = tf.Graph()
        self._message: Any = None
        others = range(1, len(addresses))
        with self._graph.as_default(), tf.device("/job:worker/task:0/cpu:0"):
            self._message = tf.placeholder(tf.string, [])
            self._to_chief = {i: _Queue(f"to_chief_{i}", self._message) for i in others}
            self._from_chief = {
                i: _Queue(f"from_chief_{i}", self._message) for i in others
            }
        self._config = tf.ConfigProto(
            device_filters=["/job:worker/task:0"],
            operation_timeout_in_ms=int(1000 * timeout),
        )

    def reach(self) -> None:
        """Waits until the chief can be reached. For all but the chief."""
        deadline = time.monotonic() + self._timeout
        while connection_error(self._addresses[0]) is not None:
            self._check(deadline, [0], "it answers by now")
            time.sleep(POLL_SECONDS)

    def report(self, text: str) -> str:
        """Sends the chief a message; returns the answer. For all but the chief."""
        # The chief waits for the last worker as long as this one has for the chief.
        deadline = time.monotonic() + 2 * self._timeout
        with self._session() as session:
            session.run(self._to_chief[self._index].put, {self._message: text})
            queue = self._from_chief[self._index]
            while not session.run(queue.size):
                self._check(deadline, [0], "it does not answer")
                time.sleep(POLL_SECONDS)
            return session.run(queue.get).decode()

    def collect(self) -> dict[int, str]:
        """Waits for a message from each other worker. For the chief."""
        deadline = time.monotonic() + self._timeout
        messages: dict[int, str] = {}
        with self._session() as session:
            while len(messages) < len(self._to_chief):
                for index, queue in self._to_chief.items():
                    if index not in messages and session.run(queue.size):
                        messages[index] = session.run(queue.get).decode()
                missing = sorted(set(self._to_chief) - set(messages))
                if missing:
                    self._check(deadline, missing, "it has not begun")
                    time.sleep(POLL_SECONDS)
        return messages

    def answer(self, text: str) -> None:
        """Sends a message to each other worker, and waits until it is read."""
        deadline = time.monotonic() + FAREWELL_SECONDS
        with self._session() as session:
            for queue in self._from_chief.values():
                session.run(queue.put, {self._message: text})
            while time.monotonic() < deadline and any(
                session.run([queue.size for queue in self._from_chief.values()])
            ):
                time.sleep(POLL_SECONDS)

    def part(self) -> None:
        """Waits until all are here, for a while at most; the chief is the last to go.

        A session at a chief that has gone would take long to close.
        """
        self._timeout = FAREWELL_SECONDS
        with contextlib.suppress(LostWorker, tf.errors.OpError):
            if self._index:
                self.report("done")
                return
            self.collect()
            self.answer("done")
            deadline = time.monotonic() + FAREWELL_SECONDS
            others = self._addresses[1:]
            while any(connection_error(other) is None for other in others):
                self._check(deadline, [], "")
                time.sleep(POLL_SECONDS)

    def _session(self) -> Any:
        """A session at the chief."""
        return tf.Session(self._target, graph=self._graph, config=self._config)

    def _check(self, deadline: float, missing: Sequence[int], reason: str) -> None:
        """Raises `LostWorker` if it is too late."""
        if time.monotonic() < deadline:
            return
        names = []
        for index in missing:
            error = connection_error(self._addresses[index])
            why = reason if error is None else error.strerror or error
            names.append(f"worker {index} ({self._addresses[index]}: {why})")
        raise LostWorker(
            f"worker {self._index} of {len(self._addresses)} waited "
            f"{self._timeout:g} seconds for {', '.join(names)}; start them all within "
            "this time, with the same addresses in TF_CONFIG, or give a longer "
            "--worker-timeout"
        )


class _Queue:
    """A queue at the chief that all workers share by its name."""

    def __init__(self, name: str, message: Any) -> None:
        queue = tf.FIFOQueue(4, [tf.string], [[]], shared_name=name)
        self.put, self.get, self.size = (
            queue.enqueue(message),
            queue.dequeue(),
            queue.size(),
        )
