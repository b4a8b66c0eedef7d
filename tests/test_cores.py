"""How processes share the cores."""

import os

import pytest

from seqmnist import cores


def test_cores_are_shared_out(monkeypatch):
    if not cores.CAN_CHOOSE:
        pytest.skip("cores cannot be chosen here")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3, 5, 8})
    assert cores.num_cores() == 4
    found = [cores.cores_of(i, 3) for i in range(3)]
    assert found == [[2], [3], [5, 8]]
    assert [cores.cores_of(i, 6) for i in range(6)] == [[c] for c in (2, 3, 5, 8, 2, 3)]
