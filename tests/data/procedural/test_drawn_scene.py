from collections.abc import Sequence

import numpy as np
import pytest

from fsod.boxes import intersection_px
from fsod.data.procedural.drawn_scene import DrawnScene, draw_scene
from fsod.data.procedural.grammar import Family
from fsod.data.procedural.grounds import sample_ground
from fsod.data.procedural.invent import random_family
from fsod.data.procedural.layout import MIN_VISIBLE, Layout
from fsod.data.procedural.named import common_clutter, named_families
from fsod.data.procedural.paint import overlap, sample_light

FAMILIES = tuple(named_families().values())


def _scene(seed: int) -> DrawnScene:
    return draw_scene(
        np.random.default_rng(seed),
        (320, 320),
        FAMILIES,
        [1] * len(FAMILIES),
        clutter=common_clutter(),
        clutter_count=5,
    )


def _layout(seed: int, families: Sequence[Family], per_family: int = 3, water_share: float = 0.4) -> Layout:
    rng = np.random.default_rng(seed)
    layout = Layout(sample_ground(rng, (320, 320), water_share), sample_light(rng), 1.0, np.zeros((320, 320), np.uint8))
    for i, family in enumerate(families):
        layout.place_group(rng, family, per_family, i)
    return layout


def test_the_same_generator_state_gives_the_same_scene() -> None:
    one, same, other = _scene(1), _scene(1), _scene(2)
    assert one.image.tobytes() == same.image.tobytes()
    assert one.boxes_xyxy_px.tobytes() == same.boxes_xyxy_px.tobytes()
    assert one.class_ids.tobytes() == same.class_ids.tobytes()
    assert one.image.tobytes() != other.image.tobytes()


def test_what_a_scene_holds() -> None:
    scene = _scene(3)
    assert scene.image.shape == (320, 320, 3)
    assert scene.image.dtype == np.uint8
    assert scene.boxes_xyxy_px.dtype == np.float64
    assert scene.class_ids.dtype == np.int64
    assert len(scene.boxes_xyxy_px) == len(scene.class_ids) > 8
    assert (np.bincount(scene.class_ids, minlength=len(FAMILIES)) <= 1).all()
    assert (scene.boxes_xyxy_px >= 0).all()
    assert (scene.boxes_xyxy_px <= 320).all()
    assert (scene.boxes_xyxy_px[:, 2:] - scene.boxes_xyxy_px[:, :2] >= 4).all()


def test_nothing_asked_for_is_nothing_labelled() -> None:
    scene = draw_scene(
        np.random.default_rng(0), (96, 128), FAMILIES[:2], [0, 0], clutter=common_clutter(), clutter_count=6
    )
    assert scene.image.shape == (96, 128, 3)
    assert scene.boxes_xyxy_px.shape == (0, 4)
    assert scene.class_ids.shape == (0,)


def test_as_many_counts_as_families() -> None:
    with pytest.raises(ValueError, match="zip"):
        draw_scene(np.random.default_rng(0), (96, 96), FAMILIES[:2], [1])


def test_no_object_covers_a_pixel_of_another_and_each_is_seen() -> None:
    for seed in range(8):
        layout = _layout(seed, FAMILIES)
        covered = np.zeros((320, 320), np.uint8)
        for sprite in layout.sprites:
            target, part = overlap(covered, sprite.mask.shape, sprite.left_top_px)
            target += sprite.mask[part]
            assert sprite.mask[part].sum() >= MIN_VISIBLE * sprite.mask.sum()
        assert covered.max() == 1


def test_boxes_are_those_of_the_objects_placed() -> None:
    layout = _layout(1, FAMILIES)
    assert len(layout.boxes_xyxy_px) == len(layout.sprites) > 12
    for box, sprite in zip(layout.boxes_xyxy_px, layout.sprites, strict=True):
        mask = np.zeros((320, 320), np.uint8)
        target, part = overlap(mask, sprite.mask.shape, sprite.left_top_px)
        target[:] = sprite.mask[part]
        ys, xs = np.nonzero(mask)
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


@pytest.mark.parametrize(
    ("name", "wet"), [("ship", (1, 1)), ("aircraft", (0, 0)), ("harbor", (0.8, 1)), ("bridge", (0.3, 0.8))]
)
def test_objects_stand_where_they_belong(name: str, wet: tuple[float, float]) -> None:
    placed = 0
    for seed in range(24):
        layout = _layout(seed, [named_families()[name]])
        for sprite in layout.sprites:
            water, part = overlap(layout.ground.water, sprite.mask.shape, sprite.left_top_px)
            share = (water[sprite.mask[part]] > 0).mean()
            assert wet[0] <= share <= wet[1]
            placed += 1
    assert placed >= 8


def test_objects_of_a_row_stand_side_by_side_in_one_style() -> None:
    apart: list[float] = []
    for seed in range(20):
        layout = _layout(seed, [named_families()["tennis_court"]], per_family=4, water_share=0.0)
        boxes = np.array(layout.boxes_xyxy_px)
        if len(boxes) < 2:
            continue
        sizes = (boxes[:, 2:] - boxes[:, :2]).max(1)
        assert sizes.max() < 1.8 * sizes.min()
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        apart += (np.linalg.norm(np.diff(middles, axis=0), axis=1) / sizes[1:]).tolist()
    assert len(apart) > 10
    assert np.median(apart) < 1.2


def test_invented_families_make_scenes_too() -> None:
    rng = np.random.default_rng(0)
    families = [random_family(rng) for _ in range(6)]
    scene = draw_scene(rng, (320, 320), families, [3] * 6)
    assert len(scene.class_ids) >= 12
    assert set(scene.class_ids) <= set(range(6))


def test_objects_stand_out_from_the_ground_where_their_boxes_say() -> None:
    # the same picture without its objects is not to be had, so compare inside with outside: edges are where boxes are
    inside, outside = [], []
    for seed in range(6):
        scene = draw_scene(np.random.default_rng(seed), (320, 320), FAMILIES, [1] * len(FAMILIES))
        grey = scene.image.astype(float).mean(2)
        edges = np.abs(np.diff(grey, axis=1))[:-1] + np.abs(np.diff(grey, axis=0))[:, :-1]
        mask = np.zeros(edges.shape, bool)
        for x1, y1, x2, y2 in scene.boxes_xyxy_px.astype(int):
            mask[y1:y2, x1:x2] = True
        inside.append(edges[mask].mean())
        outside.append(edges[~mask].mean())
    assert np.mean(inside) > 1.5 * np.mean(outside)


def test_boxes_of_different_objects_rarely_overlap_much() -> None:
    scene = _scene(5)
    both = intersection_px(scene.boxes_xyxy_px, scene.boxes_xyxy_px)
    own = np.diag(both).copy()
    np.fill_diagonal(both, 0)
    assert (both.max(1) <= 0.9 * own).all()
