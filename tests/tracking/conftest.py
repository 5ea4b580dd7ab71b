from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def database(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of one's own, in a folder of one's own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs with space" / "mlflow.db"
    path.parent.mkdir()
    return Path(shutil.copy(migrated, path))
