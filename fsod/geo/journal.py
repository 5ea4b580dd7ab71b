"""The journal of a search: which windows are finished, and what was found in them. A killed search goes on from it.

Each line is JSON with a checksum. The first line identifies the run; every other line holds what was finished since the
line before. Lines are only appended, so a kill damages the last one at most. Windows after the last good line are searched
again, and so are windows that could not be read. What a first look at the scene says is a line, too.

Numbers read back bit by bit, in the order in which they were found. A run that goes on therefore gives exactly the result
of an undisturbed one, with the time at which it began.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.errors import UserError

FORMAT = "fsod-journal-5"
_BEGIN = f'{{"format":"{FORMAT}"'.encode()


@dataclass(frozen=True)
class Finished:
    """Windows that need not be searched again, by their number in the grid.

    Attributes:
        found: window -> its detections in its own pixels, in the order of the search.
        blank: windows of one colour, or without a valid pixel.
        nodata: the windows of ``blank`` without a valid pixel.
        gaps: window -> its parts without a valid pixel, see ``blank.gaps_in``. Windows of ``nodata`` are left out.
        missed: ``Detections.missed`` of the best window among those in which nothing was found.
    """

    found: dict[int, Detections]
    blank: list[int]
    nodata: list[int] = field(default_factory=list)
    gaps: dict[int, bytes] = field(default_factory=dict)
    missed: tuple[float, int] | None = None


@dataclass(frozen=True)
class Glance:
    """What a first, cheap look at the whole scene says, see ``fsod.geo.glance``.

    Attributes:
        chances: (windows,) float64, objects that are to be expected in the core of each window at full resolution.
        windows: that the detector was shown for it.
        cost: of them, in windows of the search.
    """

    chances: NDArray[np.float64]
    windows: int
    cost: float


@dataclass
class Journal:
    """The journal of one run.

    Attributes:
        path: its file; made with the first entry.
        run: everything that the result depends on, as JSON values: scene, weights, settings. The journal of another run is
            refused.
        started: when the run began (UTC, ISO 8601). ``read`` replaces it by the time of the first run.
        glance: what a first look said, if there was one; ``read`` sets it.
    """

    path: Path
    run: Mapping[str, Any]
    started: str
    glance: Glance | None = None

    def read(self) -> Iterator[Finished]:
        """What an earlier run has finished; cuts off a torn end, so that ``append`` can go on there.

        Raises:
            UserError: a journal of another run, or no journal.
        """
        if not self.path.exists():
            return
        with self.path.open("rb+") as file:
            good, line = 0, b""
            for line in file:
                entry = _parse(line)
                if entry is None:
                    break
                if good:
                    try:
                        if "chances" in entry:
                            self.glance = _glance(entry)
                        else:
                            yield _finished(entry)
                    except (ValueError, TypeError, LookupError, OverflowError) as error:
                        raise UserError(f"{self.path}: damaged ({error}); start over with --restart") from error
                else:
                    self._check(entry)
                good += len(line)
            # a run that was killed within its first line left less than that line
            if not good and line and not (_BEGIN.startswith(line[: len(_BEGIN)]) and not line.endswith(b"\n")):
                if line.startswith(b'{"format":"fsod-journal'):
                    raise UserError(
                        f"{self.path}: belongs to an unfinished run with another format, or is damaged; start over with --restart"
                    )
                raise UserError(
                    f"{self.path}: is where this run's journal goes, but is not a journal; move it elsewhere"
                )
            file.truncate(good)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other runs from the journal; UserError if one has it."""
        lock = FileLock(lock_path(self.path))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"{self.path}: another run is writing it; wait for that one, or choose another --out"
            ) from error
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror or error})") from error
        try:
            yield
        finally:
            try:
                lock_path(self.path).unlink(missing_ok=True)
            finally:
                lock.release()

    def append(self, finished: Finished) -> None:
        """Adds a line. It outlives this process at once, but not a power cut until the system has written it.

        Raises:
            UserError: it cannot be written; what stands there already still counts.
        """
        self._append(
            {
                "found": [
                    [i, d.boxes_xyxy_px.tolist(), d.scores.tolist(), d.class_ids.tolist()]
                    for i, d in finished.found.items()
                ],
                "blank": finished.blank,
                "nodata": finished.nodata,
                "gaps": [[i, gaps.hex()] for i, gaps in finished.gaps.items()],
                "missed": finished.missed,
            }
        )

    def append_glance(self, glance: Glance) -> None:
        """Adds a line of what a first look said; UserError as ``append``."""
        self._append({"chances": glance.chances.tolist(), "windows": glance.windows, "cost": glance.cost})

    def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                head = b"" if file.tell() else _line({"format": FORMAT, "started": self.started, **self.run})
                file.write(head + _line(entry))
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror or error})") from error

    def _check(self, header: dict[str, Any]) -> None:
        started = header.pop("started", None)
        own = json.loads(json.dumps({"format": FORMAT, **self.run}))
        other = [key for key in {**own, **header} if own.get(key) != header.get(key)]
        if other:
            raise UserError(
                f"{self.path}: belongs to an unfinished run that differs in {', '.join(other)}; "
                "repeat that run's options to go on, or start over with --restart"
            )
        self.started = str(started)[:40]


