"""Views: rectangles of scenes with an analyst's marks, areas and verdicts; and the crops that training draws from them.

A place without a box is background where the analyst says so: inside an area, at a refused detection, and close around each
mark. Everything else is unknown, until a detector that has learned the marks looks at it (``View.looked_at``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fsod.boxes import Detections, iou
from fsod.data.augmentation import query_augmentation
from fsod.data.crop import Square, visible
from fsod.data.real_episodes import MAX_SHIFT, MIN_VISIBLE, moved_inside

NEAR_MARKS = 0.5
"""Background is known this far around a mark, in box sides."""

CLOSE_TO_MARKS, AROUND_DOUBT = 0.2, 0.15
"""The same once a detector has looked, which knows of neighbours; and the margin of what may be an object."""

SAME_OBJECT_IOU = 0.3
"""A detection that overlaps a box more is of the same object."""

CELL_PX = 8
"""Grid on which places of known background are drawn."""


@dataclass(frozen=True)
class View:
    """A rectangle of a scene.

    Attributes:
        rgb: (H, W, 3) uint8.
        boxes_xyxy_px: (n, 4) float64, what is to be found.
        class_ids: (n,) int64.
        mark_ids: (n,) int64, numbers of the boxes among the marks of all views, several of which may show one; -1 for what a
            detector has added.
        known: (H, W) bool, where whatever has no box is background.
        vouched: (H, W) bool, of it what the analyst has said: areas and refusals.
        refused_xyxy_px: (m, 4) float64, background that was taken for an object.
    """

    rgb: NDArray[np.uint8]
    boxes_xyxy_px: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    mark_ids: NDArray[np.int64]
    known: NDArray[np.bool_]
    vouched: NDArray[np.bool_]
    refused_xyxy_px: NDArray[np.float64]

    def without(self, marks: NDArray[np.int64]) -> View:
        """The view as if these had not been marked: what is there is unknown."""
        out = np.isin(self.mark_ids, marks)
        known, vouched = self.known.copy(), self.vouched.copy()
        for mask in (known, vouched):
            _fill(mask, self.boxes_xyxy_px[out], value=False)
        return replace(
            self,
            boxes_xyxy_px=self.boxes_xyxy_px[~out],
            class_ids=self.class_ids[~out],
            mark_ids=self.mark_ids[~out],
            known=known,
            vouched=vouched,
        )

    def looked_at(self, found: Detections, doubtful: NDArray[np.float64], likely: NDArray[np.float64]) -> View:
        """The view with what a detector says of the places that the analyst has said nothing of.

        Positive-unlabelled learning in two steps (Liu et al. 2002, "Partially supervised classification of text
        documents"): what the detector is sure is none becomes background. What it is sure of becomes an object, and what
        lies between stays unknown.

        Args:
            found: what the detector finds in the view.
            doubtful: (classes,) the least score of what may be an object.
            likely: (classes,) the least score of what is taken for one.
        """
        scores = found.scores.astype(np.float64)
        doubt = found.select(scores >= doubtful[found.class_ids])
        # inside an area, or where a verdict was given, the analyst knows better
        centres = ((doubt.boxes_xyxy_px[:, :2] + doubt.boxes_xyxy_px[:, 2:]) / 2).astype(int)
        centres = np.clip(centres, 0, np.array(self.known.shape[::-1]) - 1)
        free = ~self.vouched[centres[:, 1], centres[:, 0]]
        free &= (iou(doubt.boxes_xyxy_px, self.boxes_xyxy_px) < SAME_OBJECT_IOU).all(1)
        doubt = doubt.select(free)
        sure = doubt.scores.astype(np.float64) >= likely[doubt.class_ids]
        known = np.ones_like(self.known)
        _fill(known, _grown(doubt.boxes_xyxy_px[~sure], AROUND_DOUBT), value=False)
        _fill(known, _grown(self.boxes_xyxy_px, CLOSE_TO_MARKS), value=True)
        return replace(
            self,
            boxes_xyxy_px=np.concatenate([self.boxes_xyxy_px, doubt.boxes_xyxy_px[sure]]),
            class_ids=np.concatenate([self.class_ids, doubt.class_ids[sure]]),
            mark_ids=np.concatenate([self.mark_ids, np.full(int(sure.sum()), -1)]),
            known=known | self.vouched,
        )

    @property
    def shown_xyxy_px(self) -> NDArray[np.float64]:
        """(n, 4) what of the boxes the view shows, as a detector would find them."""
        return np.clip(self.boxes_xyxy_px, 0, np.tile(self.rgb.shape[1::-1], 2))

    def around(self, box_xyxy_px: NDArray[np.float64]) -> NDArray[np.uint8]:
        """What is around a box, (S, S, 3), twice as wide as its longer side."""
        side = max(round(2 * float((box_xyxy_px[2:] - box_xyxy_px[:2]).max())), 32)
        return Square.around((box_xyxy_px[:2] + box_xyxy_px[2:]) / 2, side, side).pixels(self.rgb)


def classes_of_marks(views: Sequence[View]) -> dict[int, int]:
    """Class id of each mark."""
    pairs = (zip(view.mark_ids.tolist(), view.class_ids.tolist(), strict=True) for view in views)
    return dict(chain.from_iterable(pairs))


def best_seen(views: Sequence[View]) -> dict[int, tuple[int, int]]:
    """Of each mark, in order, the view that shows most of it, and its position there."""
    best: dict[int, tuple[float, tuple[int, int]]] = {}
    for v, view in enumerate(views):
        for i, (mark, box) in enumerate(zip(view.mark_ids.tolist(), view.shown_xyxy_px, strict=True)):
            shown = float((box[2:] - box[:2]).prod())
            if mark >= 0 and (mark not in best or shown > best[mark][0]):
                best[mark] = shown, (v, i)
    return {mark: best[mark][1] for mark in sorted(best)}


def make_view(
    rgb: NDArray[np.uint8],
    boxes_xyxy_px: NDArray[np.float64],
    class_ids: NDArray[np.int64],
    mark_ids: NDArray[np.int64],
    refused_xyxy_px: NDArray[np.float64],
    inside: NDArray[np.bool_],
) -> View:
    """A view of what an analyst has said.

    Args:
        rgb: (H, W, 3) uint8.
        boxes_xyxy_px: (n, 4) of marks, in pixels of the view; they may reach beyond it.
        class_ids: (n,) of them.
        mark_ids: (n,) of them, see ``View``.
        refused_xyxy_px: (m, 4) of what is none.
        inside: (H, W) bool, in areas in which everything is marked.
    """
    vouched = inside.copy()
    _fill(vouched, refused_xyxy_px, value=True)
    known = vouched.copy()
    _fill(known, _grown(boxes_xyxy_px, NEAR_MARKS), value=True)
    return View(rgb, boxes_xyxy_px, class_ids, mark_ids, known, vouched, refused_xyxy_px)


def _grown(boxes_xyxy_px: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Boxes (n, 4) with a margin of a share of their longer side."""
    margin = share * (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).max(axis=1, initial=0)[:, None]
    return np.concatenate([boxes_xyxy_px[:, :2] - margin, boxes_xyxy_px[:, 2:] + margin], axis=1)


def _fill(mask: NDArray[np.bool_], boxes_xyxy_px: NDArray[np.float64], *, value: bool) -> None:
    """Sets a (H, W) mask in boxes (n, 4)."""
    for x1, y1, x2, y2 in np.maximum(boxes_xyxy_px, 0):
        mask[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = value


@dataclass(frozen=True)
class CropBatch:
    """Crops of one training step.

    Attributes:
        queries: (B, 3, S, S) uint8 RGB.
        boxes_xyxy_px: (B, G, 4) float32, padded, G at least 1.
        box_classes: (B, G) int64; -1 for padding.
        known: (B, S, S) bool, where whatever has no box is background.
    """

    queries: Tensor
    boxes_xyxy_px: Tensor
    box_classes: Tensor
    known: Tensor

    def to(self, device: torch.device) -> Self:
        """The same crops on another device; copies from pinned memory do not wait."""
        return replace(self, **{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})

    def pin_memory(self) -> Self:
        """The same crops in page-locked memory; the DataLoader calls this."""
        return replace(self, **{name: value.pin_memory() for name, value in vars(self).items()})


@dataclass(frozen=True)
class CropSettings:
    """How crops are drawn.

    Attributes:
        queries: crops of a step.
        query_px: their side.
        scale_jitter: they are scaled by up to this.
        background_share: of the crops that are drawn for a place of known background, not for an object.
    """

    queries: int = 4
    query_px: int = 256
    scale_jitter: float = 1.4
    background_share: float = 0.4


class MarkCrops(Dataset[CropBatch]):
    """Batches of crops. Batch i is a function of (seed, i) alone.

    Args:
        views: with at least one box.
        settings: how to draw.
        length: number of batches.
        seed: of the whole sequence.
    """

    def __init__(self, views: Sequence[View], settings: CropSettings, length: int, seed: int) -> None:
        self.views, self.settings, self.length, self.seed = views, settings, length, seed
        # an object that two views show is drawn twice as often
        places = [(v, i) for v, view in enumerate(views) for i in range(len(view.boxes_xyxy_px))]
        self.objects: dict[int, list[tuple[int, int]]] = {}
        for v, i in places:
            self.objects.setdefault(int(views[v].class_ids[i]), []).append((v, i))
        cells = [np.argwhere(view.known[::CELL_PX, ::CELL_PX]) * CELL_PX for view in views]
        self.cells = [(v, own) for v, own in enumerate(cells) if len(own)]
        self.refused = [(v, i) for v, view in enumerate(views) for i in range(len(view.refused_xyxy_px))]
        sizes = np.array([len(own) for _, own in self.cells], np.float64)
        self.cell_shares = sizes / sizes.sum() if len(sizes) else sizes
        self.augment = query_augmentation()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> CropBatch:
        rng = np.random.default_rng([self.seed, i])
        crops = [self._crop(rng) for _ in range(self.settings.queries)]
        most = max(1, *(len(classes) for _, _, classes, _ in crops))
        boxes = torch.zeros(len(crops), most, 4)
        box_classes = torch.full((len(crops), most), -1)
        for b, (_, own, classes, _) in enumerate(crops):
            boxes[b, : len(own)] = torch.from_numpy(own)
            box_classes[b, : len(own)] = torch.from_numpy(classes)
        queries = torch.from_numpy(np.stack([rgb for rgb, *_ in crops])).permute(0, 3, 1, 2).contiguous()
        return CropBatch(queries, boxes, box_classes, torch.from_numpy(np.stack([known for *_, known in crops])))

    def _crop(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
        size = self.settings.query_px
        side = size / np.exp(rng.uniform(-1, 1) * np.log(self.settings.scale_jitter))
        v, centre, longest = self._place(rng)
        view = self.views[v]
        side = max(side, 1.1 * longest)  # what is larger than the crop is shown whole, smaller than it is
        centre = centre + rng.uniform(-1, 1, 2) * MAX_SHIFT * side / 2
        height_px, width_px = view.rgb.shape[:2]
        square = Square.around(moved_inside(centre, side, width_px, height_px), side, size)
        boxes = square.boxes(view.boxes_xyxy_px)
        shown = visible(boxes, size, MIN_VISIBLE)
        self.augment.set_random_seed(int(rng.integers(2**31)))
        out = self.augment(
            image=square.pixels(view.rgb),
            mask=square.mask(view.known).astype(np.uint8),
            bboxes=boxes[shown],
            index=np.flatnonzero(shown),
        )
        index = np.asarray(out["index"], np.int64)
        return (
            out["image"],
            np.asarray(out["bboxes"], np.float64).reshape(-1, 4),
            view.class_ids[index],
            out["mask"] > 0,
        )

    def _place(self, rng: np.random.Generator) -> tuple[int, NDArray[np.float64], float]:
        """What to draw a crop for: view, centre, and the longer side that must be shown."""
        if self.cells and (not self.objects or rng.random() < self.settings.background_share):
            if self.refused and rng.random() < 0.5:
                v, i = self.refused[rng.integers(len(self.refused))]
                box = self.views[v].refused_xyxy_px[i]
                return v, (box[:2] + box[2:]) / 2, 0.0
            v, cells = self.cells[rng.choice(len(self.cells), p=self.cell_shares)]
            return v, cells[rng.integers(len(cells))][::-1].astype(np.float64), 0.0
        classes = list(self.objects)
        own = self.objects[classes[rng.integers(len(classes))]]
        v, i = own[rng.integers(len(own))]
        box = self.views[v].boxes_xyxy_px[i]
        return v, (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
