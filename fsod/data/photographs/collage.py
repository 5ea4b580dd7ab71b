"""A collage: a photograph as ground, with things of other photographs pasted into it among things of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from fsod.data.photographs.album import Album
from fsod.data.photographs.cut_classes import CutClass
from fsod.data.photographs.standing_out import Thing, unlikeness
from fsod.data.photographs.warp import Affine, affine, filled, moved, warp

MIN_VISIBLE = 0.6
TOO_ALIKE = 3.5  # unlikeness up to which a thing of the ground may be of a class
SEEN = 16.0  # distance of mean 8-bit colours by which a pasted object has to differ from what it hides
HIDDEN = {"alone": 0.0, "row": 0.1, "grid": 0.0, "about": 0.0, "clump": 0.3}
"""Which share of what lies under an object may be other objects: hulls touch, and crowns grow into each other."""
_TRIES = 12
_ROOM = np.ones((3, 3), np.uint8)


@dataclass
class Collage:
    """A picture in the making.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        taken: (H, W) uint8, non-zero where nothing may be pasted.
        sun: (2,) unit vector along which shadows fall.
        boxes_xyxy_px: (4,) float64 boxes of labelled objects, exact bounds of what is seen of them.
        class_ids: their classes.
        ignored_xyxy_px: (4,) float64 boxes of what may be of a class and is not labelled.
    """

    image: NDArray[np.uint8]
    taken: NDArray[np.uint8]
    sun: NDArray[np.float64]
    boxes_xyxy_px: list[NDArray[np.float64]] = field(default_factory=list)
    class_ids: list[int] = field(default_factory=list)
    ignored_xyxy_px: list[NDArray[np.float64]] = field(default_factory=list)

    def label_own(
        self, album: Album, photograph: int, by: Affine, classes: Sequence[CutClass], at_home: int | None
    ) -> None:
        """Labels things of the ground that are of class ``at_home``, and sets aside what may be of another one.

        Args:
            album: has the ground.
            photograph: which it is.
            by: how it is shown.
            classes: of the episode.
            at_home: the class that was cut out of this photograph, if its things are objects here.
        """
        things = album.things(photograph)
        if not things:
            return
        scale = float(np.sqrt(abs(np.linalg.det(by[:, :2]))))
        alike = np.min([unlikeness(things, cut.members[0], cut.enlarged / scale) for cut in classes], axis=0)
        members = set() if at_home is None else {id(thing) for thing in classes[at_home].members}
        for thing, apart in zip(things, alike, strict=True):
            outline = moved(thing.contour_px, by)
            box = self._clipped(np.concatenate([outline.min(0), outline.max(0)]) + 0.5)
            if box is None:
                continue
            if id(thing) in members and at_home is not None:
                cover, low = filled(outline, 0.0)
                seen = self._inside(cover, low, 0.0)
                if seen is not None:
                    self._accept(cover, low, seen, at_home)
                    continue
            if id(thing) in members or apart < TOO_ALIKE:
                self.ignored_xyxy_px.append(box)

    def paste_group(
        self, rng: np.random.Generator, album: Album, cut: CutClass, count: int, class_id: int | None, scale: float
    ) -> None:
        """Pastes up to ``count`` things of a class, together as its arrangement says; without a class id unlabelled."""
        height, width = self.taken.shape
        member = cut.members[int(rng.integers(len(cut.members)))]
        heading = float(rng.uniform(0, 2 * np.pi))
        scale = scale * float(np.exp(rng.uniform(-0.12, 0.12)))
        mirrored, tint = bool(rng.random() < 0.5), cut.tint * np.exp(rng.normal(0, 0.05) + rng.normal(0, 0.02, 3))
        for u in rng.random((_TRIES, 2)):
            centre = (1.1 * u - 0.05) * (width, height)
            if self._paste(album, cut, member, centre, heading, scale, mirrored, tint, class_id):
                break
        else:
            return
        extent = member.lying[0] * cut.enlarged * scale
        along = np.array([np.cos(heading), np.sin(heading)])
        axes = np.stack([along, np.array([-along[1], along[0]])])
        for cell in _cells(rng, cut, count):
            if rng.random() < 0.6:
                member = cut.members[int(rng.integers(len(cut.members)))]
            turned = heading + (float(rng.uniform(0, 2 * np.pi)) if cut.arrangement in ("about", "clump") else 0.0)
            turned += float(rng.normal(0, 0.03)) + (np.pi if rng.random() < 0.3 else 0.0)
            shade = tint * np.exp(rng.normal(0, 0.06))
            self._paste(album, cut, member, centre + (cell * extent) @ axes, turned, scale, mirrored, shade, class_id)

    def _paste(
        self,
        album: Album,
        cut: CutClass,
        thing: Thing,
        centre_px: NDArray[np.float64],
        heading_rad: float,
        scale: float,
        mirrored: bool,
        tint: NDArray[np.float64],
        class_id: int | None,
    ) -> bool:
        lies = thing.lying[1]
        turn = heading_rad - (np.pi - lies if mirrored else lies)
        by = affine(thing.centre_px, centre_px, turn, cut.enlarged * scale, stretched=cut.stretched, mirrored=mirrored)
        cover, low = filled(moved(thing.contour_px, by), cut.softness_px)
        seen = self._inside(cover, low, HIDDEN[cut.arrangement])
        if seen is None:
            return False
        home = by - np.concatenate([np.zeros((2, 2)), low[:, None]], 1)
        pixels = np.clip(warp(album.photographs[cut.photograph], home, cover.shape) * tint, 0, 255)
        window, part = self._window(cover, low)
        weight, ground = cover[part][..., None], self.image[window].astype(np.float32)
        if class_id is not None:
            hidden, shown = ((weight * p).sum((0, 1)) / weight.sum() for p in (ground, pixels[part]))
            if np.linalg.norm(hidden - shown) < SEEN:
                return False
        if cut.height:
            self._shade(cover, low, cut.height * thing.longer_px * cut.enlarged * scale)
            ground = self.image[window].astype(np.float32)
        self.image[window] = np.rint(ground + weight * (pixels[part] - ground)).astype(np.uint8)
        self._accept(cover, low, seen, class_id)
        return True

    def _shade(self, cover: NDArray[np.float32], low: NDArray[np.int64], length_px: float) -> None:
        """Darkens the ground where a shadow of this length falls, but not what has been pasted before."""
        steps = max(1, int(np.ceil(length_px)))
        for step in range(1, min(steps, 12) + 1):
            window, part = self._window(cover, low + np.rint(self.sun * step * length_px / min(steps, 12)).astype(int))
            depth = np.where(self.taken[window] > 0, 0, 0.55 / min(steps, 12) * cover[part])
            self.image[window] = (self.image[window] * (1 - depth[..., None] * (1.0, 0.97, 0.9))).astype(np.uint8)

    def _window(
        self, cover: NDArray[np.float32], low: NDArray[np.int64]
    ) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The part of the image that a patch meets, and the part of the patch that meets it."""
        high = low + cover.shape[::-1]
        start = np.clip(low, 0, self.taken.shape[::-1])
        stop = np.maximum(np.clip(high, 0, self.taken.shape[::-1]), start)
        window = slice(int(start[1]), int(stop[1])), slice(int(start[0]), int(stop[0]))
        part = (
            slice(int(start[1] - low[1]), int(stop[1] - low[1])),
            slice(int(start[0] - low[0]), int(stop[0] - low[0])),
        )
        return window, part

    def _inside(self, cover: NDArray[np.float32], low: NDArray[np.int64], hidden: float) -> NDArray[np.float64] | None:
        """Bounds of an object; None where it is cut off too far, or more than a share ``hidden`` lies on other objects."""
        window, part = self._window(cover, low)
        mask = cover >= 0.5
        inside = mask[part]
        if not inside.any() or inside.sum() < MIN_VISIBLE * mask.sum():
            return None
        if np.count_nonzero(self.taken[window][inside]) > hidden * inside.sum():
            return None
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        x, y = window[1].start, window[0].start
        return np.array([x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1], dtype=np.float64)

    def _accept(
        self, cover: NDArray[np.float32], low: NDArray[np.int64], box: NDArray[np.float64], class_id: int | None
    ) -> None:
        window, part = self._window(cover, low)
        self.taken[window] |= cv2.dilate((cover >= 0.5).astype(np.uint8), _ROOM)[part]
        if class_id is not None:
            self.boxes_xyxy_px.append(box)
            self.class_ids.append(class_id)

    def _clipped(self, box_xyxy_px: NDArray[np.float64]) -> NDArray[np.float64] | None:
        height, width = self.taken.shape
        box = np.clip(box_xyxy_px, 0, (width, height, width, height))
        return box if (box[2:] - box[:2] >= 1).all() else None


def _cells(rng: np.random.Generator, cut: CutClass, count: int) -> NDArray[np.float64]:
    """(count - 1, 2) places of a group's further members, in long and short sides of one from the first."""
    order = np.arange(1, count)
    pitch = float(rng.uniform(0.98, 1.5))
    if cut.arrangement == "row":
        return np.stack([np.zeros(count - 1), order * pitch], 1)
    if cut.arrangement == "grid":
        columns = int(rng.integers(2, 4))
        return np.stack([order % columns, order // columns], 1).astype(np.float64) * pitch
    if cut.arrangement == "clump":
        angle, radius = order * np.pi * (3 - np.sqrt(5)), 0.5 * pitch * np.sqrt(order)  # as seeds stand in a sunflower
        return np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None] + rng.normal(0, 0.08, (count - 1, 2))
    if cut.arrangement == "about":
        return np.asarray(rng.normal(0, 2.2, (count - 1, 2)), dtype=np.float64)
    return np.zeros((0, 2))
