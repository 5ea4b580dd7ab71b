"""What tests of the COCO reader start from; modules of other formats have a source of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data_prep.coco_files import coco, put
from tests.painted import paint


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "coco"
    for name in ("train2017/000000000139.jpg", "train2017/000000000285.jpg", "val2017/000000000632.jpg"):
        paint(root / name)
    train = coco([(139, "000000000139.jpg"), (285, "000000000285.jpg")])
    train["annotations"].append({**train["annotations"][0], "id": 900100, "iscrowd": 1, "segmentation": {"counts": []}})
    put(root / "annotations" / "instances_train2017.json", train)
    put(root / "annotations" / "instances_val2017.json", coco([(632, "000000000632.jpg")], 7))
    put(root / "annotations" / "captions_val2017.json", {"images": [], "annotations": [], "info": {}})
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "prepared" / "coco"
