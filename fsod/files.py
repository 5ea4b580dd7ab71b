"""Files that are whole or not there, texts as any editor saves them, and the hash of a file."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fsod.errors import UserError

if sys.platform != "win32":
    import fcntl

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TRIES = 100
_ORPHANS_S = 7.0
"""For so long processes that a killed run had started may hold its lock: those of torch look every 5 s whether it is there."""
_SHOWN = 40
"""Characters of a name that its temporary one repeats: file systems allow 255 bytes, and a character may take four."""


def refuse_pipe(path: Path) -> None:
    """UserError for a pipe or a device where a file or folder is read: it would wait for its other end for ever.

    And for a name that no file system takes.
    """
    try:
        there = path.exists()
    except OSError as error:
        raise UserError(f"{str(path)[: 2 * _SHOWN]}...: not a file name ({error.strerror})") from error
    if there and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path}: is a pipe or a device; name a file")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary name to write a file under: renamed to ``path`` after the block, gone if the block raises.

    The folder is made if missing. So a reader never sees half a file, and what was there before stays until the end. The
    name is nobody else's while the block runs, also where two runs write one file: the later one to end wins. What a killed
    run left under it is overwritten; it ends in ``.fsod-part``, as no file of anybody else does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _own_name(path) as temporary:
        try:
            yield temporary
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _own_name(path: Path) -> Iterator[Path]:
    """A name beside ``path`` that holds an empty file, or none, and that no other process is given meanwhile."""
    start = f".{path.name[:_SHOWN]}"
    if sys.platform == "win32":  # where an open file cannot be renamed, so none can be held
        yield path.with_name(f"{start}.{secrets.token_hex(8)}.fsod-part")
        return
    for i in range(_TRIES):
        name = path.with_name(f"{start}.{i}.fsod-part" if i else f"{start}.fsod-part")
        held = _hold(name)
        if held is not None:
            try:
                yield name
            finally:
                os.close(held)
            return
    raise FileExistsError(errno.EEXIST, "too many runs are writing it at once", str(path))


def _hold(name: Path) -> int | None:
    """Locks an emptied file of this name, until it is closed; None where another process has it or it is no file of ours."""
    try:
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            return None
        raise
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:  # a file system without locks: the runs on it cannot be told apart
        pass
    try:
        there = os.lstat(name)
        # a run that ended since the file was opened has renamed it: what we hold is its result
        if stat.S_ISREG(there.st_mode) and there.st_nlink == 1 and os.path.samestat(os.fstat(file), there):
            os.ftruncate(file, 0)
            return file
    except FileNotFoundError:
        pass
    os.close(file)
    return None


@contextmanager
def held(lock: Path, out: Path) -> Iterator[None]:
    """Keeps other runs away from ``out`` while the block runs.

    Args:
        lock: a file that is there for as long, and so are the folders that it lies in. One that a killed run has left keeps
            nobody away.
        out: what is written, for the message.

    Raises:
        UserError: another run is at it; names its process. Nothing can be written there.
    """
    if sys.platform == "win32":
        yield
        return
    made, ends = [folder for folder in lock.parents if not folder.exists()], time.monotonic() + _ORPHANS_S
    while (file := _lock(lock, out)) is None:
        with suppress(FileNotFoundError):  # the other run has just ended
            who = lock.read_bytes()[:_SHOWN].decode("ascii", "replace")
            if _is_gone(who) and time.monotonic() < ends:
                time.sleep(0.1)
                continue
            raise UserError(f"{out}: another run is writing it ({who or lock}); wait for it or end it")
    try:
        os.write(file, f"process {os.getpid()} on {os.uname().nodename}".encode())
        yield
    finally:
        try:
            lock.unlink(missing_ok=True)
        finally:
            os.close(file)
        with suppress(OSError):  # something has been written there
            for folder in made:
                folder.rmdir()


def _is_gone(who: str) -> bool:
    """Whether the process of this machine that a lock names has ended. What it has started may hold the lock a little longer."""
    named = re.fullmatch(r"process (\d+) on (.+)", who)
    if named is None or not os.uname().nodename.startswith(named[2]):  # a long name is cut
        return False
    try:
        os.kill(int(named[1]), 0)
    except OSError as error:
        return error.errno == errno.ESRCH
    return False


def _lock(lock: Path, out: Path) -> int | None:
    """``_hold`` in a folder that is made if missing."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return _hold(lock)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror or error})") from error


def lock_beside(out: Path) -> Path:
    """The file that is held while ``out`` is written; its name is short enough for every disk."""
    return out.with_name(f".{shortened(out.name, _SHOWN)}.fsod-lock")


def shortened(name: str, longest: int) -> str:
    """A name itself, or so many of its characters and a hash of it: file systems take 255 bytes."""
    return name if len(name) <= longest else f"{name[:longest]}.{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8; see ``atomic_write``."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file; see ``atomic_write``."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def decoded(content: bytes, errors: str = "strict") -> str:
    """Text in UTF-8, or in what its byte order mark says: Windows editors and PowerShell begin files with one.

    Raises:
        UnicodeDecodeError: it is in another encoding, and ``errors`` is ``strict``.
    """
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8")
    return content.decode(encoding, errors)


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
