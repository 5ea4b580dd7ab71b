"""Textured grounds: fields, meadows, forest, soil, paving and water, parted by roads and field borders.

Everything is made from a few octaves of noise that are drawn small and enlarged, so a ground costs milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_REGION_PX = 170
_MAX_LINES = 7  # region numbers are one bit a line
_COARSER = 2  # grounds are made at half the resolution and enlarged, which also smooths their edges


@dataclass(frozen=True)
class Cover:
    """One kind of ground.

    Attributes:
        colours: 8-bit RGB, one is taken for a region.
        grain: amplitudes (8-bit levels) of noise about 2, 6, 20 and 80 pixels coarse.
        stripes: highest amplitude of the stripes that ploughing, mowing or waves leave; 0 for none.
    """

    colours: tuple[tuple[int, int, int], ...]
    grain: tuple[float, float, float, float]
    stripes: float = 0.0


WATER = Cover(((44, 72, 90), (58, 88, 94), (36, 56, 76), (78, 104, 98)), (1.5, 3, 3, 6), 3.0)
LAND: tuple[Cover, ...] = (
    Cover(((112, 134, 78), (132, 142, 86), (94, 122, 66)), (5, 6, 6, 8), 14.0),  # crops
    Cover(((172, 150, 106), (186, 168, 124), (150, 134, 96)), (5, 5, 6, 8), 12.0),  # stubble
    Cover(((96, 124, 72), (116, 132, 84), (84, 110, 66)), (5, 7, 9, 10), 4.0),  # meadow
    Cover(((56, 80, 50), (66, 88, 58), (48, 70, 48)), (9, 20, 8, 6)),  # forest
    Cover(((158, 132, 104), (136, 108, 84), (184, 160, 130)), (6, 7, 9, 12)),  # bare soil
    Cover(((112, 112, 112), (134, 132, 128), (94, 94, 98)), (5, 4, 7, 8)),  # asphalt
    Cover(((176, 172, 164), (160, 156, 148)), (5, 5, 6, 9), 5.0),  # concrete
)


@dataclass
class Ground:
    """A ground that objects can be put on, and that streams and roads can still be led through.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        water: (H, W) uint8, 255 where there is water.
        shore_normal: (2,) unit vector from land into the large water, None without one.
    """

    image: NDArray[np.uint8]
    water: NDArray[np.uint8]
    shore_normal: NDArray[np.float64] | None


def noise(rng: np.random.Generator, size_px: tuple[int, int], grain_px: int) -> NDArray[np.float32]:
    """(height, width) float32 noise of about unit deviation, about ``grain_px`` pixels coarse."""
    height, width = size_px
    small = rng.standard_normal((height // grain_px + 3, width // grain_px + 3), dtype=np.float32)
    if grain_px == 1:
        return small[:height, :width]
    large = cv2.resize(small, None, fx=grain_px, fy=grain_px, interpolation=cv2.INTER_CUBIC)
    # enlarging averages neighbours, which takes part of the deviation
    return np.asarray(1.25 * large[grain_px : grain_px + height, grain_px : grain_px + width], dtype=np.float32)


def sample_ground(rng: np.random.Generator, size_px: tuple[int, int], water_share: float = 0.0) -> Ground:
    """Draws a ground of (height, width) pixels.

    Args:
        rng: source of all choices.
        size_px: height and width.
        water_share: about how much of it is one large water (0..1) with a winding shore.
    """
    half = (-(-size_px[0] // _COARSER), -(-size_px[1] // _COARSER))
    octaves = [noise(rng, half, grain // _COARSER) for grain in (2, 6, 20, 80)]
    ys, xs = (_COARSER * np.arange(n, dtype=np.float32) for n in half)
    ys, xs = ys[:, None], xs[None]
    sides, distances = _part(rng, size_px, xs, ys, octaves[3])
    lines = len(distances)
    covers = [LAND[i] for i in rng.integers(len(LAND), size=1 << lines)]
    water, normal = np.zeros(half, np.uint8), None
    if water_share > 0:
        normal, depth = _shore(rng, size_px, xs, ys, water_share)
        water = np.where(depth + 7 * octaves[2] + 9 * octaves[3] > 0, np.uint8(255), np.uint8(0))
        sides[water > 0] = 1 << lines
    image = _texture(rng, [*covers, WATER], sides, octaves, xs, ys)
    if normal is not None:
        distances = [np.where(water > 0, np.float32(np.inf), distance) for distance in distances]
        _pale_edge(image, water)
    _draw_borders(rng, image, distances, octaves[1])
    size = (half[1] * _COARSER, half[0] * _COARSER)
    large = cv2.resize(np.clip(image, 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
    wet = cv2.resize(water, size, interpolation=cv2.INTER_NEAREST)
    return Ground(large[: size_px[0], : size_px[1]].copy(), wet[: size_px[0], : size_px[1]].copy(), normal)


def _part(
    rng: np.random.Generator,
    size_px: tuple[int, int],
    xs: NDArray[np.float32],
    ys: NDArray[np.float32],
    warp: NDArray[np.float32],
) -> tuple[NDArray[np.uint16], list[NDArray[np.float32]]]:
    """Parts the plane by a few lines; each pixel's region is made of the sides it lies on."""
    height, width = size_px
    count = min(_MAX_LINES, 1 + round(max(size_px) / _REGION_PX) + int(rng.integers(-1, 2)))
    first = rng.uniform(0, np.pi)
    sides = np.zeros(warp.shape, np.uint16)
    distances: list[NDArray[np.float32]] = []
    for i in range(max(count, 1)):
        # land is parcelled along two directions
        angle = first + np.pi / 2 * int(rng.integers(2)) + rng.normal(0, 0.12)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        distance = (xs - np.float32(rng.uniform(0, width))) * cos + (ys - np.float32(rng.uniform(0, height))) * sin
        if rng.random() < 0.4:
            distance = distance + np.float32(8) * warp
        sides |= (distance > 0).astype(np.uint16) << i
        distances.append(distance)
    return sides, distances


