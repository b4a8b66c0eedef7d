"""TF_CONFIG: what it may hold, and the line on what it may not."""

import json
import socket

import pytest

from seqmnist.distributed.cluster import (
    Cluster,
    check_port,
    code_digest,
    connection_error,
    read_cluster,
)
from seqmnist.errors import TryAgain, UserError

TWO = ["10.0.0.1:2222", "node-2.local:2222"]


def config(workers=None, task_type="worker", index=0):
    cluster = {"worker": TWO if workers is None else workers}
    return {"cluster": cluster, "task": {"type": task_type, "index": index}}


def read(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return read_cluster({"TF_CONFIG": text})


def test_a_worker_knows_the_others_and_itself():
    assert read(config(index=1)) == Cluster(TWO, 1)


@pytest.mark.parametrize("name", ["chief", "master"])
def test_a_platforms_chief_is_the_first_worker(name):
    cluster = {"worker": TWO, name: ["c:1"]}
    for kind, index, expected in ((name, 0, 0), ("worker", 0, 1), ("worker", "1", 2)):
        found = read({"cluster": cluster, "task": {"type": kind, "index": index}})
        assert found == Cluster(["c:1", *TWO], expected)
    alone = {"cluster": {name: ["c:1"]}, "task": {"type": name, "index": 0}}
    assert read(alone) is None


def test_an_index_may_be_text():
    assert read(config(index="1")) == Cluster(TWO, 1)


def test_an_address_may_be_ipv6():
    assert read(config(["[::1]:1", "[fe80::2]:2"])) == Cluster(
        ["[::1]:1", "[fe80::2]:2"], 0
    )


@pytest.mark.parametrize("value", ["", "  ", "{}", config(TWO[:1])])
def test_without_another_worker_there_is_no_cluster(value):
    assert read(value) is None


def test_without_the_variable_there_is_no_cluster():
    assert read_cluster({}) is None


@pytest.mark.parametrize(
    "value, problem",
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "has no object at cluster"),
        ('{"cluster": []}', "has no object at cluster"),
        ('{"cluster": {"worker": ["a:1"]}, "task": 3}', "has no object at task"),
        ('{"task": {"type": "worker", "index": 0}}', "no list of addresses"),
        (config([]), "no list of addresses"),
        (config("a:1"), "no list of addresses"),
        (config(["a:1", 7]), "has 7 as a worker's address"),
        (config(["a:1", "b"]), 'has "b" as'),
        (config(["a:1", "b:0"]), 'has "b:0" as'),
        (config(["a:1", "b:65536"]), 'has "b:65536" as'),
        (config(["a:1", "b c:1"]), 'has "b c:1" as'),
        (config(["a:1", "a:1"]), "has the address a:1 twice"),
        (config(task_type="ps"), 'has "ps" as task.type'),
        (config(task_type=None), "has null as task.type"),
        (config(index=2), "has 2 as task.index, and 2 tasks of type worker"),
        (config(task_type="chief"), "has 0 as task.index, and 0 tasks of type chief"),
        ({"cluster": {"chief": TWO}, "task": {}}, "names 2 chiefs"),
        (config(index=-1), "has -1 as task.index"),
        (config(index=True), "has true as task.index"),
        (config(index=None), "has null as task.index"),
        (config(index="x"), 'has "x" as task.index'),
        (
            {"cluster": {"worker": TWO, "ps": ["c:1"], "evaluator": ["d:1"]}},
            "names tasks of type evaluator, ps",
        ),
    ],
)
def test_what_is_malformed_is_one_line(value, problem):
    with pytest.raises(UserError) as caught:
        read(value)
    line = str(caught.value)
    assert line.startswith("TF_CONFIG ") and problem in line and "\n" not in line
    assert "expected {" in line


def test_a_port_in_use_is_refused_and_a_free_one_is_not():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TryAgain, match="cannot listen at port .* in use.*free"):
            check_port(address)
        assert connection_error(address) is None
    check_port(address)
    assert isinstance(connection_error(address), ConnectionRefusedError)


def test_the_digest_of_the_code_tells_scripts_apart():
    found = {code_digest(name) for name in ("train_rnn", "train_lstm", "train_rnn")}
    assert len(found) == 2 and all(len(digest) == 16 for digest in found)
