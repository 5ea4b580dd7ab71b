from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.coco import prepare_coco
from data_prep.reader_of import reader_of
from data_prep.tile import tile_folder
from fsod.data.coco_folder import load_folder, read_ids
from fsod.errors import UserError
from tests.made_folder import make_folder


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    folder = make_folder(tmp_path / "made")
    (folder.root / "splits").mkdir(exist_ok=True)
    stems = [image.path.stem for image in folder.images]
    (folder.root / "splits" / "test.txt").write_text(f"{stems[0]}\n{stems[1]}\n")
    tile_folder(folder, tmp_path / "tiles", window_px=64, overlap_px=32)
    return tmp_path / "tiles"


def test_a_prepared_folder_stays_as_it_is(tiles: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    card = reader_of("prepared")(tiles, out)
    first, second = load_folder(tiles), load_folder(out)
    assert second.sha256 == first.sha256
    assert card["images"] == len(first.images)
    assert any(len(image.cut_class_ids) for image in second.images)
    assert [image.source for image in second.images] == [image.source for image in first.images]
    assert read_ids(out / "splits" / "test.txt") == read_ids(tiles / "splits" / "test.txt")
    for a, b in zip(first.images, second.images, strict=True):
        assert a.path.read_bytes() == b.path.read_bytes()
    assert reader_of("prepared")(tiles, out) == card


def test_coco_does_not_take_what_it_would_lose(tiles: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"annotations\.json: image \d+: was cut from another, .* as format prepared"):
        prepare_coco(tiles, tmp_path / "out")


def test_what_is_wrong_is_named(tiles: Path, tmp_path: Path) -> None:
    image = load_folder(tiles).images[3].path
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    with pytest.raises(UserError, match=image.name):
        reader_of("prepared")(tiles, tmp_path / "out")
    image.write_bytes(whole)
    (tiles / "splits" / "test.txt").write_text("nobody\n")
    with pytest.raises(UserError, match="no image with id 'nobody'"):
        reader_of("prepared")(tiles, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tiles / "annotations.json").write_text(json.dumps({"images": 3}))
    with pytest.raises(UserError, match="not a COCO annotation file"):
        reader_of("prepared")(tiles, tmp_path / "out")
