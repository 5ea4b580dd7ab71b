"""Reads mutated files, case after case; a process of its own, as a reader may end the process that it is in.

Each is two lines on stdout: ``start NUMBER KIND, FILE`` and what came of it: ``read``, ``refused`` or ``fault`` with what was
wrong.
"""

from __future__ import annotations

import faulthandler
import resource
import shutil
import time
import traceback
import warnings
from pathlib import Path
from random import Random

from fsod.errors import LONGEST_MESSAGE, UserError
from tests.hostile.data_set_kinds import DATA_SET_KINDS
from tests.hostile.kind import Kind
from tests.hostile.mutations import mutated
from tests.hostile.network_kinds import NETWORK_KINDS
from tests.hostile.raster_kinds import RASTER_KINDS
from tests.hostile.vector_kinds import VECTOR_KINDS

KINDS = (*RASTER_KINDS, *VECTOR_KINDS, *DATA_SET_KINDS, *NETWORK_KINDS)

MOST_S = 30
"""That a case may take; the files are of some kilobytes."""

MOST_BYTES = 2**30
"""Of memory that a case may take beside what the process has."""


def plan(cases: int) -> list[tuple[Kind, int]]:
    """All cases, by their kind and their number in it; at least one of each kind."""
    shares = sum(kind.share for kind in KINDS)
    return [(kind, i) for kind in KINDS for i in range(max(1, round(cases * kind.share / shares)))]


def main(seed: int, cases: int, first: int, end: int, folder: Path) -> None:
    """Of about ``cases`` in all those from ``first`` to before ``end``."""
    warnings.simplefilter("ignore")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + 6 * 2**30, hard))
    for number, (kind, i) in list(enumerate(plan(cases)))[first:end]:
        whole, space = folder / kind.name.replace(" ", "-") / "whole", folder / "case" / "files"
        if not whole.exists():
            building = whole.with_name("building")
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
            kind.make(building)
            building.rename(whole)  # never half of it
            say_what(kind, whole, space, "", b"", None)
        files = sorted(p for p in whole.rglob("*") if p.is_file() and p.name.endswith(kind.suffixes))
        rng = Random(f"{kind.name} {seed} {i}")
        file = rng.choice(files)
        content = mutated(file.read_bytes(), file.name, rng)
        print(f"start {number} {kind.name}, {file.name}", flush=True)
        say_what(kind, whole, space, str(file.relative_to(whole)), content, folder / "faults" / f"{number}-{file.name}")


def say_what(kind: Kind, whole: Path, space: Path, name: str, content: bytes, keep: Path | None) -> None:
    """Reads the files with one of them replaced, and says what came of it; ``keep`` gets what is read with a fault."""
    shutil.rmtree(space.parent, ignore_errors=True)
    shutil.copytree(whole, space)
    if keep is not None:
        (space / name).write_bytes(content)
        keep.parent.mkdir(exist_ok=True)
        keep.write_bytes(content)  # before: there may be no after
    before, begun_s = _reset_peak(), time.monotonic()
    faulthandler.dump_traceback_later(MOST_S, exit=True)
    try:
        kind.read(space)
        outcome = "read"
    except UserError as error:
        message = str(error)
        wrong = "more than one line" if len(message.splitlines()) != 1 else "far too long"
        outcome = "refused" if len(message.splitlines()) == 1 and len(message) <= LONGEST_MESSAGE else f"fault {wrong}"
        outcome += f" {message[:200]!r}"
    except Exception:  # noqa: BLE001 - that is what is looked for
        outcome = f"fault {traceback.format_exc()[-3000:]!r}"
    finally:
        faulthandler.cancel_dump_traceback_later()
    grown = _peak_bytes() - before
    if grown > MOST_BYTES:
        outcome = f"fault took {grown / 2**20:.0f} MB; {outcome[:200]}"
    if keep is not None and not outcome.startswith("fault"):
        keep.unlink()
    assert keep is not None or outcome == "read", outcome
    print(f"{outcome} [{time.monotonic() - begun_s:.2f} s]", flush=True)


def _reset_peak() -> int:
    """Bytes in memory; the peak is counted from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak_bytes() -> int:
    return _status("VmHWM")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
