"""What all tests share: the folder of real data, where it is present, and no network."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fsod  # noqa: F401  (sets the offline switches before any library is imported)
from fsod.tracking.tracking_store import create_store

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to anything but this machine fail."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in LOOPBACK:
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database; migrating one takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        create_store(path)
    return path


@contextmanager
def few_steps() -> Iterator[None]:
    """Also where the settings of a run do not say how many."""
    from fsod.training import finetune
    from fsod.training.refine import REFINING

    few = REFINING.model_copy(update={"steps": 3, "warmup_steps": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune, "REFINING", few)
        yield


@pytest.fixture(scope="module")
def brief() -> Iterator[None]:
    """Few steps in a whole file."""
    with few_steps():
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    path = Path(os.environ.get("FSOD_SHARED", "../shared"))
    if not path.is_dir():
        pytest.skip(f"no real data at {path} (set FSOD_SHARED)")
    return path
