from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from data_prep.overlap import Ground, connected, describe_ground, find_overlaps
from fsod.data.coco_folder import read_rgb

Rgb = NDArray[np.uint8]
SIDE_PX = 320


def drawn_ground(seed: int, side_px: int = 900) -> Rgb:
    """Fields, roofs and roads: patches of all sizes in all directions on a slowly changing ground."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.integers(60, 140, (12, 12, 3)).astype(np.uint8), (side_px, side_px))
    for _ in range(700):
        x, y = rng.integers(0, side_px, 2).tolist()
        size = rng.uniform(4, 45, 2).tolist()
        corners = cv2.boxPoints(((x, y), size, float(rng.uniform(0, 180)))).astype(int)
        cv2.fillPoly(ground, [corners], rng.integers(0, 255, 3).tolist())
    return np.asarray(ground, np.uint8)


def view(ground: Rgb, centre: tuple[float, float], turn_deg: float = 0.0, scale: float = 1.0) -> Rgb:
    """What a camera over ``centre`` sees."""
    matrix = cv2.getRotationMatrix2D(centre, turn_deg, scale)
    matrix[:, 2] += SIDE_PX / 2 - np.array(centre)
    return np.asarray(cv2.warpAffine(ground, matrix, (SIDE_PX, SIDE_PX), flags=cv2.INTER_AREA), np.uint8)


def pairs(images: list[Rgb], sources: list[str] | None = None) -> set[tuple[int, int]]:
    grounds = [describe_ground(rgb) for rgb in images]
    names = sources or [str(i) for i in range(len(images))]
    return {(overlap.first, overlap.second) for overlap in find_overlaps(grounds, names)}


@pytest.mark.parametrize(
    ("centre", "turn_deg", "scale"),
    [
        ((500, 450), 0, 1.0),
        ((470, 520), 137, 1.0),
        ((450, 450), 180, 1.0),
        ((480, 430), -60, 1.4),
        ((450, 450), 20, 0.7),
    ],
)
def test_a_shifted_turned_or_scaled_view_of_one_ground_is_found(
    centre: tuple[float, float], turn_deg: float, scale: float
) -> None:
    one, other = drawn_ground(0), drawn_ground(1)
    images = [view(one, (450, 450)), view(other, (450, 450)), view(one, centre, turn_deg, scale)]
    assert pairs(images) == {(0, 2)}


def test_the_fit_tells_where_the_ground_lies() -> None:
    ground = drawn_ground(2)
    images = [view(ground, (400, 450)), view(ground, (480, 500))]
    (overlap,) = find_overlaps([describe_ground(rgb) for rgb in images], ["a", "b"])
    np.testing.assert_allclose(overlap.similarity, [[1, 0, -80], [0, 1, -50]], atol=0.5)
    assert overlap.correlation > 0.9


def test_groups_hold_together_through_their_members() -> None:
    ground = drawn_ground(3)
    images = [view(ground, (x, 450)) for x in (200, 420, 640)] + [view(drawn_ground(s), (450, 450)) for s in (4, 5, 6)]
    assert pairs(images) == {(0, 1), (1, 2)}, "the outer two share no ground"
    assert connected([(1, 2), (0, 1), (5, 4)]) == [[0, 1, 2], [4, 5]]


def test_one_object_on_two_grounds_is_not_one_ground() -> None:
    stamp = drawn_ground(7, 60)
    images = [view(drawn_ground(seed), (450, 450)) for seed in (8, 9)]
    for rgb in images:
        rgb[:] = cv2.GaussianBlur(rgb, (0, 0), 12)  # so that the best features are the object's
    images[0][40:100, 200:260] = stamp
    images[1][180:240, 90:150] = stamp
    grounds = [describe_ground(rgb) for rgb in images]
    assert _alike(grounds) > 20, "the object alone gives features enough for a fit"
    assert not find_overlaps(grounds, ["a", "b"])


def _alike(grounds: list[Ground]) -> int:
    distances, _ = cv2.batchDistance(
        grounds[0].descriptors, grounds[1].descriptors, cv2.CV_32S, normType=cv2.NORM_HAMMING, K=1
    )
    return int((distances <= 20).sum())


def test_the_overlapping_scenes_of_nwpu(shared: Path) -> None:
    root = shared / "data" / "nwpu_vhr10"
    groups = [set(line.split()) for line in (root / "splits" / "overlapping_scenes.txt").read_text().splitlines()]
    listed = set().union(*groups)
    paths = sorted((root / "positive image set").glob("*.jpg"))
    paths = [path for i, path in enumerate(paths) if path.stem in listed or i % 25 == 0]
    grounds = [describe_ground(read_rgb(path)) for path in paths]
    found = find_overlaps(grounds, [path.stem for path in paths])
    together = [{paths[i].stem for i in group} for group in connected([(o.first, o.second) for o in found])]
    assert all(any(group <= other for other in together) for group in groups)
    assert max(map(len, together)) < 10, "and not because all hangs together"


def test_tiles_of_one_original_are_not_compared() -> None:
    ground = drawn_ground(10)
    images = [view(ground, (400, 450)), view(ground, (460, 450))]
    assert not pairs(images, ["scene", "scene"])


def test_images_without_features_and_none_at_all() -> None:
    blank = np.full((64, 64, 3), 90, np.uint8)
    assert not pairs([blank, blank, view(drawn_ground(11), (450, 450))])
    assert not pairs([blank])
    assert not find_overlaps([], [])


@pytest.mark.parametrize("size_px", [(1, 1), (1, 400), (400, 1), (2, 1000), (10, 5000), (5000, 10)])
def test_strips_are_no_wider_than_they_are(size_px: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    strip = rng.integers(0, 255, (*size_px, 3), dtype=np.uint8)
    assert min(describe_ground(strip).small.shape) == 1
    assert pairs([strip, strip]) == set()


def test_few_features_of_which_no_two_are_alike() -> None:
    ground = describe_ground(view(drawn_ground(11), (450, 450)))
    one = replace(ground, descriptors=ground.descriptors[:1], points_px=ground.points_px[:1])
    assert not find_overlaps([one], ["a"])
