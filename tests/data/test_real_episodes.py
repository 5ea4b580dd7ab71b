from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fsod.config import EpisodeSettings
from fsod.data import cache
from fsod.data.cache import PixelCache
from fsod.data.coco_folder import CocoFolder, ImageRecord, load_folder, read_image
from fsod.data.crop import Square, visible
from fsod.data.mixed import MixedEpisodes
from fsod.data.procedural.drawn_episodes import ProceduralEpisodes
from fsod.data.real_episodes import Episode, RealEpisodes
from fsod.data.shots import draw_shots, load_shots, only_shots
from fsod.data.support import support_crop
from fsod.errors import UserError
from tests.forked import Forked
from tests.made_folder import make_folder

SETTINGS = EpisodeSettings(ways=2, shots=2, queries=3, query_px=96, support_px=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> CocoFolder:
    return make_folder(tmp_path_factory.mktemp("made") / "folder")


def same(a: Episode, b: Episode) -> bool:
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_an_episode_has_the_announced_shapes(folder: CocoFolder) -> None:
    episode = RealEpisodes(folder, [0, 1, 2], SETTINGS, 4, seed=0)[0]
    ways, shots = episode.sides_px.shape
    assert ways == 2
    assert 1 <= shots <= 2
    assert episode.queries.shape == (3, 3, 96, 96)
    assert episode.queries.dtype == torch.uint8
    assert episode.supports.shape == (2, shots, 4, 64, 64)
    assert set(episode.supports[:, :, 3].unique().tolist()) == {0, 1}
    assert not episode.invented
    found = episode.boxes_xyxy_px[episode.box_classes >= 0]
    assert (found[:, 2:] > found[:, :2]).all()
    assert found.min() >= 0
    assert found.max() <= 96


def test_boxes_stay_on_their_objects_through_augmentation(folder: CocoFolder) -> None:
    """The middle of a red square is redder than anything else, whatever was turned, scaled or tinted."""
    episodes = RealEpisodes(folder, [0, 1, 2], SETTINGS, 6, seed=3)
    checked = 0
    for i in range(6):
        episode = episodes[i]
        for b, g in (episode.box_classes == 0).nonzero().tolist():
            x1, y1, x2, y2 = episode.boxes_xyxy_px[b, g].tolist()
            if min(x1, y1) < 4 or max(x2, y2) > 92:
                continue
            inside = episode.queries[b, :, int((y1 + y2) / 2), int((x1 + x2) / 2)].int()
            outside = episode.queries[b, :, int(y1) - 3, int(x1) - 3].int()
            if episode.queries[b].float().std(0).max() < 1:  # turned to grey
                continue
            assert inside[0] - inside[1] > outside[0] - outside[1] + 30
            checked += 1
    assert checked > 3


def test_episodes_depend_on_seed_and_number_only(folder: CocoFolder) -> None:
    episodes = RealEpisodes(folder, [0, 1, 2], SETTINGS, 6, seed=1)
    again = RealEpisodes(folder, [0, 1, 2], SETTINGS, 6, seed=1)
    other = RealEpisodes(folder, [0, 1, 2], SETTINGS, 6, seed=2)
    assert same(episodes[4], again[4])
    assert not same(episodes[4], episodes[5])
    assert not same(episodes[4], other[4])


def test_workers_emit_what_one_process_emits(folder: CocoFolder) -> None:
    """albumentations gives every worker the same stream unless it is seeded anew for each item."""
    episodes = RealEpisodes(folder, [0, 1, 2], SETTINGS, 4, seed=1)
    loader: DataLoader[Episode] = DataLoader(episodes, batch_size=None, num_workers=2)
    from_workers = list(loader)
    assert all(same(episodes[i], got) for i, got in enumerate(from_workers))


def test_a_class_without_boxes_is_named(folder: CocoFolder) -> None:
    squares = only_shots(folder, draw_shots(folder, ["square"], 2, 0))
    with pytest.raises(UserError, match="no box of class 'disc'"):
        RealEpisodes(squares, [0, 1], SETTINGS, 1, seed=0)


def test_with_shots_only_the_shots_are_known(folder: CocoFolder) -> None:
    shots = draw_shots(folder, folder.class_names, 2, 0)
    known = only_shots(folder, shots)
    assert sorted(b for image in known.images for b in image.box_ids) == sorted(
        b for ids in shots.box_ids.values() for b in ids
    )
    episode = RealEpisodes(known, [0, 1, 2], SETTINGS, 1, seed=0, known_margin=0.5)[0]
    for b in range(3):
        boxes = episode.boxes_xyxy_px[b][episode.box_classes[b] >= 0]
        regions = episode.known_xyxy_px[b]
        regions = regions[(regions[:, 2:] > regions[:, :2]).all(1)]
        assert len(regions) == len(boxes)
        area = (regions[:, 2:] - regions[:, :2]).prod(1)
        assert (area < 0.9 * 96**2).all()


def test_what_is_difficult_or_a_crowd_is_neither_object_nor_example_nor_background(folder: CocoFolder) -> None:
    """Discs are difficult, and a crowd of them is at the top of every image."""
    crowd = np.array([[0.0, 0, 128, 6]])
    images = tuple(
        replace(i, difficult=i.class_ids == 1, crowd_boxes_xyxy_px=crowd, crowd_class_ids=np.array([1]))
        for i in folder.images
    )
    unclear = replace(folder, images=images)
    with pytest.raises(UserError, match="no box of class 'disc'"):
        RealEpisodes(unclear, [0, 1, 2], SETTINGS, 1, seed=0)
    episodes, plain = (RealEpisodes(f, [0, 2], SETTINGS, 8, seed=0) for f in (unclear, folder))
    for i in range(8):
        episode, as_ever = episodes[i], plain[i]
        assert torch.equal(episode.queries, as_ever.queries), "nothing else is drawn than without them"
        assert torch.equal(episode.supports, as_ever.supports)
        assert set(episode.box_classes.unique().tolist()) <= {-1, 0, 2}
        for b in range(len(episode.queries)):
            discs = as_ever.boxes_xyxy_px[b][as_ever.box_classes[b] == 1]
            aside = episode.ignored_xyxy_px[b]
            assert all((disc == aside).all(1).any() for disc in discs)
    crowds = [r for e in map(episodes.__getitem__, range(8)) for r in e.ignored_xyxy_px.flatten(0, 1).tolist()]
    sides = [sorted((right - left, bottom - top)) for left, top, right, bottom in crowds]
    assert any(0 < short < 12 and long > 80 for short, long in sides)


def test_a_k_shot_learner_knows_of_no_difficult_object_and_no_crowd(folder: CocoFolder, tmp_path: Path) -> None:
    crowd = np.array([[0.0, 0, 128, 6]])
    images = tuple(
        replace(i, difficult=np.arange(6) < 3, crowd_boxes_xyxy_px=crowd, crowd_class_ids=np.array([1]))
        for i in folder.images
    )
    unclear = replace(folder, images=images)
    drawn = draw_shots(unclear, ["disc"], 8, 0)
    assert not any(image.difficult[i] for image, i in (unclear.box_location[b] for b in drawn.box_ids["disc"]))
    with pytest.raises(UserError, match="9 shots of 'disc' asked for, but only 8"):
        draw_shots(unclear, ["disc"], 9, 0)
    known = only_shots(unclear, drawn)
    assert RealEpisodes(known, [1], SETTINGS, 1, seed=0, known_margin=0.5)[0].ignored_xyxy_px.shape[1] == 0
    draw_shots(folder, ["disc"], 16, 0).save(tmp_path / "shots.json")
    with pytest.raises(UserError, match=r"shots\.json: box \d+ of 'disc' is called difficult by the data set"):
        load_shots(tmp_path / "shots.json", unclear)


def test_queries_can_be_drawn_for_some_classes_more_often(folder: CocoFolder) -> None:
    def shows_it(share: float) -> float:
        episodes = RealEpisodes(folder, [0, 1, 2], SETTINGS, 40, seed=0, often=([2], share))
        return float(
            np.mean([(e.box_classes == 2).any(1).float().mean() for e in map(episodes.__getitem__, range(40))])
        )

    assert shows_it(1.0) == 1.0
    assert shows_it(0.0) < 0.8


def test_invented_episodes_are_repeatable_and_complete() -> None:
    settings = SETTINGS.model_copy(update={"ways": 3, "query_px": 160})
    episodes = ProceduralEpisodes(settings, 2, seed=0)
    first = episodes[0]
    assert same(first, ProceduralEpisodes(settings, 2, seed=0)[0])
    assert first.invented
    assert first.class_ids.tolist() == [0, 1, 2]
    assert first.supports.shape[0] == 3
    assert set(first.box_classes.unique().tolist()) <= {-1, 0, 1, 2}


def test_mixture_starts_invented_and_keeps_its_share(folder: CocoFolder) -> None:
    one = RealEpisodes(folder, [0, 1, 2], SETTINGS, 1, seed=0)[0]

    class Repeated(torch.utils.data.Dataset[Episode]):
        def __init__(self, invented: bool) -> None:
            self.episode = replace(one, invented=torch.tensor(invented))

        def __getitem__(self, i: int) -> Episode:
            return self.episode

    mixed = MixedEpisodes(Repeated(False), Repeated(True), first=5, share=0.3, seed=0)
    invented = [bool(mixed[i].invented) for i in range(405)]
    assert all(invented[:5])
    assert 0.2 < np.mean(invented[5:]) < 0.4


def test_cache_holds_the_pixels_and_notices_a_change(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "folder")
    cache = PixelCache(folder)
    for i, image in enumerate(folder.images):
        assert np.array_equal(cache[i], read_image(image))
    assert list((folder.root / ".cache").rglob("*.part")) == []
    changed = folder.images[1]
    Image.fromarray(255 - read_image(changed)).save(changed.path)
    again = PixelCache(folder)
    assert np.array_equal(again[1], read_image(changed))
    with pytest.raises(UserError, match=r"2-\w+\.u8: was removed .* change of 002\.png; run the same command"):
        cache[1]
    assert len(list((folder.root / ".cache").rglob("*.u8"))) == len(folder.images), "the old pixels are gone"


def test_images_are_decoded_together_as_far_as_memory_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path / "folder")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    side_px = folder.images[0].width_px
    assert _at_once(folder, monkeypatch) > 1
    shutil.rmtree(folder.root / ".cache")
    monkeypatch.setattr(cache, "AT_ONCE_PX", side_px)
    assert _at_once(folder, monkeypatch) == 1


