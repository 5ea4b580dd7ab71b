"""Unpacking a zip archive from elsewhere: nothing outside the target, no links, no more than was agreed to.

Every name, kind and size is looked at before the first byte is written, and bytes are counted again while they are.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from fsod.errors import UserError
from fsod.progress import progress_bar

MAX_MEMBERS = 100_000
MAX_NAME_BYTES = 255
CHUNK_BYTES = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    LookupError,
    OSError,  # a seek to before the beginning
    NotImplementedError,  # a way of compressing that Python does not know
)


def unpack(archive: Path, into: Path, max_bytes: int) -> int:
    """Unpacks a zip archive.

    Args:
        archive: the file.
        into: an existing folder; no member may already be there.
        max_bytes: refuse an archive that unpacks to more than this.

    Returns:
        The number of files written.

    Raises:
        UserError: not a zip archive or a damaged one; a member that would land outside ``into`` or on another member,
            that is a link or a device, or that is encrypted; too many members or bytes; not enough space on the disk.
            What was written until then stays.
    """
    with _reading(archive):
        opened = zipfile.ZipFile(archive)
    with opened:
        members = opened.infolist()
        _check(archive, members, into, max_bytes)
        left = max_bytes
        with progress_bar(f"unpacking {archive.name}", len(members)) as bar:
            for member in members:
                try:
                    left -= _write(opened, member, into / member.filename, left)
                except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                    raise UserError(f"{archive}: holds {member.filename!r} twice; nothing is overwritten") from error
                bar.advance()
    return sum(not member.is_dir() for member in members)


@contextmanager
def _reading(archive: Path | str | None) -> Iterator[None]:
    """Names the archive where its bytes make no sense; what goes wrong in writing is not its fault."""
    try:
        yield
    except _DAMAGED as error:
        raise UserError(f"{archive}: not a zip archive that can be read ({error}); fetch it again") from error


def _check(archive: Path, members: list[zipfile.ZipInfo], into: Path, max_bytes: int) -> None:
    if len(members) > MAX_MEMBERS:
        raise UserError(f"{archive}: holds {len(members)} files, more than {MAX_MEMBERS}; it is not unpacked")
    for member in members:
        if why := _trouble(member):
            raise UserError(f"{archive}: {member.filename!r} {why}; nothing of it is unpacked")
    total = sum(member.file_size for member in members)
    if total > max_bytes:
        raise UserError(f"{archive}: unpacks to {total} bytes, more than the {max_bytes} that it may have")
    free = shutil.disk_usage(into).free
    if total > free:
        raise UserError(f"{archive}: unpacks to {total} bytes, but only {free} are free at {into}")


def _trouble(member: zipfile.ZipInfo) -> str | None:
    """What makes a member unfit, None if nothing does."""
    name, mode = member.filename, member.external_attr >> 16
    parts = PurePosixPath(name).parts
    # backslash and colon lead elsewhere on Windows; a name with control characters is nobody's honest file
    if not parts or name.startswith("/") or ".." in parts or any(c in "\\:" or ord(c) < 32 for c in name):
        return "leads out of the folder"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.flag_bits & 1:
        return "is encrypted"
    if max(len(part.encode()) for part in parts) > MAX_NAME_BYTES:
        return "is longer than a name can be"
    return None


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, max_bytes: int) -> int:
    """Writes a member, a new file; returns its bytes."""
    if member.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("xb") as target:
        for chunk in _chunks(archive, member):
            written += len(chunk)
            if written > max_bytes:
                raise UserError(f"{archive.filename}: {member.filename!r} unpacks to more bytes than it says")
            target.write(chunk)
    return written


def _chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    with _reading(archive.filename), archive.open(member) as source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk
