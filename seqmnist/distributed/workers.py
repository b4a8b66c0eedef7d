"""A run of several workers: all do the same steps, each with its share of every batch.

Several workers compute the same result as one process. Each worker has all the weights,
and computes the gradient of its share of the batch. One all-reduce sums the gradients,
and every worker makes the same update with the sum. Worker 0, the chief, has the run's
folder. The processes communicate through TensorFlow's servers (`tf.train.Server`, gRPC)
and its op CollectiveReduce.

A collective operation waits for all workers. If a worker is lost, TensorFlow 1.15.5
waits for ever; 2.21 does so if the worker hangs. So a thread measures the time of
waiting, and ends the process after the timeout.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from argparse import Namespace
from typing import Any, ContextManager, Iterator, Mapping, Sequence

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.cli import options
from seqmnist.distributed.cluster import (
    Cluster,
    check_port,
    code_digest,
    connection_error,
    read_cluster,
)
from seqmnist.distributed.rendezvous import FACTS, Rendezvous
from seqmnist.distributed.watchdog import Watchdog
from seqmnist.errors import Interrupted, LostWorker, UserError, differences
from seqmnist.record.tally import Tally
from seqmnist.run.one_worker import OneWorker
from seqmnist.run.signals import StopSignals

# Numbers of the collective operations, the same on all workers.
UPDATE, EVALUATION, WEIGHTS, COARSE_UPDATE = 1, 2, 3, 4

TALLIED = ("loss", "correct", "count")

ENDING_SECONDS = 5.0


def find_workers(config: Namespace, data_digest: str, script: str | None) -> OneWorker:
    """Makes this process one of the workers in the variable TF_CONFIG.

    Args:
        config: the run's configuration.
        data_digest: the digest of the data.
        script: the SHA-256 of the script's file, if it has one.

    Returns:
        The worker, to use as a context; a `OneWorker` if TF_CONFIG names no other
        worker.

    Raises:
        UserError: TF_CONFIG is malformed, or a batch has fewer images than there are
            workers.
    """
    cluster = read_cluster(os.environ)
    if cluster is None:
        return OneWorker()
    num_workers = len(cluster.addresses)
    if config.batch_size < num_workers:
        raise UserError(
            f"--batch-size {config.batch_size}: each of the {num_workers} workers in "
            f"TF_CONFIG needs an image of every batch; expected {num_workers} or more"
        )
    # TensorFlow prints warnings about steps that ended normally, and many lines about a
    # lost worker, for which it raises an error too.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    facts = {
        "TF_CONFIG's workers": cluster.addresses,
        "code": code_digest(script),
        "data": data_digest,
        **options.shared(config),
    }
    return Workers(cluster, config.worker_timeout, facts)


class Workers(OneWorker):
    """One of several workers.

    Args:
        cluster: the workers.
        timeout: seconds to wait for another worker, at the start and in each step.
        facts: name -> value that all workers must share, as JSON can hold it; the
            version of TensorFlow is added.
    """

    def __init__(
        self, cluster: Cluster, timeout: float, facts: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.size, self.index = len(cluster.addresses), cluster.task_index
        self._addresses = cluster.addresses
        self._timeout = timeout
        self._facts = facts
        self._advice = "start all workers again"
        self._is_stopping = False
        self._stop: dict[bool, tf.Tensor] = {}
        self._num_stopping: dict[bool, tf.Tensor] = {}
        self._rendezvous: Rendezvous | None = None
        self._watchdog = Watchdog(self._lost)

    @property
    def is_stopping(self) -> bool:
        return self._is_stopping

    @property
    def description(self) -> str:
        own = self._addresses[self.index]
        return (
            f"{self.size}, this is {self.index} at {own}; whoever reaches such a port "
            "commands the process (docs/workers.md, Security)"
        )

    def heed(self, signals: StopSignals, advice: str) -> None:
        super().heed(signals, advice)
        self._advice = advice

    def session(self, graph: tf.Graph, config: tf.ConfigProto | None) -> tf.Session:
        config = tf.ConfigProto() if config is None else config
        # Without a filter, a session waits for ever for workers that do not run.
        config.device_filters.append(f"/job:worker/task:{self.index}")
        leader = "/job:worker/replica:0/task:0"
        config.experimental.collective_group_leader = leader
        check_port(self._addresses[self.index])
        _pass_proxies_by(self._addresses)
        try:
            server = tf.train.Server(
                tf.train.ClusterSpec({"worker": self._addresses}),
                job_name="worker",
                task_index=self.index,
                config=config,
            )
        except tf.errors.OpError as error:
            raise UserError(
                f"TF_CONFIG: TensorFlow cannot serve at {self._addresses[self.index]} "
                f"({str(error).splitlines()[0]}); give this worker another address"
            )
        self._rendezvous = Rendezvous(
            addresses=self._addresses,
            index=self.index,
            server=server,
            timeout=self._timeout,
            watched=self._watching_chief,
        )
        self._compare()
        return tf.Session(server.target, graph=graph, config=config)

    def all_reduce(
        self, tensors: Sequence[tf.Tensor], is_coarse: bool = False
    ) -> Sequence[tf.Tensor]:
        shapes = [tensor.shape.as_list() for tensor in tensors]
        stop = tf.placeholder_with_default(tf.zeros([1]), [1], "stop")
        flat = tf.concat([tf.reshape(t, [-1]) for t in tensors] + [stop], 0)
        # One operation for all tensors: each operation costs some milliseconds, however
        # small it is.
        flat = self._collective_reduce(flat, COARSE_UPDATE if is_coarse else UPDATE)
        sizes = [int(np.prod(shape)) for shape in shapes]
        *parts, num_stopping = tf.split(flat, [*sizes, 1])
        self._stop[is_coarse], self._num_stopping[is_coarse] = stop, num_stopping
        return [tf.reshape(part, shape) for part, shape in zip(parts, shapes)]

    def run(
        self,
        session: tf.Session,
        fetches: Any,
        feed: Mapping[tf.Tensor, np.ndarray],
        is_coarse: bool = False,
    ) -> Any:
        stop = [float(self.stop_number is not None)]
        with self._waiting():
            values, num = session.run(
                [fetches, self._num_stopping[is_coarse]],
                {**feed, self._stop[is_coarse]: stop},
            )
        self._is_stopping = num[0] > 0
        return values

    def prepare(self, variables: Sequence[tf.Variable]) -> None:
        with tf.name_scope("workers"):
            values = [variable.read_value() for variable in variables]
            # As integers, where the sum of a number and zeros has the same bits.
            bits = [tf.reshape(tf.bitcast(value, tf.int32), [-1]) for value in values]
            flat = tf.concat(bits, 0)
            if self.index:
                flat = tf.zeros_like(flat)
            flat = self._collective_reduce(flat, WEIGHTS)
            sizes = [bit.shape.num_elements() for bit in bits]
            parts = tf.split(flat, sizes)
            self._broadcast = tf.group(
                *[
                    tf.assign(variable, _from_bits(part, value))
                    for variable, part, value in zip(variables, parts, values)
                ]
            )
            self._found = tf.placeholder(tf.float64, [None], "found")
            self._all_found = self._collective_reduce(self._found, EVALUATION)

    def broadcast(self, session: tf.Session) -> None:
        with self._waiting():
            session.run(self._broadcast)

    def gather_evaluation(
        self, session: tf.Session, tally: Tally, logits: np.ndarray, count: int
    ) -> tuple[Tally, np.ndarray]:
        all_logits = np.zeros([count, logits.shape[1]])
        all_logits[self.share(count)] = logits
        found = [tally.state()[name] for name in TALLIED]
        with self._waiting():
            found = session.run(
                self._all_found,
                {self._found: np.concatenate([found, all_logits.ravel()])},
            )
        loss, correct, number = found[: len(TALLIED)]
        total = {"loss": float(loss), "correct": int(correct), "count": int(number)}
        all_logits = found[len(TALLIED) :].reshape(all_logits.shape)
        return Tally.from_state(total), all_logits.astype(np.float32)

    def barrier(self) -> None:
        if self._rendezvous is not None:
            self._rendezvous.barrier()
            self._rendezvous = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc_info: object) -> None:
        error = exc_info[1]
        if error is None or isinstance(error, Interrupted):
            self.barrier()
        self._watchdog.close()

    def _collective_reduce(self, tensor: tf.Tensor, number: int) -> tf.Tensor:
        """The sum of a vector over all workers."""
        return tf.raw_ops.CollectiveReduce(
            input=tensor,
            group_size=self.size,
            group_key=1,
            instance_key=number,
            merge_op="Add",
            final_op="Id",
            subdiv_offsets=[0],
            wait_for=[],
        )

    def _compare(self) -> None:
        """Compares the facts of all workers with the chief's; raises if they differ."""
        assert self._rendezvous is not None
        # Only now is TensorFlow loaded. JSON gives the facts the form of received ones.
        facts = json.loads(json.dumps({"TensorFlow": tf.VERSION, **self._facts}))
        if self.index:
            self._rendezvous.reach()
            answer = self._rendezvous.report(FACTS, facts)
            self.first_step = answer["first_step"]
            refused = answer["refused"]
        else:
            reports = self._rendezvous.collect(FACTS)
            refusals = [self._refused(i, reports[i], facts) for i in sorted(reports)]
            refused = "; ".join(filter(None, refusals))
            answer = {"refused": refused, "first_step": self.first_step}
            self._rendezvous.answer(answer)
        if refused:
            raise UserError(
                f"{refused}; give all workers the same options, data, code and "
                "TensorFlow"
            )

    def _refused(
        self, index: int, there: Mapping[str, object], here: Mapping[str, object]
    ) -> str:
        """The differences between a worker's facts and the chief's, in words, or ""."""
        differing = differences(there, here, "at worker 0")
        if not differing:
            return ""
        name = f"worker {index} ({self._addresses[index]})"
        return f"{name} is refused: {', '.join(differing)}"

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """A block in which this worker waits for others, at most for the timeout."""
        lost = (
            tf.errors.AbortedError,
            tf.errors.CancelledError,
            tf.errors.DeadlineExceededError,
            tf.errors.FailedPreconditionError,
            tf.errors.InternalError,
            tf.errors.UnavailableError,
        )
        try:
            with self._watchdog.during(
                self._timeout, self._find_lost, lambda: self._find_lost(OSError)
            ):
                yield
        except lost as error:
            # A process that is about to end still accepts connections for a moment.
            deadline = time.monotonic() + ENDING_SECONDS
            reason = self._find_lost()
            while not reason and time.monotonic() < deadline:
                time.sleep(0.1)
                reason = self._find_lost()
            reason = reason or f"the others: {error.message.strip()}"
            raise LostWorker(self._lost(reason))

    def _watching_chief(self) -> ContextManager[None]:
        """A block in which the chief has to run and to respond."""

        def find_lost() -> str:
            return self._find_lost(chief_only=True)

        def find_silent() -> str:
            return f"worker 0 ({self._addresses[0]})"

        return self._watchdog.during(self._timeout, find_lost, find_silent)

    def _find_lost(
        self, kind: type[OSError] = ConnectionRefusedError, chief_only: bool = False
    ) -> str:
        """Names workers that have ended, or with `OSError` are out of reach; or ""."""
        found = []
        others = [i for i in range(1 if chief_only else self.size) if i != self.index]
        for index in others:
            address = self._addresses[index]
            error = connection_error(address)
            if isinstance(error, kind):
                found.append(f"worker {index} ({address}: {error.strerror or error})")
        return ", ".join(found)

    def _lost(self, what: str) -> str:
        """The error's line for a lost worker."""
        return f"worker {self.index} of {self.size} lost {what}; {self._advice}"


def _from_bits(bits: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Converts bits as int32 to a tensor with dtype and shape of `like`."""
    shape = like.shape.as_list()
    if like.dtype.size == 8:  # two integers each
        shape = [*shape, 2]
    return tf.bitcast(tf.reshape(bits, shape), like.dtype)


def _pass_proxies_by(addresses: Sequence[str]) -> None:
    """Lets the workers reach each other without the machine's proxy for the web.

    gRPC takes `http_proxy` and `https_proxy` for its connections too, even to this
    machine, and reads the exceptions when it connects.
    """
    hosts = [address.rpartition(":")[0].strip("[]") for address in addresses]
    name = "no_grpc_proxy"
    known = os.environ.get(name) or os.environ.get("no_proxy")
    os.environ[name] = ",".join([known, *hosts] if known else hosts)
