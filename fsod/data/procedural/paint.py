"""Painting one object onto a ground: shape, light, cast shadow and the object's exact box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fsod.data.procedural.grammar import Instance

_SUBPIXEL_BITS = 4
_FINE_UP_TO_PX = 64  # larger objects are drawn three times finer than pixels, smaller ones four times
_SEEN_SWEEP_PX = 1.2
MARGIN_PX = 2
_COVERED = 128  # an object covers a pixel when it hides half of it


@dataclass(frozen=True)
class Light:
    """The sun over a scene.

    Attributes:
        azimuth_rad: direction in which shadows fall, in image axes (x right, y down).
        shadow_length: length of a shadow over the height of what casts it.
        shadow_depth: share of the light that a shadow takes away.
        contrast: how much brighter a slope towards the sun is, and how much darker one away from it.
    """

    azimuth_rad: float
    shadow_length: float
    shadow_depth: float
    contrast: float

    @property
    def direction(self) -> NDArray[np.float64]:
        """(2,) unit vector along which shadows fall."""
        return np.array([np.cos(self.azimuth_rad), np.sin(self.azimuth_rad)])


class Sprite(NamedTuple):
    """A painted object, not yet on a ground.

    Attributes:
        rgba: (h, w, 4) uint8, colours already multiplied by the coverage in the fourth channel.
        mask: (h, w) bool, the pixels that the object covers; its outer ``MARGIN_PX`` rows and columns are free.
        left_top_px: where the patch goes in the image; may lie outside it.
        shade: (h', w') uint8, share of each pixel in shadow, 0..255; empty where nothing is cast.
        shade_left_top_px: where the shadow's patch goes.
    """

    rgba: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    left_top_px: tuple[int, int]
    shade: NDArray[np.uint8]
    shade_left_top_px: tuple[int, int]

    def moved(self, dx_px: int, dy_px: int) -> Sprite:
        """The same sprite, some whole pixels away."""
        return self._replace(
            left_top_px=(self.left_top_px[0] + dx_px, self.left_top_px[1] + dy_px),
            shade_left_top_px=(self.shade_left_top_px[0] + dx_px, self.shade_left_top_px[1] + dy_px),
        )


def sample_light(rng: np.random.Generator) -> Light:
    """Draws a sun anywhere in the sky but the zenith."""
    azimuth, length, depth, contrast = rng.random(4)
    return Light(
        azimuth_rad=float(azimuth * 2 * np.pi),
        shadow_length=float(0.5 + 1.1 * length),
        shadow_depth=float(0.35 + 0.3 * depth),
        contrast=float(0.08 + 0.17 * contrast),
    )


def turned_points_px(instance: Instance, turn_rad: float, gsd_m: float) -> NDArray[np.float64]:
    """(n, 2) float64 outline points about the object's middle, after turning by ``turn_rad`` and scaling to pixels."""
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    return instance.points @ (np.array([[cos, sin], [-sin, cos]]) * (instance.size_m / gsd_m))


def paint(
    instance: Instance, centre_px: NDArray[np.float64], turn_rad: float, light: Light, gsd_m: float = 1.0
) -> Sprite:
    """Paints an object.

    Args:
        instance: the object.
        centre_px: (2,) where its middle goes, x and y in image pixels.
        turn_rad: direction of its x axis, in image axes.
        light: the sun.
        gsd_m: ground size of a pixel in metres.
    """
    points = turned_points_px(instance, turn_rad, gsd_m) + centre_px
    size_px = instance.size_m / gsd_m
    lit = 1.0 - light.contrast * np.cos(instance.facing_rad + turn_rad - light.azimuth_rad)
    lit[np.isnan(lit)] = 1.0
    colours = np.clip(instance.colours * lit[:, None], 0, 255).astype(int).tolist()
    sunk_px = np.repeat(instance.sunk * size_px, instance.counts)[:, None] * light.direction
    rgba, left_top = _fill(points + sunk_px, instance.counts.tolist(), [(*colour, 255) for colour in colours], 4)
    shade, shade_left_top = _cast(points, instance.counts, instance.heights * size_px, light)
    mask = rgba[..., 3] >= _COVERED
    if instance.opacity < 1:
        rgba = (rgba * np.float32(instance.opacity)).astype(np.uint8)
    return Sprite(rgba, mask, left_top, shade, shade_left_top)