def _at_once(folder: CocoFolder, monkeypatch: pytest.MonkeyPatch) -> int:
    """The most images that were being decoded at a time."""
    counts, under_way = [0], set()

    def slowly(image: ImageRecord) -> np.ndarray:
        under_way.add(image.id)
        counts.append(len(under_way))
        time.sleep(0.05)
        under_way.remove(image.id)
        return read_image(image)

    monkeypatch.setattr(cache, "read_image", slowly)
    PixelCache(folder)
    return max(counts)


def test_five_selections_share_one_copy_of_each_image(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "folder")
    (folder.root / ".cache").mkdir()
    (folder.root / ".cache" / "pixels-0123456789abcdef.u8").write_bytes(b"of an earlier fsod")
    for start in range(5):
        part = replace(folder, images=folder.images[start : start + 3])
        for i, image in enumerate(part.images):
            assert np.array_equal(PixelCache(part)[i], read_image(image))
    files = list((folder.root / ".cache").rglob("*.u8"))
    assert sum(file.stat().st_size for file in files) == sum(i.width_px * i.height_px * 3 for i in folder.images[:7])


def test_two_runs_fill_one_cache_at_once(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "folder")
    ready = multiprocessing.Barrier(2)

    def fill() -> int:
        ready.wait()
        cache = PixelCache(load_folder(folder.root))
        return sum(int(cache[i].sum()) for i in range(len(folder.images)))

    runs = [Forked(fill), Forked(fill)]
    expected = sum(int(read_image(image).sum()) for image in folder.images)
    assert [run.answer() for run in runs] == [expected] * 2
    assert [run.exit_code() for run in runs] == [0, 0]
    assert list((folder.root / ".cache").rglob("*.part")) == []


