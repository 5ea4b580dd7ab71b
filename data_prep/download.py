"""Fetching NWPU VHR-10 and DIOR from the mirrors that torchgeo uses, as torchgeo publishes address and checksum.

::

    OUT/archives/...     what was fetched; may be deleted once it is unpacked
    OUT/files/...        what was in it
    OUT/download.json    what came from where

NWPU VHR-10 comes in its official layout, a zip made of the official rar. DIOR comes in torchgeo's own packing: it has no
labels of the test images, class names are in lower case without hyphens (``expresswayservicearea``), and the official lists
are replaced by ``sample_df.csv``, the one file without a published checksum.

Nothing else in fsod fetches data sets, and this only when its command is given.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.archives import unpack
from data_prep.fetch import RemoteFile, fetch
from data_prep.folder import place_file
from fsod.data.coco_folder import write_json
from fsod.errors import UserError
from fsod.files import held
from fsod.progress import console

_VHR10 = "https://hf.co/datasets/isaaccorley/vhr10/resolve/60ecc4be33609184e2224606858cd00b7daba8df"
_DIOR = "https://hf.co/datasets/torchgeo/dior/resolve/0b8439a538b66457e553a8bd9105ef093cce8169"
GB = 10**9


@dataclass(frozen=True)
class DataSet:
    """What makes up a data set.

    Attributes:
        name: as the command line knows it.
        files: what to fetch; zip archives are unpacked, beside each other, the rest is put beside them.
        source: what of the unpacked files ``fsod data prepare`` takes, relative to them.
        note: what a user must know before the work starts.
    """

    name: str
    files: tuple[RemoteFile, ...]
    source: str
    note: str


DATA_SETS = (
    DataSet(
        "nwpu",
        (
            RemoteFile(
                "NWPU VHR-10 dataset.zip",
                f"{_VHR10}/NWPU%20VHR-10%20dataset.zip",
                "6add6751469c12dd8c8d6223064c6c4d",
                max_bytes=GB,
            ),
        ),
        "NWPU VHR-10 dataset",
        "650 positive and 150 negative images, official ground truth; for research only, cite Cheng et al. 2014",
    ),
    DataSet(
        "dior",
        (
            RemoteFile(
                "Images_trainval.zip",
                f"{_DIOR}/Images_trainval.zip",
                "070e9314120403e5c965d12fe5321cb0",
                max_bytes=10 * GB,
            ),
            RemoteFile(
                "Annotations_trainval.zip",
                f"{_DIOR}/Annotations_trainval.zip",
                "90e045de37255c5919bbecf659b72c1a",
                max_bytes=GB,
            ),
            RemoteFile(
                "Images_test.zip", f"{_DIOR}/Images_test.zip", "97f3cbc86de0867624a6a34190c694ae", max_bytes=10 * GB
            ),
            RemoteFile("sample_df.csv", f"{_DIOR}/sample_df.csv", None, max_bytes=GB // 100),
        ),
        ".",
        "torchgeo's packing has no labels of the 11,738 test images: for test scores fetch the official DIOR by hand",
    ),
)


def download(data_set: DataSet, out: Path, given: Sequence[Path] = ()) -> dict[str, Any]:
    """Fetches and unpacks a data set; goes on where an earlier run was broken off, and does nothing when it is there.

    Args:
        data_set: which.
        out: the folder to write.
        given: files fetched by hand, under any name: they are known by their checksum. With them nothing is fetched.

    Returns:
        What came from where, as written to ``out/download.json``, and ``source``, the folder to prepare.

    Raises:
        UserError: ``out`` holds another data set; the mirror cannot be reached or serves something else; a given file is
            none of the published ones, or one of those is not among them; an archive is not fit to be unpacked.
    """
    files = out / "files"
    result: dict[str, Any] = {
        "data_set": data_set.name,
        "source": str(files / data_set.source),
        "note": data_set.note,
        "files": {remote.name: {"url": remote.url, "md5": remote.md5} for remote in data_set.files},
    }
    with held(out / ".fsod-lock", out):
        return _download(data_set, out, given, result)


def _download(data_set: DataSet, out: Path, given: Sequence[Path], result: dict[str, Any]) -> dict[str, Any]:
    record, files = out / "download.json", out / "files"
    if record.is_file() and (there := _recorded(record)) != data_set.name:
        raise UserError(f"{out}: holds {there}; give {data_set.name} a folder of its own with --out")
    if files.exists():
        if not record.is_file():
            raise UserError(f"{files}: exists without a download.json; remove it, or choose another --out")
        console.print(f"{out}: nothing to do")
        return result
    console.print(f"{data_set.name}: {data_set.note}")
    archives = out / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    if given:
        _take(data_set, given, archives)
    for remote in data_set.files:
        _complete(remote, archives / remote.name)
    _unpack_all(data_set, archives, files, result)
    return result


def _recorded(record: Path) -> str:
    """The data set that a folder holds by its own word."""
    try:
        return str(json.loads(record.read_bytes())["data_set"])[:60]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{record}: is not what fsod wrote; remove the folder to fetch the data set anew") from error


def _take(data_set: DataSet, given: Sequence[Path], archives: Path) -> None:
    """Puts files fetched by hand among the archives, each by its checksum (by its name where none is published)."""
    found: dict[str, Path] = {}
    for path in given:
        if not path.is_file():
            what = "a folder; give each archive in it by --from-files" if path.is_dir() else "no such file"
            raise UserError(f"{path}: {what}")
        md5 = file_md5(path)
        names = [f.name for f in data_set.files if (f.md5 or path.name) == (md5 if f.md5 else f.name)]
        if not names:
            raise UserError(
                f"{path}: is none of the published files of {data_set.name} (its MD5 is {md5}); if it is another archive of it, "
                "unpack it yourself and give the folder to `fsod data prepare`"
            )
        found[names[0]] = path
    missing = [remote.url for remote in data_set.files if remote.name not in found]
    if missing:
        raise UserError(f"{data_set.name}: not among the files given: {', '.join(missing)}")
    for name, path in found.items():
        part = _unfinished(archives / name)
        part.unlink(missing_ok=True)
        place_file(path, part)
        part.replace(archives / name)
        part.unlink(missing_ok=True)  # where both were links to one file, replacing has left both


def _complete(remote: RemoteFile, path: Path) -> None:
    """Sees to it that ``path`` is there with the right content, two times at most if a broken download was gone on with."""
    if path.is_file() and _as_published(remote, path):
        return
    part = _unfinished(path)
    if part.is_symlink() or (part.is_file() and part.stat().st_nlink > 1):
        part.unlink()  # a file that has another name is somebody's, not a download
    if remote.md5 is None:
        part.unlink(missing_ok=True)  # without a checksum nobody could tell whether its two halves fit
    for again in (True, False):
        in_pieces = fetch(remote, part)
        if _as_published(remote, part):
            part.replace(path)
            return
        md5 = file_md5(part)
        part.unlink()
        if not (again and in_pieces):
            raise UserError(
                f"{remote.url}: served other content than the published file (MD5 {md5}, expected {remote.md5}); "
                "it was not kept; try later, or fetch it elsewhere and name it with --from-files"
            )
        console.print(f"{remote.name}: the pieces do not fit together; fetching it afresh")


def _unfinished(path: Path) -> Path:
    """What a file is called while it is on its way."""
    return path.with_name(f".{path.name}.fsod-part")


def _as_published(remote: RemoteFile, path: Path) -> bool:
    if remote.md5 is None:
        console.print(f"{remote.name}: no checksum is published for it; it is taken as it came")
        return True
    return file_md5(path) == remote.md5


def _unpack_all(data_set: DataSet, archives: Path, files: Path, result: dict[str, Any]) -> None:
    building = files.with_name(".files.fsod-part")
    shutil.rmtree(building, ignore_errors=True)  # what a killed run left
    building.mkdir()
    try:
        for remote in data_set.files:
            archive = archives / remote.name
            if archive.suffix == ".zip":
                unpack(archive, building, remote.max_bytes)
            else:
                place_file(archive, building / remote.name)
        if not (building / data_set.source).is_dir():
            raise UserError(f"{archives}: there is no {data_set.source!r} in what was fetched")
        write_json(files.with_name("download.json"), result)  # before: files that are there are all there, and known
        building.replace(files)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def file_md5(path: Path) -> str:
    """MD5 of a file's bytes: enough to know a published file again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
