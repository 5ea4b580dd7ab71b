"""Files of strangers, damaged by chance: read or refused in one line; no traceback, no crash, no hang, no gigabyte.

By default a few cases of each kind; ``FSOD_MUTATIONS=10000`` tries as many in all, ``FSOD_MUTATION_SEED=1`` others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forked import Forked
from tests.hostile.read_mutated import main, plan

CASES = int(os.environ.get("FSOD_MUTATIONS", "50"))
SEED = int(os.environ.get("FSOD_MUTATION_SEED", "0"))


def outcomes(folder: Path) -> Iterator[tuple[str, str]]:
    """What came of each case; where one ends the process, another goes on after it."""
    number, end = 0, len(plan(CASES))
    said, complained = folder / "said", folder / "complained"

    def read_mutated() -> None:
        sys.stdout, sys.stderr = said.open("w"), complained.open("w")
        main(SEED, CASES, number, end, folder)

    while number < end:
        process = Forked(read_mutated).process
        process.join()  # however long ten thousand take
        status = process.exitcode
        case, errors = "", complained.read_text(errors="replace")[-3000:]
        for line in said.read_text(errors="replace").splitlines():
            if line.startswith("start "):
                case = line
            elif case:
                yield case, line
                number, case = int(case.split()[1]) + 1, ""
        if status:
            assert case, errors  # else it is no case that ended it
            yield case, f"fault ended with status {status}: {errors}"
            number = int(case.split()[1]) + 1


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux does")
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    found = list(outcomes(tmp_path))
    assert len(found) == len(plan(CASES))
    assert {outcome.split()[0] for _, outcome in found} >= {"read", "refused"}
    faults = [f"{case}: {outcome}" for case, outcome in found if outcome.startswith("fault")]
    assert not faults, f"{len(faults)} of {len(found)}, see {tmp_path / 'faults'}\n" + "\n".join(faults[:20])