def test_support_crop_shows_small_objects_at_native_scale_and_large_ones_whole() -> None:
    rgb = np.zeros((200, 300, 3), np.uint8)
    rgb[50:60, 100:120] = 255
    small = support_crop(rgb, np.array([100.0, 50, 120, 60]), 64)
    assert small.mask.sum() == 200
    assert (small.rgb[small.mask == 1] == 255).all()
    assert small.side_px == pytest.approx(np.sqrt(200))
    large = support_crop(rgb, np.array([10.0, 10, 290, 150]), 64)
    ys, xs = large.mask.nonzero()
    assert (xs.max() - xs.min() + 1) / 64 == pytest.approx(1 / 1.5, abs=0.05)
    assert ys.min() > 0


def test_crops_are_grey_beyond_the_image(tmp_path: Path) -> None:
    square = Square(-10, -10, 20, 40)
    out = square.pixels(np.full((5, 5, 3), 200, np.uint8))
    assert out.shape == (40, 40, 3)
    assert (out[0, 0] == 114).all()
    assert (out[24, 24] == 200).all()
    assert square.boxes(np.array([[0.0, 0, 5, 5]])).tolist() == [[20, 20, 30, 30]]


def test_visible_counts_area_inside() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [-5, 0, 5, 10], [-9, 0, 1, 10]])
    assert visible(boxes, 100, 0.4).tolist() == [True, True, False]
