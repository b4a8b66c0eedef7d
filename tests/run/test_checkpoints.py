"""Checkpoints: all of it or nothing, the last few and the best, damage found."""

import json
import os

import numpy as np
import pytest
from made_network import Network

from seqmnist import tf1 as tf
from seqmnist.errors import CannotWrite, Diverged, UserError
from seqmnist.run import checkpoints as module
from seqmnist.run.checkpoints import SUFFIXES, Checkpoint, Checkpoints
from seqmnist.run.progress import Progress


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def store(tmp_path):
    return Checkpoints(tmp_path)


def state_of(step):
    """The state of a run after some steps, as a recorder makes it."""
    facts = {"position": {}, "options": {}, "log_sizes": {"metrics.csv": 57}}
    return {**Progress(step).state(), **facts}


def save(store, network, step, best_step=None):
    network.fill(step)
    state = {**state_of(step), "note": "half = 0.5"}
    variables = network.variables
    store.save(state, variables.write, variables.num_bytes, best_step)


def files(store):
    return {path.name: path.read_bytes() for path in store.folder.iterdir()}


def test_what_was_saved_is_restored(store, network):
    save(store, network, 7)
    network.fill(1)
    found, damaged = store.newest()
    assert (found.state["step"], found.state["note"]) == (7, "half = 0.5")
    assert damaged == []
    network.variables.restore(found)
    assert network.values() == [[7], [7], [7]]


def test_the_last_three_and_the_best_are_kept(store, network):
    for step in (0, 10, 20, 30, 40, 50):
        save(store, network, step, best_step=10 if step >= 10 else None)
    assert store.steps() == [10, 30, 40, 50]
    assert {name.split(".")[0] for name in files(store)} == {
        *("model", "checkpoint", "best")
    }


def test_tensorflow_finds_the_latest_and_the_best(store, network):
    for step in (10, 20, 30):
        save(store, network, step, best_step=20 if step >= 20 else None)
    folder = str(store.folder)
    assert tf.train.latest_checkpoint(folder).endswith("model.ckpt-30")
    best = tf.train.latest_checkpoint(folder, "best")
    assert tf.train.NewCheckpointReader(best).get_tensor("bias").tolist() == [20] * 3


