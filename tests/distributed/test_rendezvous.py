"""Messages among workers: who they are for, and what they are of."""

import contextlib
import threading

import pytest
from scripts import PATIENCE, wait_for

from seqmnist import tf1 as tf
from seqmnist.distributed import rendezvous
from seqmnist.distributed.rendezvous import END, FACTS, Rendezvous
from seqmnist.errors import LostWorker
from seqmnist.launching.group import free_addresses


@pytest.fixture
def meet(monkeypatch):
    """Makes the chief, and workers 1 as often as they are asked for."""
    monkeypatch.setattr(rendezvous, "FAREWELL_SECONDS", 0.5)
    addresses = free_addresses(2)
    cluster = tf.train.ClusterSpec({"worker": addresses})
    servers = [tf.train.Server(cluster, "worker", index) for index in range(2)]

    def make(index, timeout=PATIENCE):
        watched = contextlib.ExitStack
        return Rendezvous(addresses, index, servers[index], timeout, watched)

    return make


class Report(threading.Thread):
    """A worker that has sent its message and waits for the answer."""

    def __init__(self, worker, *message):
        super().__init__(daemon=True)
        self.worker, self.message, self.answer = worker, message, None
        self.start()

    def run(self):
        self.answer = self.worker.report(*self.message)

    def wait(self):
        self.join(PATIENCE)
        assert not self.is_alive()

    def end(self, chief):
        """So that it does not ask for an answer for ever."""
        chief._marks = {1: self.worker._mark}
        chief.answer(None)
        self.wait()


def size(chief, queues):
    """How many messages wait in the queue to or from worker 1."""
    with chief._session() as session:
        return session.run(queues[1].size)


def test_a_message_is_answered(meet):
    chief, report = meet(0), Report(meet(1), FACTS, {"units": 7})
    assert chief.collect(FACTS) == {1: {"units": 7}}
    chief.answer({"first_step": 3})
    report.wait()
    assert report.answer == {"first_step": 3}


def test_an_answer_to_one_that_has_gone_is_not_read_by_the_next(meet):
    chief, gone = meet(0), meet(1)
    chief._marks = {1: gone._mark}
    chief.answer("for the one before")  # who never reads it
    report = Report(meet(1), FACTS, "again")
    assert chief.collect(FACTS) == {1: "again"}
    chief.answer("for this one")
    report.wait()
    assert report.answer == "for this one"


def test_a_message_of_one_that_has_gone_does_not_count(meet, monkeypatch):
    def refused(address):
        return ConnectionRefusedError(111, "Connection refused")

    chief, report = meet(0, timeout=1.0), Report(meet(1), FACTS, "options")
    wait_for(lambda: size(chief, chief._to_chief), "the message")
    with monkeypatch.context() as patch:
        patch.setattr(rendezvous, "connection_error", refused)
        with pytest.raises(
            LostWorker, match=r"1 \(127.0.0.1:\d+: Connection refused\)"
        ):
            chief.collect(FACTS)
    assert report.is_alive()
    report.end(chief)


def test_one_that_begins_again_is_not_at_the_end(meet):
    chief, report = meet(0, timeout=1.0), Report(meet(1), FACTS, "begun again")
    wait_for(lambda: size(chief, chief._to_chief), "the message")
    with pytest.raises(LostWorker, match="worker 0 of 2 waited 1 seconds for worker 1"):
        chief.collect(END)
    assert size(chief, chief._to_chief) == 0  # it was read, and not answered
    assert size(chief, chief._from_chief) == 0
    assert report.is_alive() and report.answer is None
    report.end(chief)
