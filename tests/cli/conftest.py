"""A miniature run that is trained once for all files here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.command import fsod
from tests.conftest import few_steps
from tests.nwpu_miniature import make_miniature

CONFIG = """
name: miniature
run_dir: {run_dir}
data:
  format: nwpu
  novel: [airplane, baseball diamond, tennis court]
  tile_px: 96
  tile_overlap_px: 32
episodes: {{ways: 3, shots: 1, queries: 2, query_px: 64, support_px: 64}}
meta_train: {{steps: 4, workers: 0, warmup_steps: 1, checkpoint_every: 2}}
finetune: {{steps: 2, workers: 0, warmup_steps: 1}}
"""


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Path:
    place = tmp_path_factory.mktemp("road")
    (place / "runs").mkdir()
    shutil.copy(migrated, place / "runs" / "mlflow.db")
    make_miniature(place / "nwpu")
    (place / "run.yaml").write_text(CONFIG.format(run_dir=place / "runs" / "mini"))
    return place


@pytest.fixture(scope="session")
def trained(place: Path) -> Path:
    config = place / "run.yaml"
    with few_steps():
        assert fsod("data", "make", "--config", config, "--source", place / "nwpu") == 0
        assert fsod("meta-train", "--config", config) == 0
        assert fsod("finetune", "--config", config, "--shots-k", "2", "--json", place / "tuned.json") == 0
    return place