def test_other_files_are_left_alone(store, network):
    save(store, network, 0)
    mine = ["model.ckpt-1.txt", "my.ckpt-1.index", "model.ckpt-x.json", "notes"]
    for name in mine:
        (store.folder / name).write_text("mine")
    for step in range(1, 9):
        save(store, network, step)
    assert {name for name, text in files(store).items() if text == b"mine"} == {*mine}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("damage", ["truncated", "emptied", "flipped", "missing"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    suffix, damage, store, network
):
    for step in (1, 2):
        save(store, network, step)
    path = store.folder / f"model.ckpt-2{suffix}"
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        if damage == "flipped":
            content[len(content) // 2] ^= 4
        path.write_bytes(content[: {"truncated": -1, "emptied": 0}.get(damage)])
    found, (line,) = store.newest()
    assert found.state["step"] == 1
    assert "model.ckpt-2 is " in line and path.name in line
    network.variables.restore(found)
    assert network.values() == [[1], [1], [1]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_flipped_bit_goes_unnoticed(suffix, store, network):
    save(store, network, 2)
    path = store.folder / f"model.ckpt-2{suffix}"
    content = path.read_bytes()
    for position in range(0, len(content), max(1, len(content) // 97)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert store.newest()[0] is None, position
    path.write_bytes(content)
    assert store.newest()[1] == []


def reseal(path, change):
    """Changes a state, and gives it the digest that belongs to it."""
    state = json.loads(path.read_text())
    del state["sha256"]
    change(state)
    path.write_text(module._with_digest(state))


COUNTS = {"loss": 2.5, "correct": 3, "count": 5}


@pytest.mark.parametrize(
    "name, value",
    [
        *((name, None) for name in [*state_of(2), "files"] if "best" not in name),
        *(("step", value) for value in (-1, 1, 2.0, "2", True, [])),
        *(("seconds", value) for value in (-1.0, float("nan"), 1e999, 10**400, "x")),
        *(("best_step", value) for value in ("2", "/../../x", -1, 3, 1.0, False, [])),
        *(("best", value) for value in ({}, [], "x", {**COUNTS, "count": 0})),
        *(("since_row", {**COUNTS, "correct": value}) for value in (6, -1, 1.0, "3")),
        *(("since_row", {**COUNTS, "loss": value}) for value in (None, "2.5", [])),
        *(("latest", value) for value in ([], "x", {"test": None}, {"test": {}})),
        *(("log_sizes", {"metrics.csv": v}) for v in (-1, 1.5, "5", None, True)),
        *(("log_sizes", {v: 5}) for v in ("../x", "/x", "train/../../x", "a\0b")),
        *(("files", value) for value in ({}, [], {module.INDEX: {}})),
        ("files", {module.INDEX: {"bytes": "1"}, module.DATA: {"bytes": 1}}),
        ("files", {module.INDEX: [1], module.DATA: None}),
        *((name, []) for name in ("position", "options")),
    ],
    ids=str,
)
def test_a_sealed_state_that_no_run_writes_is_damaged(name, value, store, network):
    for step in (1, 2):
        save(store, network, step)
    path = store.folder / "model.ckpt-2.json"
    reseal(path, lambda state: state.update({name: value}))
    found, (line,) = store.newest()
    assert found.state["step"] == 1 and "model.ckpt-2 is damaged (" in line
    reseal(path, lambda state: state.pop(name))
    assert store.newest()[0].state["step"] == 1


def test_a_state_of_a_run_that_was_evaluated_is_whole(store, network):
    """An evaluation's loss may be too large for a number; the weights are finite."""
    save(store, network, 2)
    tallies = {"validation": {**COUNTS, "loss": float("inf")}, "test": COUNTS}
    sizes = {"metrics.csv": 5, "train/events.out.tfevents.1.vm.1": 0}
    values = {"latest": tallies, "best": COUNTS, "best_step": 0, "log_sizes": sizes}
    reseal(store.folder / "model.ckpt-2.json", lambda state: state.update(values))
    found, problems = store.newest()
    assert problems == [] and found.state["best"] == COUNTS


def test_a_state_that_is_nested_without_end_is_damaged(store, network):
    save(store, network, 2)
    (store.folder / "model.ckpt-2.json").write_text("[" * 10**5)
    assert "model.ckpt-2 is damaged (" in store.read(2)


def test_a_checkpoint_under_another_steps_name_is_damaged(store, network):
    save(store, network, 3)
    for suffix in SUFFIXES:
        content = (store.folder / f"model.ckpt-3{suffix}").read_bytes()
        (store.folder / f"model.ckpt-5{suffix}").write_bytes(content)
    found, (line,) = store.newest()
    assert found.state["step"] == 3
    assert line.endswith("model.ckpt-5 is damaged (it is the one of step 3)")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_checkpoint_is_not_read_without_end(suffix, store, network, monkeypatch):
    save(store, network, 2)
    path = store.folder / f"model.ckpt-2{suffix}"
    os.truncate(str(path), 1 << 40)
    assert f"model.ckpt-2 is damaged (model.ckpt-2{suffix} " in store.read(2)
    path.unlink()
    os.mkfifo(str(path))
    assert f"model.ckpt-2 is damaged (model.ckpt-2{suffix} is no f" in store.read(2)


def test_a_run_that_went_back_drops_what_was_damaged(store, network):
    for step in (1, 2, 3):
        save(store, network, step)
    (store.folder / "model.ckpt-3.index").write_bytes(b"")
    save(store, network, 2)  # the run went on from 1
    assert store.steps() == [1, 2]
    assert store.newest()[1] == []


def test_what_a_kill_left_behind_is_no_obstacle(store, network):
    save(store, network, 1)
    (store.folder / "partial").mkdir()
    (store.folder / "partial" / "model.ckpt-2.index").write_text("half")
    (store.folder / "model.ckpt-2.data-00000-of-00001").write_text("half")
    found, (line,) = store.newest()
    assert found.state["step"] == 1
    assert "is incomplete (model.ckpt-2.json: No such file" in line
    save(store, network, 2)
    assert store.steps() == [1, 2]
    assert not (store.folder / "partial").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space"), CannotWrite("full")])
def test_a_save_that_fails_changes_nothing(error, store, network):
    save(store, network, 1)
    before = files(store)

    def write(prefix):
        network.variables.write(prefix)
        raise error

    with pytest.raises(CannotWrite, match="No space|full"):
        store.save(state_of(2), write, 100, None)
    assert files(store) == before


STEPS = 6


def save_without_tensorflow(store, step):
    def write(prefix):
        for suffix in (module.DATA, module.INDEX):
            with open(prefix + suffix, "w") as file:
                file.write(f"{step} " * 100)

    store.save(state_of(step), write, 1000, best_step=1 if step else None)


def ends_after(calls, monkeypatch):
    """Ends the process at the n-th call that changes what a folder lists."""

    def counting(function):
        def counted(*args, **kwargs):
            result = function(*args, **kwargs)
            counting.calls += 1
            if counting.calls == calls:
                os._exit(9)
            return result

        return counted

    counting.calls = 0
    for name in ("replace", "unlink", "mkdir", "rmdir", "rename"):
        monkeypatch.setattr(os, name, counting(getattr(os, name)))
    return counting


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_process_may_end_between_any_two_changes_of_the_folder(tmp_path, monkeypatch):
    """In a fork, whose first, second, ... change of a folder is its last."""
    calls = 0
    status = 9
    while status:
        calls += 1
        store = Checkpoints(tmp_path / str(calls))
        store.folder.parent.mkdir()
        child = os.fork()
        if not child:
            with monkeypatch.context() as patches:
                ends_after(calls, patches)
                for step in range(STEPS):
                    save_without_tensorflow(store, step)
            os._exit(0)
        status = os.WEXITSTATUS(os.waitpid(child, 0)[1])
        newest, problems = store.newest()
        assert len(problems) <= 1 and not any("damaged" in line for line in problems)
        first = newest.state["step"] + 1 if newest else 0
        assert newest or not store.has_any()
        for step in range(first, STEPS + 1):
            save_without_tensorflow(store, step)
        assert store.steps() == [1, 4, 5, 6]
        assert store.newest() == (store.read(6), [])
        assert len(os.listdir(store.folder)) == 2 + 3 * 4  # with the two pointers
    assert calls > 40  # from Python 3.11 on, where pathlib can be patched, over 60


def test_room_is_made_sure_of_before_tensorflow_writes(store, network):
    def write(prefix):
        raise AssertionError("not to be reached")

    with pytest.raises(CannotWrite, match="checkpoints: cannot be written"):
        store.save(state_of(2), write, 1 << 60, None)
    assert store.newest() == (None, [])


def test_a_folder_that_is_gone_is_told(tmp_path, network):
    store = Checkpoints(tmp_path / "gone")
    with pytest.raises(CannotWrite, match="No such file or directory"):
        save(store, network, 1)
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_not_saved(value, store, network):
    save(store, network, 1)
    before = files(store)
    network.load(network.all[1], np.array([0, value, 0], np.float32))
    with pytest.raises(Diverged, match="weights are no longer finite"):
        store.save(state_of(2), network.variables.write, 100, None)
    assert files(store) == before


def test_a_checkpoint_of_another_network_is_refused_by_its_variables(store, network):
    save(store, network, 1)
    other = Network(units=5).fill(9)
    with pytest.raises(UserError) as info:
        other.variables.restore(store.newest()[0])
    assert str(info.value).endswith(
        "model.ckpt-1 is a checkpoint of another network: "
        "bias is [3] there and [5] here; kernel is [2, 3] there and [2, 5] here"
    )
    assert other.values() == [[9], [9], [9]]
    other = Network(dtype=tf.float64).fill(9)
    with pytest.raises(UserError, match="network: bias is float32 there and float64 h"):
        other.variables.restore(store.newest()[0])


def test_the_state_is_text_for_people(store, network):
    save(store, network, 3)
    state = json.loads((store.folder / "model.ckpt-3.json").read_text())
    assert set(state) == {*state_of(3), "note", "files", "sha256"}
    assert set(state["files"]) == {module.INDEX, module.DATA}
    assert isinstance(store.read(3), Checkpoint)


def test_a_folder_that_vanishes_after_the_save_is_told(tmp_path, monkeypatch):
    """Between the checkpoint's taking its place and the look at what there is."""
    store = Checkpoints(tmp_path)
    monkeypatch.setattr(Checkpoints, "steps", lambda self: [])
    with pytest.raises(CannotWrite, match="checkpoints: cannot be written .it vanish"):
        save_without_tensorflow(store, 0)
