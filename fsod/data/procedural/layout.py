"""A scene in the making: which objects stand where, and what ground is taken."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from fsod.data.procedural.grammar import Colour, Family, Instance, sample_instance, sample_style
from fsod.data.procedural.grounds import Ground, lead_stream, noise
from fsod.data.procedural.paint import MARGIN_PX, Light, Sprite, overlap, paint, visible_box

MIN_VISIBLE = 0.6
_TRIES = 24
_STREAM_TRIES = 6
_ROOM = np.ones((2 * MARGIN_PX + 1, 2 * MARGIN_PX + 1), np.uint8)  # ground that stays free around every object


@dataclass
class Layout:
    """What has been placed so far.

    Attributes:
        ground: what everything stands on; groups may pave it, bridges lead a stream through it.
        light: the sun.
        gsd_m: ground size of a pixel in metres.
        taken: (H, W) uint8, non-zero where no other object may go.
        sprites: the painted objects, labelled or not.
        boxes_xyxy_px: (4,) float64 boxes of the labelled ones.
        class_ids: their classes.
    """

    ground: Ground
    light: Light
    gsd_m: float
    taken: NDArray[np.uint8]
    sprites: list[Sprite] = field(default_factory=list)
    boxes_xyxy_px: list[NDArray[np.float64]] = field(default_factory=list)
    class_ids: list[int] = field(default_factory=list)

    def place_group(self, rng: np.random.Generator, family: Family, count: int, class_id: int | None) -> None:
        """Places one object, or up to ``count`` of one style if its family stands together.

        Without a class id they get no box.
        """
        style = sample_style(rng, family)
        leader = sample_instance(rng, family, style)
        pose = self._find_pose(rng, family, leader)
        if pose is None:
            return
        centre, turn_rad, sprite = pose
        self._accept(sprite, class_id)
        group = [sprite]
        extent = np.ptp(leader.points, axis=0) * leader.size_m / self.gsd_m
        axes = np.array([[np.cos(turn_rad), np.sin(turn_rad)], [-np.sin(turn_rad), np.cos(turn_rad)]])
        for cell in _cells(rng, family, count):
            place = centre + (cell * extent) @ axes
            about = turn_rad + (np.pi if rng.random() < 0.3 else 0.0)
            sprite = paint(sample_instance(rng, family, style), place, about, self.light, self.gsd_m)
            if self._fits(family, sprite):
                self._accept(sprite, class_id)
                group.append(sprite)
        if family.pad is not None and rng.random() < 0.75:
            self._pave(rng, group, family.pad)

    def _find_pose(
        self, rng: np.random.Generator, family: Family, instance: Instance
    ) -> tuple[NDArray[np.float64], float, Sprite] | None:
        """Centre, direction and sprite of an object somewhere it may stand; None if no try succeeded."""
        if family.setting == "stream":
            return self._find_crossing(rng, instance)
        if family.setting == "shore":
            return self._find_berth(rng, instance)
        turn_rad = float(rng.uniform(0, 2 * np.pi))
        start = rng.random(2)
        sprite = paint(instance, start, turn_rad, self.light, self.gsd_m)
        size = np.array(sprite.rgba.shape[1::-1])
        room = np.array(self.taken.shape[::-1]) - size
        for u in rng.random((_TRIES, 2)):
            # up to a third of it beyond the edge: _fits decides how much is seen
            move = np.rint(u * (room + 0.7 * size) - 0.35 * size - sprite.left_top_px).astype(int)
            moved = sprite.moved(int(move[0]), int(move[1]))
            if self._fits(family, moved):
                return start + move, turn_rad, moved
        return None

    def _find_berth(
        self, rng: np.random.Generator, instance: Instance
    ) -> tuple[NDArray[np.float64], float, Sprite] | None:
        """A place on the shore from which the object reaches out into the water."""
        normal, water = self.ground.shore_normal, self.ground.water
        if normal is None:
            return None
        height, width = water.shape
        length = instance.size_m / self.gsd_m
        for u in rng.random((_TRIES, 3)):
            inland = u[:2] * (width, height)
            ray = inland + np.arange(0.0, max(width, height), 2.0)[:, None] * normal
            ray = ray[((ray >= 0) & (ray < (width, height))).all(1)]
            wet = np.flatnonzero(water[ray[:, 1].astype(int), ray[:, 0].astype(int)])
            if not wet.size or wet[0] == 0:
                continue
            turn_rad = float(np.arctan2(normal[1], normal[0]) + 0.3 * (u[2] - 0.5))
            heading = np.array([np.cos(turn_rad), np.sin(turn_rad)])
            centre = ray[wet[0]] + 0.44 * length * heading
            sprite = paint(instance, centre, turn_rad, self.light, self.gsd_m)
            if self._free(sprite) and self._wet_share(sprite) > 0.8:
                return centre, turn_rad, sprite
        return None

    def _find_crossing(
        self, rng: np.random.Generator, instance: Instance
    ) -> tuple[NDArray[np.float64], float, Sprite] | None:
        """A place on land for a bridge, with a stream led under it."""
        height, width = self.taken.shape
        for u in rng.random((_STREAM_TRIES, 3)):
            centre, turn_rad = u[:2] * (width, height), float(u[2] * 2 * np.pi)
            sprite = paint(instance, centre, turn_rad, self.light, self.gsd_m)
            if self._free(sprite) and lead_stream(
                rng, self.ground, centre, turn_rad, instance.size_m / self.gsd_m, self.taken
            ):
                return centre, turn_rad, sprite
        return None

    def _fits(self, family: Family, sprite: Sprite) -> bool:
        wanted = 1.0 if family.setting == "water" else 0.0
        return self._free(sprite) and self._wet_share(sprite) == wanted

    def _free(self, sprite: Sprite) -> bool:
        """Whether enough of the object is inside the image and none of it on taken ground."""
        mask = sprite.mask
        taken, part = overlap(self.taken, mask.shape, sprite.left_top_px)
        inside = mask[part]
        if np.count_nonzero(inside) < MIN_VISIBLE * np.count_nonzero(mask):
            return False
        return not taken[inside].any()

    def _wet_share(self, sprite: Sprite) -> float:
        water, part = overlap(self.ground.water, sprite.mask.shape, sprite.left_top_px)
        return float((water[sprite.mask[part]] > 0).mean())

    def _accept(self, sprite: Sprite, class_id: int | None) -> None:
        self.sprites.append(sprite)
        # its hull, so that nothing stands between the fingers of a pier or under a wing
        hull = np.zeros(sprite.mask.shape, np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(cv2.findNonZero(sprite.mask.view(np.uint8))), 1)
        spread = cv2.dilate(hull, _ROOM)
        taken, part = overlap(self.taken, spread.shape, sprite.left_top_px)
        taken |= spread[part]
        if class_id is not None:
            self.boxes_xyxy_px.append(visible_box(sprite, (self.taken.shape[0], self.taken.shape[1])))
            self.class_ids.append(class_id)

    def _pave(self, rng: np.random.Generator, group: list[Sprite], colour: Colour) -> None:
        """Lays a rectangular patch under a group, on land only."""
        corners = [
            (left + dx * sprite.rgba.shape[1], top + dy * sprite.rgba.shape[0])
            for sprite in group
            for left, top in (sprite.left_top_px,)
            for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1))
        ]
        middle, sides, angle = cv2.minAreaRect(np.array(corners, np.float32))
        margin = rng.uniform(2, 9)
        patch = cv2.boxPoints((middle, (sides[0] + margin, sides[1] + margin), angle))
        left, top, width, height = cv2.boundingRect(np.rint(patch).astype(np.int32))
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.rint(patch - (left, top)).astype(np.int32)], 255)
        target, part = overlap(self.ground.image, mask.shape, (left, top))
        water, _ = overlap(self.ground.water, mask.shape, (left, top))
        inside = (mask[part] > 0) & (water == 0)
        grain = 3 * noise(rng, mask.shape, 1)[part] + 4 * noise(rng, mask.shape, 5)[part]
        tone = np.array(colour) + rng.normal(0, 10)
        target[inside] = np.clip(0.15 * target[inside] + 0.85 * tone + grain[inside][:, None], 0, 255)


def _cells(rng: np.random.Generator, family: Family, count: int) -> NDArray[np.float64]:
    """(count - 1, 2) places of a group's further members, in extents of one object from the first."""
    if family.arrangement == "alone":
        return np.zeros((0, 2))
    order = np.arange(1, count)
    pitch = float(rng.uniform(1.08, 1.4))
    if family.arrangement == "row":
        return np.stack([np.zeros(count - 1), order * pitch], 1)
    columns = int(rng.integers(1, 4))
    return np.stack([order // columns, order % columns], 1).astype(np.float64) * pitch
