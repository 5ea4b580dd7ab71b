import itertools
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from data_prep import tile
from data_prep.folder import folder_under_construction
from data_prep.tile import tile_folder
from fsod.data.coco_folder import load_folder, read_image, write_json
from fsod.errors import UserError
from tests.forked import Forked
from tests.images_to_cut import all_bytes, make_three_images
from tests.made_folder import make_folder

WINDOW_PX, OVERLAP_PX = 32, 16


def cut(root: Path, out: Path, overlap_px: int = OVERLAP_PX) -> None:
    tile_folder(load_folder(root), out, window_px=WINDOW_PX, overlap_px=overlap_px)


def part(out: Path) -> Path:
    return out.with_name(f".{out.name}.fsod-part")


THREADS, DIES_AT_TILE = 2, 160  # an image is 49 tiles, so that some images are finished by then


def test_killed_half_way_and_run_again_gives_the_bytes_of_an_undisturbed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = make_folder(tmp_path / "prepared").root, tmp_path / "tiles"
    save, number = Image.Image.save, itertools.count(1)

    def save_or_die(image: Image.Image, path: Path, **options: Any) -> None:
        if next(number) == DIES_AT_TILE:
            path.write_bytes(b"half a tile")
            os.kill(os.getpid(), signal.SIGKILL)
        save(image, path, **options)

    def cut_and_die() -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: THREADS)
        monkeypatch.setattr(Image.Image, "save", save_or_die)
        cut(root, out)

    assert Forked(cut_and_die).exit_code() == -signal.SIGKILL
    assert not out.exists()
    finished = sorted((part(out) / "images").glob("*.png"))
    assert DIES_AT_TILE - THREADS <= len(finished) < 8 * 49, "the other thread writes on until the kill arrives"
    assert list((part(out) / "images").glob("*.fsod-part"))
    written_at = {path.name: path.stat().st_mtime_ns for path in finished}

    reads = Mock(wraps=read_image)
    with monkeypatch.context() as patch:
        patch.setattr("data_prep.tile.read_image", reads)
        cut(root, out)
    assert reads.call_count < 8, "an image whose tiles are all there is not read"
    assert {name: (out / "images" / name).stat().st_mtime_ns for name in written_at} == written_at
    cut(root, tmp_path / "undisturbed")
    assert all_bytes(out) == all_bytes(tmp_path / "undisturbed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepared", "tiles", "undisturbed"]


def interrupt(monkeypatch: pytest.MonkeyPatch, root: Path, out: Path) -> None:
    """A run that ends with all tiles written and nothing else, as by Ctrl-C."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("data_prep.tile.write_folder", stop)
        with pytest.raises(KeyboardInterrupt):
            cut(root, out)


@pytest.mark.parametrize("change", ["settings", "content"])
def test_what_other_work_left_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    root, out = make_three_images(tmp_path / "prepared"), tmp_path / "tiles"
    interrupt(monkeypatch, root, out)
    overlap_px = OVERLAP_PX // 2 if change == "settings" else OVERLAP_PX
    if change == "content":
        Image.fromarray(np.zeros((70, 100, 3), np.uint8)).save(root / "images" / "a.png")
    cut(root, out, overlap_px)
    cut(root, tmp_path / "undisturbed", overlap_px)
    assert all_bytes(out) == all_bytes(tmp_path / "undisturbed")


def test_other_work_starts_with_an_empty_folder_and_only_an_interrupt_leaves_one(tmp_path: Path) -> None:
    def build(error: type[BaseException], resume: str | None) -> None:
        with folder_under_construction(tmp_path / "out", resume=resume) as building:
            assert not list((building / "images").iterdir())
            (building / "images" / "left").touch()
            raise error

    for error, resume, stays in (
        (KeyboardInterrupt, "a", True),
        (KeyboardInterrupt, "b", True),
        (KeyboardInterrupt, None, False),
        (ZeroDivisionError, "a", False),
    ):
        with pytest.raises(error):
            build(error, resume)
        assert part(tmp_path / "out").exists() == stays


def test_of_two_runs_on_one_folder_the_second_is_told_who_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = make_three_images(tmp_path / "prepared"), tmp_path / "tiles"
    started, go_on, save = multiprocessing.Event(), multiprocessing.Event(), tile._save

    def save_when_told(*arguments: Any) -> None:
        started.set()
        go_on.wait()
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(tile, "_save", save_when_told)
        first = Forked(lambda: cut(root, out))
    assert started.wait(60)
    with pytest.raises(UserError, match=rf"tiles: another run is writing it \(process {first.process.pid} on "):
        cut(root, out)
    go_on.set()
    assert first.exit_code() == 0
    cut(root, out)
    cut(root, tmp_path / "undisturbed")
    assert all_bytes(out) == all_bytes(tmp_path / "undisturbed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepared", "tiles", "undisturbed"]


def test_a_link_leads_to_what_was_made_and_the_working_folder_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "big").mkdir()
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "big" / "out")
    with folder_under_construction(link) as building:
        write_json(building / "card.json", {})
    assert link.is_symlink()
    assert (tmp_path / "big" / "out" / "card.json").is_file()
    monkeypatch.chdir(tmp_path / "big")
    with (
        pytest.raises(UserError, match=r"^\.: cannot be replaced by the folder that is made; name a folder in it"),
        folder_under_construction(Path()),
    ):
        pass
