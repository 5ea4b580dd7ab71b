from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fsod.engine.tracking_store import create_store


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database; migrating one takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        create_store(path)
    return path


@pytest.fixture
def database(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of one's own, in a folder of one's own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs with space" / "mlflow.db"
    path.parent.mkdir()
    return Path(shutil.copy(migrated, path))
