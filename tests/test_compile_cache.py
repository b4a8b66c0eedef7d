"""Compiled programs are kept for the next start, and never fail or fool a run."""

import csv
import hashlib
import os
import shutil
import time

import pytest
from conftest import PROJECT_DIR
from scripts import SLOW, run, run_folders

from seqmnist import compile_cache
from seqmnist import tf1 as tf
from seqmnist.compile_cache import CompileCache
from seqmnist.errors import UserError

needs_compiler = pytest.mark.skipif(
    tf.VERSION.startswith("1."), reason="TensorFlow 1.15 does not compile functions"
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder for the cache, as a process finds it that begins."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(compile_cache.CACHE_VARIABLE, str(folder))
    monkeypatch.setenv(compile_cache.FLAGS_VARIABLE, "--some_flag=1")
    monkeypatch.setattr(compile_cache, "_in_use", None)
    return folder


def turn_on():
    """Gives the flags with which TensorFlow looks for devices."""
    before = flags()
    with compile_cache.turned_on():
        seen = flags()
    assert flags() == before
    return seen


def flags():
    return os.environ.get(compile_cache.FLAGS_VARIABLE)


def compiled(**programs):
    """Enters the block in which TensorFlow compiles; gives what it finds there."""
    with CompileCache("a network").filled():
        in_use = compile_cache._in_use
        found = {path.name: path.read_bytes() for path in in_use.iterdir()}
        for name, program in programs.items():
            (in_use / name).write_bytes(program)
    assert not in_use.exists()
    return found


def test_new_programs_are_kept_and_given_the_next_time(cache):
    seen = turn_on()
    assert seen.startswith("--some_flag=1 ")
    assert f"{compile_cache.FOLDER_FLAG}{compile_cache._in_use} " in seen
    assert compiled(one=b"1") == {}
    assert compiled(two=b"2") == {"one": b"1"}
    assert compiled() == {"one": b"1", "two": b"2"}
    with CompileCache("another network").filled():
        assert not list(compile_cache._in_use.iterdir())
    assert oct(cache.stat().st_mode)[-3:] == "700"


@pytest.mark.parametrize("damage", [b"", b"short", bytes(100)])
def test_a_damaged_program_is_compiled_again(cache, damage):
    turn_on()
    compiled(one=b"1", two=b"2")
    (path,) = cache.glob("*/one")
    path.write_bytes(damage)
    assert compiled(one=b"1") == {"two": b"2"}
    assert compiled() == {"one": b"1", "two": b"2"}


def check_there_is_no_cache():
    assert turn_on() == "--some_flag=1"
    with CompileCache("a network").filled():
        pass


def test_a_folder_that_others_can_write_to_is_not_used(cache):
    cache.mkdir()
    cache.chmod(0o777)
    check_there_is_no_cache()
    assert not list(cache.iterdir())


def full(*args):
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_no_cache(cache, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", full)
    check_there_is_no_cache()
    assert not list(cache.iterdir())


def test_a_file_in_its_place_is_no_cache(cache):
    cache.write_text("a file")
    check_there_is_no_cache()
    assert cache.read_text() == "a file"


def test_an_empty_variable_is_no_cache(cache, monkeypatch):
    monkeypatch.setenv(compile_cache.CACHE_VARIABLE, "")
    check_there_is_no_cache()


def test_without_flags_none_are_left(cache, monkeypatch):
    monkeypatch.delenv(compile_cache.FLAGS_VARIABLE)
    assert compile_cache.FOLDER_FLAG in turn_on()


def test_a_folder_that_the_user_gave_to_tensorflow_stays(cache, monkeypatch):
    own = f"{compile_cache.FOLDER_FLAG}/somewhere"
    monkeypatch.setenv(compile_cache.FLAGS_VARIABLE, own)
    assert turn_on() == own
    assert not cache.exists()


def test_a_cache_that_cannot_be_read_or_filled_is_none(cache):
    turn_on()
    compiled(one=b"1")
    shutil.rmtree(str(cache))
    cache.write_text("in the way")
    with CompileCache("a network").filled():
        assert not compile_cache._in_use.exists()


def test_a_disk_that_is_full_when_xla_saves_is_one_line(cache, monkeypatch):
    turn_on()
    failed = tf.errors.ResourceExhaustedError(None, None, "No space left on device")
    with pytest.raises(tf.errors.ResourceExhaustedError):
        with CompileCache("a network").filled():
            raise failed  # of something else: there is room
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        UserError, match=r"not used if SEQMNIST_CACHE is empty\).*space"
    ):
        with CompileCache("a network").filled():
            raise failed


def test_a_disk_that_fills_while_xla_compiles_fails_nothing(cache, monkeypatch):
    turn_on()
    with CompileCache("a network").filled():
        (compile_cache._in_use / "one").write_bytes(b"1")
        (cache / CompileCache("a network")._name).write_text("in the way")
    assert not compile_cache._in_use.exists()


def test_what_is_old_gives_way(cache):
    cache.mkdir(mode=0o700)
    now = time.time()
    names = [f"{number:016x}" for number in range(compile_cache.MAX_DIGESTS + 2)]
    for age, name in enumerate([*names, "in-use-new", "in-use-old"]):
        (cache / name).mkdir()
        (cache / name / "program").write_bytes(b"")
        time_used = now - (age if name != "in-use-old" else 7 * 24 * 3600)
        os.utime(cache / name, (time_used, time_used))
    turn_on()
    left = {path.name for path in cache.iterdir()}
    assert left == {*names[: compile_cache.MAX_DIGESTS], "in-use-new"}
    count = compile_cache.MAX_PROGRAMS
    for number in range(count + 1):
        compiled(**{f"program{number:02}": b""})
        for path in cache.glob("*/program[0-9]*"):
            os.utime(path, (now + int(path.name[-2:]),) * 2)
    assert sorted(compiled()) == [f"program{n:02}" for n in range(1, count + 1)]


@needs_compiler
def test_a_second_start_loads_and_computes_the_same(tmp_path, small_data):
    """Also beside a damaged program, which the first start had written."""
    env = {**os.environ, compile_cache.CACHE_VARIABLE: str(tmp_path / "cache")}
    argv = [
        *("train_rnn.py", "--data-dir", str(small_data), "--validation-size", "20"),
        *("--units", "120", "--batch-size", "100", "--steps", "4"),
        *("--log-dir", str(tmp_path / "logs"), "--summaries", "scalars"),
    ]
    results = []
    for _ in range(2):
        status, out, err = run(argv, env=env)
        assert (status, err) == (0, "")
        assert "recurrence: fast (50 + 50 images" in out
        programs = sorted((tmp_path / "cache").glob("*/*"))
        assert len(programs) >= 2
        programs[0].write_bytes(b"damaged")
        folder = run_folders(tmp_path / "logs", "train_rnn")[-1]
        with open(folder / "metrics.csv") as file:
            results.append(
                [(row["loss"], row["accuracy"]) for row in csv.DictReader(file)]
            )
    assert len(results[0]) > 2
    assert results[0] == results[1]


LOAD = """
from seqmnist import tf1 as tf
from seqmnist.compile_cache import CompileCache
with tf.Graph().as_default(), tf.Session() as session, CompileCache("").filled():
    session.run(tf.function(tf.tanh, jit_compile=True)(tf.random.uniform([3])))
"""


@SLOW
@needs_compiler
def test_what_is_kept_is_what_tensorflow_loads(tmp_path):
    """Shown by a program that passes every check and is still none."""
    script = tmp_path / "load.py"
    script.write_text(LOAD)
    env = {**os.environ, compile_cache.CACHE_VARIABLE: str(tmp_path / "cache")}
    env["PYTHONPATH"] = str(PROJECT_DIR)
    assert run([str(script)], env=env)[0] == 0
    (path,) = (tmp_path / "cache").glob("*/*")
    program = b"no program"
    digest = hashlib.sha256(program).digest()
    path.write_bytes(digest + program)
    status, _, err = run([str(script)], env=env)
    assert status != 0
    assert "XlaSerializedCacheEntry" in err
