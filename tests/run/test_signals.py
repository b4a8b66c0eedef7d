"""The signals that stop a run: which of them count."""

import os
import signal
import sys

import pytest
from scripts import wait_for

from seqmnist.run import signals
from seqmnist.run.signals import StopSignals


@pytest.mark.parametrize("echo_seconds, statuses", [(1e9, [143]), (0, [130, 143])])
def test_the_same_signal_at_once_does_not_count(
    echo_seconds, statuses, monkeypatch, capsys
):
    """As by `timeout`, which signals a process and its group."""
    ends = []
    monkeypatch.setattr(os, "_exit", ends.append)
    monkeypatch.setattr(signals, "ECHO_SECONDS", echo_seconds)
    with StopSignals("go on like this") as found:
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: found.number == signal.SIGINT, "the signal")
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: statuses[-1] in ends, "the end")
    assert ends == statuses
    err = capsys.readouterr().err
    assert err.startswith("\nSIGINT: finishing the step and saving; a second one")
    assert err.count("\nstopped at once; go on like this\n") == len(statuses)


class Unread:
    """A stderr that nobody reads any more."""

    def write(self, text):
        raise BrokenPipeError


def test_a_stderr_that_nobody_reads_is_no_obstacle(monkeypatch):
    """As when the launcher was killed."""
    ends = []
    monkeypatch.setattr(os, "_exit", ends.append)
    monkeypatch.setattr(signals, "ECHO_SECONDS", 0)
    monkeypatch.setattr(sys, "stderr", Unread())
    with StopSignals("") as found:
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: found.number == signal.SIGTERM, "the signal")
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: ends, "the end")
    assert ends == [143]
