import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fsod.data.procedural.grammar import Family, sample_instance
from fsod.data.procedural.named import common_clutter, named_families
from fsod.data.procedural.paint import paint, sample_light, visible_box


def _box(rng: np.random.Generator, family: Family) -> NDArray[np.float64]:
    sprite = paint(
        sample_instance(rng, family), np.array([150.0, 150.0]), float(rng.uniform(0, 6.3)), sample_light(rng)
    )
    return visible_box(sprite, (300, 300))


def test_what_a_scene_needs_is_there() -> None:
    names = set(named_families())
    assert len(names) >= 12
    assert {"aircraft", "storage_tank", "tennis_court", "baseball_diamond", "ship", "vehicle", "wind_turbine"} <= names
    assert names.isdisjoint(family.name for family in common_clutter())
    assert all(name == family.name for name, family in named_families().items())


@pytest.mark.parametrize("name", list(named_families()))
def test_objects_are_of_a_size_that_can_be_found_at_a_metre(name: str) -> None:
    rng = np.random.default_rng(1)
    boxes = np.array([_box(rng, named_families()[name]) for _ in range(30)])
    longer = (boxes[:, 2:] - boxes[:, :2]).max(1)
    assert longer.min() >= 7
    assert longer.max() <= 135
    # one class, many sizes
    assert longer.max() > 1.3 * longer.min()


def test_families_look_different_and_alike_within_themselves() -> None:
    # nearest mean on small grey pictures, upright and centred: chance would be one in fifteen
    rng = np.random.default_rng(2)

    def picture(family: Family) -> NDArray[np.float64]:
        sprite = paint(sample_instance(rng, family), np.array([150.0, 150.0]), 0.0, sample_light(rng))
        x1, y1, x2, y2 = visible_box(sprite, (300, 300)).astype(int)
        side = max(x2 - x1, y2 - y1)
        canvas = np.zeros((side, side))
        left, top = sprite.left_top_px
        alpha = sprite.rgba[y1 - top : y2 - top, x1 - left : x2 - left, 3]
        canvas[(side - y2 + y1) // 2 :, (side - x2 + x1) // 2 :][: y2 - y1, : x2 - x1] = alpha
        small = cv2.resize(canvas, (24, 24), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.float64).ravel() / 255

    families = [family for name, family in named_families().items() if name not in ("vehicle", "helipad")]
    means = np.stack([np.mean([picture(family) for _ in range(20)], axis=0) for family in families])
    hits = [
        np.argmin(((means - picture(family)) ** 2).sum(1)) == i for i, family in enumerate(families) for _ in range(20)
    ]
    assert np.mean(hits) > 0.6