def _shore(
    rng: np.random.Generator,
    size_px: tuple[int, int],
    xs: NDArray[np.float32],
    ys: NDArray[np.float32],
    water_share: float,
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Direction into the water, and how far beyond a straight shore each pixel lies."""
    height, width = size_px
    angle = rng.uniform(0, 2 * np.pi)
    normal = np.array([np.cos(angle), np.sin(angle)])
    reach = abs(width * normal[0]) + abs(height * normal[1])
    offset = (0.5 - water_share) * reach * 0.8
    depth = (xs - width / 2) * np.float32(normal[0]) + (ys - height / 2) * np.float32(normal[1]) - np.float32(offset)
    return normal, depth.astype(np.float32)


def _texture(
    rng: np.random.Generator,
    covers: list[Cover],
    sides: NDArray[np.uint16],
    octaves: list[NDArray[np.float32]],
    xs: NDArray[np.float32],
    ys: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Colours, grain and stripes of every region, looked up by region number."""
    n = len(covers)
    colours = np.array([c.colours[int(rng.integers(len(c.colours)))] for c in covers], dtype=np.float32)
    colours += rng.normal(0, 7, (n, 1)).astype(np.float32) + rng.normal(0, 3, (n, 3)).astype(np.float32)
    grain = np.array([c.grain for c in covers], dtype=np.float32) * rng.uniform(0.6, 1.3, (n, 1)).astype(np.float32)
    stripes = np.array([c.stripes for c in covers]) * rng.random(n) * (rng.random(n) < 0.7)
    angles, periods = rng.uniform(0, np.pi, n), rng.uniform(6, 14, n)
    wave = (2 * np.pi / periods * np.stack([np.cos(angles), np.sin(angles)])).astype(np.float32)

    level = stripes.astype(np.float32)[sides] * np.sin(wave[0][sides] * xs + wave[1][sides] * ys + octaves[2] * 0.4)
    for i, octave in enumerate(octaves):
        level += grain[:, i][sides] * octave
    return np.asarray(colours[sides] + level[..., None])


def _draw_borders(
    rng: np.random.Generator,
    image: NDArray[np.float32],
    distances: list[NDArray[np.float32]],
    grain: NDArray[np.float32],
) -> None:
    """Roads, tracks and hedges along the lines that part the land."""
    for distance in distances:
        kind = rng.random()
        if kind < 0.45:  # a road, with pale shoulders
            half = np.float32(rng.uniform(3.5, 7))
            _band(image, distance, half + 1.5, (176, 170, 158), grain)
            _band(image, distance, half, (112, 112, 114) if rng.random() < 0.6 else (150, 146, 140), grain)
            if rng.random() < 0.5:
                _band(image, distance, np.float32(0.8), (200, 198, 190), grain)
        elif kind < 0.65:
            _band(image, distance, np.float32(rng.uniform(1.2, 2.5)), (168, 146, 112), grain)
        elif kind < 0.85:
            hedge = distance + 2 * grain
            _band(image, hedge, np.float32(rng.uniform(2, 4)), (58, 82, 50), 4 * grain)


def _band(
    image: NDArray[np.float32],
    distance: NDArray[np.float32],
    half_width: np.float32,
    colour: tuple[int, int, int],
    grain: NDArray[np.float32],
) -> None:
    inside = np.abs(distance) < half_width
    image[inside] = np.array(colour, np.float32) + 3 * grain[inside][:, None]


def _pale_edge(image: NDArray[np.float32], water: NDArray[np.uint8]) -> None:
    """A wet or sandy strip on the land that touches water."""
    edge = (cv2.dilate(water, np.ones((3, 3), np.uint8)) > 0) & (water == 0)
    image[edge] = 0.5 * image[edge] + 0.5 * np.array((186, 174, 148), np.float32)


def lead_stream(
    rng: np.random.Generator,
    ground: Ground,
    crossing_px: NDArray[np.float64],
    road_rad: float,
    span_px: float,
    keep_clear: NDArray[np.uint8],
) -> bool:
    """Leads a stream over ``ground``, in place, and a road towards it from both sides, as a bridge needs them.

    Args:
        rng: source of all choices.
        ground: is changed, image and water, unless the answer is no.
        crossing_px: (2,) where road and stream cross, x and y.
        road_rad: direction of the road; the stream comes at right angles to it.
        span_px: length of the bridge; the stream is narrower.
        keep_clear: (H, W) uint8, non-zero where neither may go.

    Returns:
        Whether there was room.
    """
    road = np.array([np.cos(road_rad), np.sin(road_rad)])
    along = np.linspace(-1, 1, 25)
    wiggle = rng.uniform(0, 0.35) * np.sin(along * rng.uniform(1.5, 4)) * np.abs(along)
    reach = max(2.2 * span_px, 180.0)
    path = crossing_px + reach * (along[:, None] * np.array([-road[1], road[0]]) + wiggle[:, None] * road)
    inside = path[((path >= 0) & (path < keep_clear.shape[::-1])).all(1)].astype(int)
    if (keep_clear | ground.water)[inside[:, 1], inside[:, 0]].any():
        return False
    stream, lane = np.zeros_like(ground.water), np.zeros_like(ground.water)
    cv2.polylines(stream, [np.rint(path).astype(np.int32)], False, 255, round(span_px * rng.uniform(0.45, 0.68)))
    ends = np.rint(crossing_px + np.outer((-1, 1), road) * rng.uniform(1.2, 2.5) * span_px).astype(np.int32)
    cv2.line(lane, ends[0].tolist(), ends[1].tolist(), 255, max(2, round(0.13 * span_px)), cv2.LINE_AA)
    if ((stream | lane) & (keep_clear | ground.water)).any():
        return False

    left, top, width, height = cv2.boundingRect(stream | lane)
    part = (slice(top, top + height), slice(left, left + width))
    image, wet = ground.image[part].astype(np.float32), stream[part]
    grain = 3 * noise(rng, (height, width), 1) + 4 * noise(rng, (height, width), 20)
    weight = lane[part].astype(np.float32)[..., None] / 255
    image += weight * (np.array((120, 119, 118), np.float32) - image)
    _pale_edge(image, wet)
    inside = wet > 0
    image[inside] = np.array(WATER.colours[int(rng.integers(len(WATER.colours)))]) + grain[inside][:, None]
    ground.image[part] = np.clip(image, 0, 255).astype(np.uint8)
    ground.water |= stream
    return True
