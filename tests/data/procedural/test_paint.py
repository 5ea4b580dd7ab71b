from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fsod.data.procedural import shapes as s
from fsod.data.procedural.grammar import Family, Instance, Motif, motif, sample_instance
from fsod.data.procedural.named import named_families
from fsod.data.procedural.paint import Light, overlap, paint, sample_light, stamp, stamp_shadow, visible_box

LIGHT = Light(azimuth_rad=0.0, shadow_length=1.0, shadow_depth=0.5, contrast=0.2)


def _instance(*design: Motif, size_m: float = 20.0) -> Instance:
    family = Family("thing", (design,), (((200, 60, 60), (60, 60, 200)),), (size_m, size_m))
    return replace(sample_instance(np.random.default_rng(0), family), size_m=size_m)


def _bounds(mask: NDArray[np.bool_]) -> list[int]:
    ys, xs = np.nonzero(mask)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


@pytest.mark.parametrize("name", list(named_families()))
def test_the_box_is_exactly_what_the_object_covers(name: str) -> None:
    rng = np.random.default_rng(4)
    for _ in range(5):
        instance = sample_instance(rng, named_families()[name])
        sprite = paint(instance, rng.uniform(90, 110, 2), float(rng.uniform(0, 6.3)), sample_light(rng))
        coverage = np.zeros((200, 200, 3), np.uint8)
        white = sprite._replace(rgba=np.repeat(sprite.rgba[..., 3:], 4, axis=2))
        stamp(coverage, white)
        assert visible_box(sprite, (200, 200)).tolist() == _bounds(coverage[..., 0] >= 128)


def test_a_bar_on_whole_pixels_has_its_own_measures_as_box() -> None:
    bar = _instance(motif(s.bar, length=1, width=0.5))
    assert visible_box(paint(bar, np.array([50.0, 40.0]), 0.0, LIGHT), (100, 100)).tolist() == [40, 35, 60, 45]
    assert visible_box(paint(bar, np.array([50.0, 40.0]), np.pi / 2, LIGHT), (100, 100)).tolist() == [45, 30, 55, 50]


def test_gsd_scales_objects() -> None:
    bar = _instance(motif(s.bar, length=1, width=0.5))
    assert visible_box(paint(bar, np.array([50.0, 40.0]), 0.0, LIGHT, gsd_m=0.5), (100, 100)).tolist() == [
        30,
        30,
        70,
        50,
    ]


def test_the_shadow_falls_beside_the_object_and_not_into_its_box() -> None:
    high = _instance(motif(s.bar, top=0.5, length=1, width=0.5))
    sprite = paint(high, np.array([50.0, 40.0]), 0.0, LIGHT)
    assert visible_box(sprite, (100, 100)).tolist() == [40, 35, 60, 45]
    image = np.full((100, 100, 3), 200, np.uint8)
    stamp_shadow(image, sprite, LIGHT)
    left, top, right, bottom = _bounds((image != 200).any(2))
    # half of 20 m high, as long as high, towards +x; the rim is blurred over two pixels
    assert (left, top, right, bottom) == pytest.approx((40, 35, 70, 45), abs=2)
    assert image[40, 65].tolist() == [100, 100, 100]


def test_a_tower_shades_a_line_and_a_rotor_only_its_own_place() -> None:
    turbine = _instance(
        motif(s.disc, top=1.0, length=0.1, width=0.1), motif(s.disc, base=0.98, top=1.0, length=0.4, width=0.4)
    )
    sprite = paint(turbine, np.array([30.0, 50.0]), 0.0, LIGHT)
    image = np.full((100, 100, 3), 200, np.uint8)
    stamp_shadow(image, sprite, LIGHT)
    dark = image[..., 0] < 150
    assert 1 <= dark[:, 40].sum() <= 4
    assert dark[:, 50].sum() >= 7


def test_flat_objects_cast_none() -> None:
    sprite = paint(_instance(motif(s.bar, length=1, width=0.5)), np.array([50.0, 40.0]), 0.0, LIGHT)
    image = np.full((100, 100, 3), 200, np.uint8)
    stamp_shadow(image, sprite, LIGHT)
    assert (image == 200).all()


def test_the_slope_towards_the_sun_is_the_bright_one() -> None:
    roof = _instance(motif(s.gable, length=1, width=1))
    image = np.zeros((60, 60, 3), np.uint8)
    stamp(image, paint(roof, np.array([30.0, 30.0]), np.pi / 2, LIGHT))
    # shadows fall to the right, so the sun stands on the left
    assert image[30, 25, 0] > image[30, 35, 0]


def test_an_object_over_the_edge_is_cut_there() -> None:
    sprite = paint(_instance(motif(s.bar, length=1, width=0.5)), np.array([5.0, 98.0]), 0.0, LIGHT)
    image = np.zeros((100, 100, 3), np.uint8)
    stamp(image, sprite)
    assert visible_box(sprite, (100, 100)).tolist() == [0, 93, 15, 100]
    assert _bounds(image[..., 0] > 100) == [0, 93, 15, 100]


def test_an_object_outside_has_no_box() -> None:
    sprite = paint(_instance(motif(s.bar, length=1, width=0.5)), np.array([-50.0, 40.0]), 0.0, LIGHT)
    with pytest.raises(ValueError, match="outside its image of 100x100"):
        visible_box(sprite, (100, 100))
    image = np.zeros((100, 100, 3), np.uint8)
    stamp(image, sprite)
    assert not image.any()


def test_overlap_is_a_view() -> None:
    image = np.zeros((10, 10), np.uint8)
    target, part = overlap(image, (4, 4), (-2, 8))
    assert target.shape == (2, 2)
    assert np.ones((4, 4))[part].shape == (2, 2)
    target[:] = 7
    assert image.sum() == 28