def _fill(
    points: NDArray[np.float64], counts: list[int], colours: list[tuple[int, ...]], finest: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Fills outlines, given one after the other, up to ``finest`` times finer than the pixels, and averages down."""
    low = np.floor(points.min(0)).astype(int) - MARGIN_PX
    width, height = (np.ceil(points.max(0)).astype(int) + MARGIN_PX - low).tolist()
    finer = min(finest, 4 if max(width, height) <= _FINE_UP_TO_PX else 3)
    canvas = np.zeros((height * finer, width * finer, len(colours[0])), np.uint8)
    # OpenCV puts the middle of the first pixel at 0, we put its corner there
    fixed = np.rint(((points - low) * finer - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    start = 0
    for count, colour in zip(counts, colours, strict=True):
        cv2.fillPoly(canvas, [fixed[start : start + count]], colour, shift=_SUBPIXEL_BITS)
        start += count
    patch = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return patch, (int(low[0]), int(low[1]))


def _cast(
    points: NDArray[np.float64], counts: NDArray[np.intp], heights_px: NDArray[np.float64], light: Light
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The shadow on flat ground: every outline is swept from where its underside to where its top throws it."""
    high = np.repeat(heights_px[:, 1] > 0, counts)
    if not high.any():
        return np.zeros((0, 0), np.uint8), (0, 0)
    throw = light.shadow_length * light.direction
    near, far = (np.repeat(heights_px[:, i], counts)[:, None] * throw for i in (0, 1))
    ends = np.cumsum(counts)
    following = np.arange(1, len(points) + 1)
    following[ends - 1] = ends - counts
    low, top = points + near, points + far
    # both ends of the sweep, and between them what each edge passes over, unless that is about a pixel
    moves = high & (np.abs(far - near).max(1) > _SEEN_SWEEP_PX)
    passed = np.stack([low, low[following], top[following], top], 1)[moves].reshape(-1, 2)
    outline_counts = counts[heights_px[:, 1] > 0].tolist()
    swept = np.concatenate([low[high], top[high], passed])
    swept_counts = outline_counts * 2 + [4] * (len(passed) // 4)
    shade, left_top = _fill(swept, swept_counts, [(255,)] * len(swept_counts), 2)
    return cv2.blur(shade, (3, 3)), left_top


def stamp_shadow(image: NDArray[np.uint8], sprite: Sprite, light: Light) -> None:
    """Darkens ``image``, (H, W, 3) uint8, in place where the object's shadow falls."""
    if not sprite.shade.size:
        return
    target, part = overlap(image, sprite.shade.shape[:2], sprite.shade_left_top_px)
    if target.size:
        keep = 1.0 - light.shadow_depth * sprite.shade[part].astype(np.float32)[..., None] / 255.0
        target[:] = target * keep


def stamp(image: NDArray[np.uint8], sprite: Sprite) -> None:
    """Puts the object into ``image``, (H, W, 3) uint8, in place."""
    target, part = overlap(image, sprite.rgba.shape[:2], sprite.left_top_px)
    if target.size:
        rgba = sprite.rgba[part]
        target[:] = rgba[..., :3] + (target * (1.0 - rgba[..., 3:] / np.float32(255.0))).astype(np.uint8)


def overlap(
    image: NDArray[np.uint8], size_px: tuple[int, ...], left_top_px: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[slice, slice]]:
    """Where a patch of (height, width) meets an image: a view of the image, and the slices of the patch."""
    left, top = left_top_px
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = max(x1, min(left + size_px[1], image.shape[1])), max(y1, min(top + size_px[0], image.shape[0]))
    return image[y1:y2, x1:x2], (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))


def visible_box(sprite: Sprite, image_size_px: tuple[int, int]) -> NDArray[np.float64]:
    """(4,) float64 xyxy, the exact bounds of what the object covers inside an image of (height, width) pixels.

    Raises:
        ValueError: none of the object is inside.
    """
    mask = sprite.mask
    left, top = sprite.left_top_px
    height, width = image_size_px
    inside = mask[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    columns, rows = np.flatnonzero(inside.any(0)), np.flatnonzero(inside.any(1))
    if not columns.size:
        raise ValueError(f"an object at {sprite.left_top_px} px is outside its image of {width}x{height} px")
    x, y = max(left, 0), max(top, 0)
    return np.array([x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1], dtype=np.float64)
