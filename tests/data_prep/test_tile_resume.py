import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_prep.tile
from data_prep.folder import folder_under_construction
from data_prep.tile import tile_folder
from fsod.data.coco import load_folder
from tests.images_to_cut import all_bytes, make_three_images
from tests.made_folder import make_folder

WINDOW = {"window_px": 16, "overlap_px": 8}


def part(out: Path) -> Path:
    return out.with_name(f".{out.name}.fsod-part")


def test_killed_half_way_and_run_again_gives_the_bytes_of_an_undisturbed_run(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "prepared", images=4, size_px=256)
    out = tmp_path / "tiles"
    tiles = 4 * 31**2
    command = [sys.executable, "-m", "fsod", "data", "tile", str(folder.root), str(out)]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in WINDOW.items()]
    process = subprocess.Popen(command, env={**os.environ}, stderr=subprocess.DEVNULL)
    while len(finished := sorted((part(out) / "images").glob("*.png"))) < 50:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = sorted((part(out) / "images").glob("*.png"))
    assert len(finished) < tiles
    assert not out.exists()
    written_at = {path.name: path.stat().st_mtime_ns for path in finished}

    tile_folder(load_folder(folder.root), out, **WINDOW)
    assert {name: (out / "images" / name).stat().st_mtime_ns for name in written_at} == written_at
    tile_folder(load_folder(folder.root), tmp_path / "undisturbed", **WINDOW)
    assert len(all_bytes(out)) == tiles + 4
    assert all_bytes(out) == all_bytes(tmp_path / "undisturbed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepared", "tiles", "undisturbed"]


def interrupt(monkeypatch: pytest.MonkeyPatch, root: Path, out: Path) -> None:
    """A run that ends with all tiles written and nothing else, as by Ctrl-C."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(data_prep.tile, "write_folder", stop)
        with pytest.raises(KeyboardInterrupt):
            tile_folder(load_folder(root), out, **WINDOW)


def test_a_half_written_tile_is_written_anew_and_no_finished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = make_three_images(tmp_path / "prepared"), tmp_path / "tiles"
    tile_folder(load_folder(root), tmp_path / "undisturbed", **WINDOW)
    interrupt(monkeypatch, root, out)
    torn = part(out) / "images" / "a_8_16.png"
    torn.replace(torn.with_suffix(".part"))
    torn.with_suffix(".part").write_bytes(torn.with_suffix(".part").read_bytes()[:100])
    read: list[str] = []
    read_image = data_prep.tile.read_image
    monkeypatch.setattr(data_prep.tile, "read_image", lambda image: read.append(image.source) or read_image(image))
    tile_folder(load_folder(root), out, **WINDOW)
    assert read == ["a"]
    assert all_bytes(out) == all_bytes(tmp_path / "undisturbed")


@pytest.mark.parametrize("change", ["settings", "content"])
def test_what_other_work_left_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    root, out = make_three_images(tmp_path / "prepared"), tmp_path / "tiles"
    interrupt(monkeypatch, root, out)
    overlap = {"overlap_px": 4} if change == "settings" else {}
    if change == "content":
        Image.fromarray(np.zeros((70, 100, 3), np.uint8)).save(root / "images" / "a.png")
    tile_folder(load_folder(root), out, **(WINDOW | overlap))
    tile_folder(load_folder(root), tmp_path / "undisturbed", **(WINDOW | overlap))
    assert all_bytes(out) == all_bytes(tmp_path / "undisturbed")


def test_without_a_fingerprint_every_run_starts_with_an_empty_folder(tmp_path: Path) -> None:
    def build(error: type[BaseException], resume: str | None) -> None:
        with folder_under_construction(tmp_path / "out", resume=resume) as building:
            assert not list((building / "images").iterdir())
            (building / "images" / "left").touch()
            raise error

    for resume in (None, "a", None):
        with pytest.raises(KeyboardInterrupt):
            build(KeyboardInterrupt, resume)
    with pytest.raises(ZeroDivisionError):
        build(ZeroDivisionError, None)
    assert not list(tmp_path.iterdir())
