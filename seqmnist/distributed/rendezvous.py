"""Messages between workers before the first step and after the last."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from typing import Any, Callable, ContextManager, Sequence

from seqmnist import tf1 as tf
from seqmnist.distributed.cluster import connection_error
from seqmnist.errors import LostWorker

POLL_SECONDS = 0.05
FAREWELL_SECONDS = 10.0

# Kinds of messages: the facts that all workers must share, and the end of a worker.
FACTS, END = "facts", "end"


class Rendezvous:
    """Messages between the chief and each other worker.

    Messages pass through queues at the chief. Workers of any TensorFlow version can
    read and fill the queues, whereas a collective operation between different versions
    would crash. A message has its kind and the sender's mark. The answer has the same
    mark, since an earlier process of the same index may have left messages.

    Args:
        addresses: the addresses of all workers.
        index: the index of this worker.
        server: this worker's `tf.train.Server`.
        timeout: seconds to wait for a worker.
        watched: makes a context in which this process ends if the chief is lost.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        index: int,
        server: tf.train.Server,
        timeout: float,
        watched: Callable[[], ContextManager[None]],
    ) -> None:
        self._addresses, self._index, self._timeout = addresses, index, timeout
        self._watched = watched
        self._mark = os.urandom(8).hex()
        self._marks: dict[int, str] = {}
        self._target = f"grpc://{addresses[0]}" if index else server.target
        self._graph = tf.Graph()
        others = range(1, len(addresses))
        with self._graph.as_default(), tf.device("/job:worker/task:0/cpu:0"):
            text = self._text = tf.placeholder(tf.string, [])
            self._to_chief = {i: _Queue(f"to_chief_{i}", text) for i in others}
            self._from_chief = {i: _Queue(f"from_chief_{i}", text) for i in others}
        self._config = tf.ConfigProto(device_filters=["/job:worker/task:0"])

    def reach(self) -> None:
        """Waits until the chief can be reached. For all but the chief.

        Raises:
            LostWorker: the chief cannot be reached in time.
        """
        deadline = time.monotonic() + self._timeout
        while connection_error(self._addresses[0]) is not None:
            self._check(deadline, [0], "it can be reached only now")
            time.sleep(POLL_SECONDS)

    def report(self, kind: str, message: Any = None) -> Any:
        """Sends the chief a message; returns the answer. For all but the chief.

        Waits as long as the chief runs and responds to requests.
        """
        with contextlib.ExitStack() as stack:
            # Without a chief, closing the session takes long.
            stack.enter_context(self._watched())
            session = stack.enter_context(self._session())

            def run(fetch, feed=None):
                with self._watched():
                    try:
                        return session.run(fetch, feed)
                    except tf.errors.OpError:
                        threading.Event().wait()  # the watchdog ends the process

            text = json.dumps([self._mark, kind, message])
            run(self._to_chief[self._index].put, {self._text: text})
            queue = self._from_chief[self._index]
            while True:
                while not run(queue.size):
                    time.sleep(POLL_SECONDS)
                mark, answer = json.loads(run(queue.get))
                if mark == self._mark:
                    return answer

    def collect(self, kind: str) -> dict[int, Any]:
        """Collects the last message of each other worker. For the chief.

        Messages of lost workers and of another kind do not count. A worker that was
        started again sends another kind, and has to wait until the chief ends.

        Raises:
            LostWorker: some workers did not send a message, or cannot be reached.
        """
        deadline = time.monotonic() + self._timeout
        messages: dict[int, Any] = {}
        with self._session() as session:
            while len(messages) < len(self._to_chief):
                for index, queue in self._to_chief.items():
                    while session.run(queue.size):
                        text = session.run(queue.get)
                        mark, found, message = json.loads(text)
                        if found == kind:
                            self._marks[index], messages[index] = mark, message
                    if connection_error(self._addresses[index]) is not None:
                        messages.pop(index, None)
                missing = sorted(set(self._to_chief) - set(messages))
                if missing:
                    self._check(deadline, missing, "it has not begun")
                    time.sleep(POLL_SECONDS)
        return messages

    def answer(self, message: Any) -> None:
        """Sends a message to each other worker; waits a while until all are read."""
        deadline = time.monotonic() + FAREWELL_SECONDS
        with self._session() as session:
            for index, queue in self._from_chief.items():
                text = json.dumps([self._marks[index], message])
                session.run(queue.put, {self._text: text})
            sizes = [queue.size for queue in self._from_chief.values()]
            while any(session.run(sizes)) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)

    def barrier(self) -> None:
        """Waits until all workers are at the end.

        The chief waits only a while, and ends last. So a restart finds all workers, and
        no session is left without its chief.
        """
        if self._index:
            self.report(END)
            return
        self._timeout = FAREWELL_SECONDS
        with contextlib.suppress(LostWorker):
            self.collect(END)
            self.answer(None)
            deadline = time.monotonic() + FAREWELL_SECONDS
            for address in self._addresses[1:]:
                while connection_error(address) is None and time.monotonic() < deadline:
                    time.sleep(POLL_SECONDS)

    def _session(self) -> tf.Session:
        """Opens a session on the chief's server."""
        return tf.Session(self._target, graph=self._graph, config=self._config)

    def _check(self, deadline: float, missing: Sequence[int], reason: str) -> None:
        """Raises `LostWorker` after the deadline."""
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

    def __init__(self, name: str, text: tf.Tensor) -> None:
        queue = tf.FIFOQueue(16, [tf.string], [[]], shared_name=name)
        self.put, self.get, self.size = (
            queue.enqueue(text),
            queue.dequeue(),
            queue.size(),
        )
