"""How OpenMP's threads wait is settled before torch is loaded, and what the user has set stays."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

WAITING = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")
SAID = f"import os, sys; print([os.environ.get(name) for name in {WAITING}], 'torch' in sys.modules)"


def waiting(module: str, environment: dict[str, str]) -> str:
    kept = {key: value for key, value in os.environ.items() if key not in WAITING}
    code = f"import {module}; {SAID}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["fsod", "experiments"])
def test_threads_that_wait_leave_their_core_to_others(module: str) -> None:
    assert waiting(module, {}) == "['PASSIVE', '0', None] False"


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "1000")])
def test_what_the_user_has_set_stays(name: str, value: str) -> None:
    said = [value if own == name else None for own in WAITING]
    assert waiting("fsod", {name: value}) == f"{said} False"
