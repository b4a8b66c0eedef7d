"""Programs that XLA compiled, kept for the next start of the same network.

TensorFlow can save the programs that it compiles in a folder, and load them from there.
It checks that a program's operations are those of the network. It does not check for
damage: a damaged file or a full disk ends the run, and whatever is in the folder is
executed. So the cache is a folder that only its user can write to, and TensorFlow never
uses it directly. While TensorFlow compiles, it uses a temporary folder of this process,
with copies that were checked.

    ~/.cache/seqmnist/       or $XDG_CACHE_HOME/seqmnist, or $SEQMNIST_CACHE
      <digest>/<program>     SHA-256 of the program, and the program
      in-use-<random>/       the temporary folder

`<digest>` stands for TensorFlow's version, processor, number of cores, flags, and the
network's sizes. An empty $SEQMNIST_CACHE means no cache. Without a folder that can be
used, everything is compiled at each start.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path
from typing import Iterator

from seqmnist import tf1 as tf
from seqmnist.cores import num_cores
from seqmnist.errors import writing

CACHE_VARIABLE = "SEQMNIST_CACHE"
FLAGS_VARIABLE = "TF_XLA_FLAGS"
FOLDER_FLAG = "--tf_xla_persistent_cache_directory="

# Bytes that have to be free; the programs of one network take about 1 MB.
ROOM = 1 << 24
# The programs that are kept per digest, and the digests; a program has 0.1 to 0.5 MB.
MAX_PROGRAMS = 16
MAX_DIGESTS = 64
# Seconds after which the folder of a killed process is removed.
LEFT_BEHIND = 24 * 3600

IN_USE = "in-use-"
DIGEST_SIZE = hashlib.sha256().digest_size

# The temporary folder of this process; `None` without a cache.
_in_use: Path | None = None


class CompileCache:
    """The cache's part for one network.

    Args:
        network: the network's sizes in words. Networks may share a part, since
            TensorFlow compares the operations.
    """

    def __init__(self, network: str) -> None:
        flags = [os.environ.get(name, "") for name in (FLAGS_VARIABLE, "XLA_FLAGS")]
        key = "\n".join([tf.VERSION, _processor(), *flags, network])
        self._name = hashlib.sha256(key.encode()).hexdigest()[:16]

    @contextlib.contextmanager
    def filled(self) -> Iterator[None]:
        """Gives TensorFlow the known programs within a block, and keeps new ones.

        Raises:
            CannotWrite: the disk became full after the start, or the like.
        """
        if not _in_use:
            yield
            return
        folder = _in_use.parent / self._name
        known = _read_programs(folder)
        try:
            with contextlib.suppress(OSError):  # TensorFlow compiles what is missing
                _in_use.mkdir(mode=0o700, exist_ok=True)
                for name, program in known.items():
                    (_in_use / name).write_bytes(program)
            yield
            with contextlib.suppress(OSError):  # a cache is no reason to fail
                _keep_programs(_in_use, known, folder)
        except tf.errors.OpError:
            # TensorFlow cannot go on without the folder.
            with writing(f"{_in_use.parent} (not used if {CACHE_VARIABLE} is empty)"):
                _check_room(_in_use)
            raise
        finally:
            shutil.rmtree(_in_use, ignore_errors=True)


@contextlib.contextmanager
def turned_on() -> Iterator[None]:
    """Tells TensorFlow 2 about the folder of this process, if there can be a cache.

    TensorFlow reads its flags once, when it first looks for devices. That has to be in
    this block. Processes that are started later do not inherit the flags.
    """
    global _in_use
    flags = os.environ.get(FLAGS_VARIABLE)
    if FOLDER_FLAG not in (flags or ""):
        _in_use = _folder_in_use()
    if _in_use is None:
        yield
        return
    device = "--tf_xla_persistent_cache_device_types=CPU"
    os.environ[FLAGS_VARIABLE] = f"{flags or ''} {FOLDER_FLAG}{_in_use} {device}"
    try:
        yield
    finally:
        if flags is None:
            del os.environ[FLAGS_VARIABLE]
        else:
            os.environ[FLAGS_VARIABLE] = flags


def _folder_in_use():
    """A path that no other process has, in the user's cache; `None` without a cache."""
    folder = _cache_folder()
    if folder is None:
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(folder):
            return None
        _remove_left_behind(folder)
        in_use = Path(tempfile.mkdtemp(prefix=IN_USE, dir=folder))
        try:
            _check_room(in_use)
        finally:
            shutil.rmtree(in_use)
    except OSError:
        return None
    # For programs that are compiled outside of the blocks.
    atexit.register(shutil.rmtree, in_use, ignore_errors=True)
    return in_use


def _cache_folder():
    """The user's cache, or `None`."""
    if CACHE_VARIABLE in os.environ:
        value = os.environ[CACHE_VARIABLE]
        return Path(value).absolute() if value else None
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # no home
        return None
    return Path(base) / "seqmnist"


def _is_private(folder):
    """Whether nobody else can write to a folder; what it holds will be executed."""
    if not hasattr(os, "geteuid"):  # Windows, where a home is private
        return True
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _check_room(folder):
    """Raises an OSError where `ROOM` bytes cannot be written."""
    folder.mkdir(mode=0o700, exist_ok=True)
    with open(folder / "room", "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, ROOM)
        else:
            file.write(bytes(ROOM))


def _remove_left_behind(folder):
    """Removes the folders of killed processes, and the digests unused for longest."""
    digests = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process removed it
            age = time.time() - path.stat().st_mtime
            if not path.name.startswith(IN_USE):
                digests.append((age, path))
            elif age > LEFT_BEHIND:
                shutil.rmtree(path)
    for _, path in sorted(digests)[MAX_DIGESTS:]:
        shutil.rmtree(path, ignore_errors=True)


def _read_programs(folder):
    """The programs in a folder, name to bytes, without the damaged ones."""
    programs = {}
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            content = path.read_bytes()
            digest, program = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
            if hashlib.sha256(program).digest() == digest:
                programs[path.name] = program
        os.utime(folder)  # `_remove_left_behind` keeps what was used last
    return programs


def _keep_programs(source, known, folder):
    """Moves new programs to a folder, whose oldest ones give way."""
    new = [path for path in source.iterdir() if path.name not in known]
    if not new:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in new:
        program = path.read_bytes()
        path.write_bytes(hashlib.sha256(program).digest() + program)
        path.replace(folder / path.name)
    by_age = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    for path in by_age[:-MAX_PROGRAMS]:
        path.unlink()


def _processor():
    """The processor and its features, and the cores that programs are compiled for."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        lines = [n for n in lines if n.startswith(("model name", "flags", "Features"))]
    except OSError:
        lines = [platform.processor()]
    return "\n".join([platform.machine(), *sorted(set(lines)), str(num_cores())])