def files_fingerprint(files: tuple[str, ...]) -> str:
    """Hash of names, sizes and times of the local files that a raster consists of; remote ones count by name only.

    Sidecars ``.aux.xml`` are left out: to look at a raster in QGIS writes one.
    """
    digest = hashlib.sha256()
    for name in sorted(name for name in files if not name.endswith(".aux.xml")):
        path = Path(name)
        stat = path.stat() if path.is_file() else None
        state = (str(path.resolve()), stat.st_size, stat.st_mtime_ns) if stat else (name, 0, 0)
        digest.update(json.dumps(state).encode())
    return digest.hexdigest()


def lock_path(journal: Path) -> Path:
    """The empty file that is there while a run has a journal."""
    return journal.with_name(journal.name + ".lock")


def _line(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, separators=(",", ":")).encode().removesuffix(b"}")
    return text + _end(text)


def _end(text: bytes) -> bytes:
    """What closes a line: its last member is the checksum of all before it."""
    return b',"crc32":"%08x"}\n' % zlib.crc32(text)


def _parse(line: bytes) -> dict[str, Any] | None:
    """The content of a line, None if it is torn or not what was written."""
    text = line[: -len(_end(b""))]
    if line != text + _end(text):
        return None
    try:
        content = json.loads(text + b"}")
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _finished(entry: dict[str, Any]) -> Finished:
    """What an entry says; ValueError, TypeError or LookupError where it says nothing that a run writes."""
    found = {}
    for index, boxes, scores, ids in entry["found"]:
        own = Detections(
            np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float32), np.array(ids, np.int64)
        )
        if not len(own.boxes_xyxy_px) == len(own.scores) == len(own.class_ids):
            raise ValueError("boxes, scores and classes of a window are not as many")
        if not np.isfinite(own.boxes_xyxy_px).all() or (own.class_ids < 0).any() or not _are_scores(own.scores):
            raise ValueError("a box without a place, score or class")
        found[_number(index)] = own
    blank, nodata = ([_number(index) for index in entry[key]] for key in ("blank", "nodata"))
    gaps = {_number(index): bytes.fromhex(cells) for index, cells in entry["gaps"]}
    if not (set(nodata) <= set(blank) and set(gaps) <= {*found, *blank} - set(nodata)):
        raise ValueError("a window without pixels that was not looked at")
    missed = entry.get("missed")  # journals of earlier versions do not have it
    return Finished(found, blank, nodata, gaps, None if missed is None else (float(missed[0]), _number(missed[1])))


def _glance(entry: dict[str, Any]) -> Glance:
    chances = np.array(entry["chances"], np.float64)
    if chances.ndim != 1 or not (np.isfinite(chances).all() and (chances >= 0).all()):
        raise ValueError("a window without a chance")
    windows, cost = _number(entry["windows"]), float(entry["cost"])
    if not 0 <= cost <= windows:
        raise ValueError("a look that costs more than its windows")
    return Glance(chances, windows, cost)


def _are_scores(scores: NDArray[np.float32]) -> bool:
    return bool(((scores >= 0) & (scores <= 1)).all())


def _number(index: object) -> int:
    if type(index) is not int or index < 0:  # true is an int to isinstance, and picks all of an array
        raise ValueError(f"{index!r} is no number of a window")
    return index
