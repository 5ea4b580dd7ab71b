"""From detections of overlapping windows to detections of the scene: each object once, none lost at a seam.

The rules, in the order they are applied:

1. A box that touches an inner edge of its window is cut: the window does not see all of the object. If the neighbour
   beyond that edge sees the whole box and more, the box is dropped; the neighbour answers for the object.
2. An uncut box belongs to the window in whose core its centre lies. Close to a seam (``margin_px``) both windows keep
   theirs, because the centre may jitter across the line.
3. A cut box that no neighbour sees whole belongs to an object larger than the overlap. Where two windows overlap, both see
   part of that object, and their boxes agree there. If another window reports an uncut box that agrees, the cut box is
   dropped. Cut boxes of one class that agree with each other become one object: their hull, with the best of their scores.
   A cut box that nothing agrees with stays as it is, so no large object is lost silently.
4. Boxes of one class from different windows compete by greedy NMS over the whole scene. Boxes of one window do not
   compete: the detector has already suppressed among them.
5. Where boxes of different classes from different windows overlap almost wholly, the one with the better score stays, as
   within a window (meta-cross category decision). One window may call a ship what its neighbour calls a bridge.

Windows of a reduced scene (``scale``) look for objects that are too large for the others. Their boxes below ``least_px`` are
dropped. A box of a finer window may then be only a part of such an object. It is dropped if most of it lies in an uncut box
of the same class from the reduced scene, and that box reaches beyond the finer window, or the finer window has cut its own box.
The rules above settle everything else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fsod.boxes import Detections, longer_side_px
from fsod.geo.scene_nms import nms_scene
from fsod.geo.sightings import Sightings, agreeing_pairs, join_parts, parts_of_larger
from fsod.geo.windows import Window, cut_sides


@dataclass
class SeamMerger:
    """Takes the detections of one window after another. It holds detections only, so memory does not grow with windows.

    Attributes:
        iou_threshold: boxes of one class from different windows that overlap more are one object (0..1).
        rival_iou: boxes of different classes from different windows that overlap more are one object (0..1).
        margin_px: how far beyond its core a window keeps boxes, which NMS then compares.
        edge_px: a box whose side is this close to an inner edge of its window counts as cut.
    """

    iou_threshold: float
    rival_iou: float
    margin_px: float = 16.0
    edge_px: float = 4.0
    _least_px: float = field(default=np.inf, init=False, repr=False)
    _whole: list[Sightings] = field(default_factory=list, init=False, repr=False)
    _cut: list[Sightings] = field(default_factory=list, init=False, repr=False)
    _count: int = field(default=0, init=False, repr=False)

    def add(
        self,
        window: Window,
        detections: Detections,
        scale: tuple[float, float] = (1.0, 1.0),
        least_px: float = 0.0,
    ) -> None:
        """Takes the detections of a window.

        Args:
            window: lies in the merger's frame, or in that of an overview.
            detections: in the window's own pixel frame.
            scale: pixels of the merger's frame per pixel of the window's, along x and y.
            least_px: longer side, in the merger's frame, of the smallest boxes that the window is asked for.
        """
        self._count += 1
        if least_px:
            self._least_px = min(self._least_px, least_px)
        if not len(detections):
            return
        frame = np.tile(scale, 2)
        boxes = detections.boxes_xyxy_px + np.tile([window.left_px, window.top_px], 2)
        placed = Sightings.of_window(
            Detections(boxes * frame, detections.scores, detections.class_ids), frame * window.xyxy_px, self._count
        )
        sides = cut_sides(window, boxes, self.edge_px)
        cut = sides.any(axis=1)
        asked = longer_side_px(boxes * frame) >= least_px
        for kept, store in (
            (asked & ~cut & self._owned(window, boxes), self._whole),
            (asked & cut & ~self._seen_by_neighbour(window, boxes, sides), self._cut),
        ):
            if kept.any():
                store.append(placed.select(kept))

    def result(self) -> Detections:
        """The detections of the scene so far, in the merger's frame."""
        whole, cut = Sightings.concatenate(self._whole), Sightings.concatenate(self._cut)
        if np.isfinite(self._least_px):
            cut = cut.select(~parts_of_larger(cut, whole, self._least_px, cut=True))
            whole = whole.select(~parts_of_larger(whole, whole, self._least_px, cut=False))
        pairs = agreeing_pairs(cut, whole, self.iou_threshold)
        unconfirmed = np.ones(len(cut), np.bool_)
        unconfirmed[pairs[pairs[:, 1] >= len(cut), 0]] = False
        joined = join_parts(cut.select(unconfirmed), self.iou_threshold)

        merged = Detections.concatenate([whole.detections, joined])
        # a joined object is a source of its own, so that it competes with everything
        sources = np.concatenate([whole.source_ids, -1 - np.arange(len(joined))])
        keep = nms_scene(merged.boxes_xyxy_px, merged.scores, merged.class_ids, self.iou_threshold, sources)
        merged, sources = merged.select(keep), sources[keep]
        any_class = np.zeros_like(merged.class_ids)
        return merged.select(nms_scene(merged.boxes_xyxy_px, merged.scores, any_class, self.rival_iou, sources))

    def _owned(self, window: Window, boxes_xyxy_px: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whose centre lies in the core of the window, or not far from it."""
        centres = (boxes_xyxy_px[:, :2] + boxes_xyxy_px[:, 2:]) / 2
        core = np.array(window.core_xyxy_px, dtype=np.float64)
        near = (centres >= core[:2] - self.margin_px) & (centres <= core[2:] + self.margin_px)
        return np.asarray(near.all(axis=1))

    def _seen_by_neighbour(
        self, window: Window, boxes_xyxy_px: NDArray[np.float64], sides: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Which cut boxes the neighbour beyond their cut sides sees, with room to spare so as not to call them cut."""
        spare_px = 2 * self.edge_px
        end_of_previous, start_of_next = np.array(window.shared_xyxy_px).reshape(2, 2)
        starts, ends = boxes_xyxy_px[:, :2], boxes_xyxy_px[:, 2:]
        cut_start, cut_end = sides[:, :2], sides[:, 2:]
        # axis by axis, as the windows form a grid; what is cut at both ends is whole nowhere
        seen = ~cut_start | (ends < end_of_previous - spare_px)
        seen &= ~cut_end | (starts > start_of_next + spare_px)
        return np.asarray((seen & ~(cut_start & cut_end)).all(axis=1))
