from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from experiments.nwpu_fewshot import baselines
from experiments.nwpu_fewshot.run import FINETUNED
from fsod.data.coco_folder import write_json
from fsod.model.detector import Detector
from fsod.store.checkpoint import Checkpoint, save_checkpoint
from fsod.training import finetune
from tests.experiments.made_task import MadeTask
from tests.made_folder import make_folder

OPTIM = {"steps": 2, "warmup_steps": 1, "workers": 0, "precision": "float32"}


@pytest.fixture(scope="module", autouse=True)
def brief(brief: None) -> Iterator[None]:
    """Few steps in the studies, too, also where the settings of a run do not say how many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "REFINING", vars(finetune)["REFINING"])
        for system, changes in FINETUNED.items():
            patch.setitem(FINETUNED, system, [*changes, "finetune.steps=3"])
        yield


@pytest.fixture
def task(tmp_path: Path) -> MadeTask:
    return MadeTask(tmp_path / "tasks" / "darts")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Path:
    """Configuration of a tiny run with data, tiles and a meta-trained checkpoint; its novel class, the cross, is on all tiles but two."""
    root = tmp_path_factory.mktemp("study")
    shutil.copy(migrated, root / "mlflow.db")
    for part in ("data", "tiles"):
        make_folder(root / "run" / part)
    tiles = json.loads((root / "run" / "tiles" / "annotations.json").read_text())
    shown = [a for a in tiles["annotations"] if a["category_id"] != 3 or a["image_id"] > 2]
    write_json(root / "run" / "tiles" / "annotations.json", tiles | {"annotations": shown})
    lists = root / "run" / "data" / "splits"
    (lists / "train_strict.txt").write_text((lists / "train.txt").read_text())
    torch.manual_seed(0)
    trained = Checkpoint(Detector("nano", 2), "nano", ("square", "disc"), "meta-train", {})
    save_checkpoint(root / "run" / "meta-train.safetensors", trained)
    sizes = {"ways": 2, "shots": 1, "queries": 2, "query_px": 64, "support_px": 64}
    before = {"name": "before", "run_dir": str(root), "episodes": sizes, "pretrain": OPTIM}
    pretrained = Checkpoint(Detector("nano", 0), "nano", (), "pretrain", before)
    save_checkpoint(root / "pretrain.safetensors", pretrained)
    content = {
        "name": "tiny",
        "run_dir": str(root / "run"),
        "init": str(root / "pretrain.safetensors"),
        "data": {"format": "coco", "novel": ["cross"]},
        "episodes": sizes,
        "meta_train": dict(OPTIM),  # YAML would make one section of one dictionary
        "finetune": dict(OPTIM),
    }
    (root / "tiny.yaml").write_text(yaml.safe_dump(content))
    return root / "tiny.yaml"
