"""Who was shown an image under another name, whole, cut or corrected, is not scored on it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data_prep.check import check_folder
from data_prep.fix import write_fixed
from data_prep.prepared import prepare_prepared
from data_prep.tile import tile_folder
from fsod.data.coco_folder import CocoFolder, load_folder
from fsod.data.leakage import (
    MADE_FROM,
    SCENES,
    SOURCES,
    hashes_of_scenes,
    lineage,
    refuse_scored_examples,
    refuse_shots_of_whole,
)
from fsod.data.shots import draw_shots
from fsod.errors import UserError
from tests.made_folder import make_folder

FILE = Path("own.safetensors")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CocoFolder]:
    """A folder, its tiles, its corrected copy, and tiles of that."""
    root = tmp_path_factory.mktemp("folders")
    whole = make_folder(root / "whole", images=3)
    tile_folder(whole, root / "tiles", window_px=96, overlap_px=32)
    write_fixed(check_folder(root / "whole"), root / "fixed")
    tile_folder(load_folder(root / "fixed"), root / "fixed_tiles", window_px=96, overlap_px=32)
    prepare_prepared(root / "tiles", root / "tiles_again")
    prepare_prepared(root / "whole", root / "whole_again")
    return {
        name: load_folder(root / name)
        for name in ("whole", "tiles", "fixed", "fixed_tiles", "tiles_again", "whole_again")
    }


def refused(origin: dict[str, Any], scored: CocoFolder) -> str:
    """The message, nothing if it may be scored."""
    try:
        refuse_scored_examples(FILE, {"disc": origin}, [], scored)
    except UserError as error:
        return str(error)
    return ""


def test_marks_on_a_copy_a_tile_or_another_format_of_a_scored_image(
    folders: dict[str, CocoFolder], tmp_path: Path
) -> None:
    image = folders["whole"].images[0].path
    copy, other = tmp_path / "harbour.png", tmp_path / "001.png"
    shutil.copy(image, copy)
    Image.new("RGB", (128, 128)).save(other)
    marked = {path: {"scene": path.name, SCENES: hashes_of_scenes([str(path)])} for path in (image, copy, other)}
    for folder in folders.values():
        assert "own.safetensors: was made from examples (disc) on 001" in refused(marked[image], folder)
    assert "on 001.png, which is among the 3 images" in refused(marked[copy], folders["whole"])
    assert not refused(marked[other], folders["whole"])  # another picture of that name
    assert not refused(marked[image], folders["tiles"].select(["002"]))
    as_tiff = {"scene": "b.tif, 001.tif", SCENES: [""]}
    assert "on 001.png" in refused(as_tiff, folders["whole"])


@pytest.mark.parametrize("shown", ["whole", "tiles", "fixed", "fixed_tiles", "tiles_again", "whole_again"])
def test_examples_of_a_folder_that_the_scored_one_was_made_from(folders: dict[str, CocoFolder], shown: str) -> None:
    folder = folders[shown]
    origin = {
        "annotations_sha256": folder.sha256,
        SOURCES: lineage(folder.root, folder.sha256)[1:],
        "images": ["002"],
    }
    for scored in folders.values():
        assert "on 002" in refused(origin, scored)
        assert not refused(origin, scored.select(["001", "003"]))
    assert not refused({**origin, "annotations_sha256": "another", SOURCES: []}, folder)


def test_shots_of_the_folder_that_tiles_were_cut_from(folders: dict[str, CocoFolder]) -> None:
    whole, tiles = folders["whole"], folders["tiles"]
    shots = draw_shots(whole.select(["002"]), ["disc"], 1, 0)
    refuse_shots_of_whole(shots, FILE, whole, whole)  # for whom there is ``refuse_scored_shots``
    refuse_shots_of_whole(shots, FILE, tiles, tiles.select(["001"]))
    with pytest.raises(UserError, match=r"a box of it lies on 002_.*, which is among the \d+ images"):
        refuse_shots_of_whole(shots, FILE, tiles, tiles)


def test_a_card_that_says_nothing(tmp_path: Path) -> None:
    for content in ("", "[]", "{", f'{{"{MADE_FROM}": 3}}'):
        (tmp_path / "card.json").write_text(content)
        assert lineage(tmp_path, "own") == ["own"]
