"""Episodes: N classes, k support examples each, B query crops.

Episode number i is a function of (seed, i) alone, and its query j of (seed, i, j), whichever worker or process draws it
and wherever a run was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import albumentations as A
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fsod.boxes import area_px
from fsod.config import EpisodeSettings
from fsod.data.augmentation import query_augmentation, support_augmentation
from fsod.data.cache import PixelCache
from fsod.data.coco_folder import CocoFolder
from fsod.data.crop import Square, visible
from fsod.data.support import SupportCrop, stack_supports, support_crop
from fsod.errors import UserError

MIN_VISIBLE = 0.4  # share of a box that must lie inside a crop for it to count as an object
NOTHING = np.zeros((0, 4))  # boxes
MAX_SHIFT = 0.5  # how far the object that a crop was drawn for may lie from its centre, in half crop sides


@dataclass(frozen=True)
class Episode:
    """Tensors of one training step.

    Attributes:
        queries: (B, 3, S, S) uint8 RGB.
        boxes_xyxy_px: (B, G, 4) float32, padded.
        box_classes: (B, G) int64, class ids of the boxes, of classes outside the episode too; -1 for padding.
        known_xyxy_px: (B, R, 4) float32, where what is not labelled is taken to be background (of shots, see
            ``shots_background``).
        ignored_xyxy_px: (B, I, 4) float32, padded with zeros; what lies there and is not labelled is neither object nor
            background.
        supports: (N, k, 4, s, s) uint8, RGB and mask; k = 0 in finetuning, which has no use for them.
        sides_px: (N, k) float32, see SupportCrop.
        class_ids: (N,) int64, ids of the episode's classes.
        invented: () bool, whether the ids mean classes that exist in this episode only.
    """

    queries: Tensor
    boxes_xyxy_px: Tensor
    box_classes: Tensor
    known_xyxy_px: Tensor
    ignored_xyxy_px: Tensor
    supports: Tensor
    sides_px: Tensor
    class_ids: Tensor
    invented: Tensor

    def to(self, device: torch.device) -> Self:
        """The same episode on another device; copies from pinned memory do not wait."""
        return replace(self, **{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})

    def pin_memory(self) -> Episode:
        """The same episode in page-locked memory; the DataLoader calls this."""
        return Episode(**{name: value.pin_memory() for name, value in vars(self).items()})


@dataclass(frozen=True)
class Query:
    """One query before it is stacked.

    Attributes:
        rgb: (S, S, 3) uint8.
        boxes_xyxy_px: (n, 4) float64.
        class_ids: (n,) int64.
        known_xyxy_px: (R, 4) float64, see ``Episode``.
        ignored_xyxy_px: (I, 4) float64, see ``Episode``.
    """

    rgb: NDArray[np.uint8]
    boxes_xyxy_px: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    known_xyxy_px: NDArray[np.float64]
    ignored_xyxy_px: NDArray[np.float64]


def stack_episode(
    queries: list[Query], supports: list[list[SupportCrop]], class_ids: list[int], *, invented: bool = False
) -> Episode:
    """Pads and stacks."""
    # at least one, if only of padding: the loss of images without a box picks it
    most, regions = max(1, *(len(q.class_ids) for q in queries)), max(len(q.known_xyxy_px) for q in queries)
    boxes = torch.zeros(len(queries), most, 4)
    box_classes = torch.full((len(queries), most), -1)
    known = torch.zeros(len(queries), regions, 4)
    ignored = torch.zeros(len(queries), max(len(q.ignored_xyxy_px) for q in queries), 4)
    for b, query in enumerate(queries):
        n = len(query.class_ids)
        boxes[b, :n] = torch.from_numpy(query.boxes_xyxy_px)
        box_classes[b, :n] = torch.from_numpy(query.class_ids)
        known[b, : len(query.known_xyxy_px)] = torch.from_numpy(query.known_xyxy_px)
        ignored[b, : len(query.ignored_xyxy_px)] = torch.from_numpy(query.ignored_xyxy_px)
    return Episode(
        torch.from_numpy(np.stack([q.rgb for q in queries])).permute(0, 3, 1, 2).contiguous(),
        boxes,
        box_classes,
        known,
        ignored,
        stack_supports(supports),
        torch.tensor([[s.side_px for s in shots] for shots in supports]),
        torch.tensor(class_ids),
        torch.tensor(invented),
    )


class RealEpisodes(Dataset[Episode]):
    """Episodes over the labelled images of a prepared folder.

    Difficult objects and crowds are neither examples nor objects to find nor background: what a query shows of them is
    ignored.

    Args:
        folder: images to draw from, with the boxes to learn.
        class_ids: the classes that may appear, as ids of the folder.
        settings: sizes of an episode.
        length: number of episodes.
        seed: of the whole sequence.
        share: which of an episode's queries to make; all if None.
        known_margin: how far around its boxes a crop may be taken for labelled, in box sides; all of it if None.
        with_supports: whether to draw support crops at all.
        pixels: of the folder's images, (H, W, 3) uint8 RGB, where they are not in its files.
        often: classes, and a share of the queries that is drawn for them alone; the rest is drawn for all.

    Raises:
        UserError: a class has no box.
    """

    def __init__(
        self,
        folder: CocoFolder,
        class_ids: list[int],
        settings: EpisodeSettings,
        length: int,
        seed: int,
        share: range | None = None,
        *,
        known_margin: float | None = None,
        with_supports: bool = True,
        often: tuple[list[int], float] | None = None,
        pixels: Sequence[NDArray[np.uint8]] | None = None,
    ) -> None:
        self.settings, self.length, self.seed, self.known_margin = settings, length, seed, known_margin
        self.class_ids, self.with_supports, self.often = class_ids, with_supports, often
        self.share = range(settings.queries) if share is None else share
        self.images = folder.images
        self.pixels = PixelCache(folder) if pixels is None else pixels
        # per class: the images that show it and, for each, which of its boxes do
        self.where: dict[int, list[tuple[int, NDArray[np.intp]]]] = {
            c: [
                (i, found)
                for i, image in enumerate(folder.images)
                if len(found := np.flatnonzero((image.class_ids == c) & ~image.difficult))
            ]
            for c in class_ids
        }
        for c, places in self.where.items():
            if not places:
                raise UserError(f"{folder.root}: no box of class {folder.class_names[c]!r} in the training images")
        self.augment_query, self.augment_support = query_augmentation(), support_augmentation()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> Episode:
        rng = np.random.default_rng([self.seed, i])
        streams = rng.spawn(self.settings.queries)
        self.augment_support.set_random_seed(int(rng.integers(2**31)))
        ways = min(self.settings.ways, len(self.class_ids))
        classes = [int(c) for c in rng.choice(self.class_ids, ways, replace=False)]
        shots = int(rng.integers(1, self.settings.shots + 1)) if self.with_supports else 0
        queries = [self._query(streams[j], classes) for j in self.share]
        supports = [[self._support(rng, c) for _ in range(shots)] for c in classes]
        return stack_episode(queries, supports, classes)

    def _pick(self, rng: np.random.Generator, class_id: int) -> tuple[int, int]:
        """An image first, then a box in it: a harbour with sixty boats is not sixty times as likely as one boat."""
        image, boxes = self.where[class_id][rng.integers(len(self.where[class_id]))]
        return image, int(rng.choice(boxes))

    def _query(self, rng: np.random.Generator, classes: list[int]) -> Query:
        if self.often is not None and rng.random() < self.often[1]:
            classes = self.often[0]
        image, box = self._pick(rng, classes[rng.integers(len(classes))])
        record, size = self.images[image], self.settings.query_px
        scale = np.exp(rng.uniform(-1, 1) * np.log(self.settings.scale_jitter))
        wanted = record.boxes_xyxy_px[box]
        side = size / scale
        # an object larger than the crop is shown whole, smaller than it is
        side = max(side, 1.1 * float((wanted[2:] - wanted[:2]).max()))
        centre = (wanted[:2] + wanted[2:]) / 2 + rng.uniform(-1, 1, 2) * MAX_SHIFT * side / 2
        square = Square.around(moved_inside(centre, side, record.width_px, record.height_px), side, size)
        boxes = square.boxes(record.boxes_xyxy_px)
        shown = visible(boxes, size, MIN_VISIBLE) & ~record.difficult
        unclear = np.concatenate([boxes[record.difficult], square.boxes(record.crowd_boxes_xyxy_px)])
        unclear = np.clip(unclear, 0, size)
        self.augment_query.set_random_seed(int(rng.integers(2**31)))
        return augmented_query(
            self.augment_query,
            square.pixels(self.pixels[image]),
            boxes[shown],
            record.class_ids[shown],
            self._known(boxes[shown]),
            unclear[area_px(unclear) > 0],
        )

    def _known(self, boxes_xyxy_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Regions of a crop, (R, 4), where what is not labelled is taken to be background."""
        size = self.settings.query_px
        if self.known_margin is None:
            return np.array([[0.0, 0.0, size, size]])
        reach = self.known_margin * (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).max(1, keepdims=True)
        return np.concatenate([boxes_xyxy_px[:, :2] - reach, boxes_xyxy_px[:, 2:] + reach], 1)

    def _support(self, rng: np.random.Generator, class_id: int) -> SupportCrop:
        image, box = self._pick(rng, class_id)
        crop = support_crop(self.pixels[image], self.images[image].boxes_xyxy_px[box], self.settings.support_px)
        return augmented_support(self.augment_support, crop)


def moved_inside(centre: NDArray[np.float64], side: float, width_px: int, height_px: int) -> NDArray[np.float64]:
    """The centre moved so that a square of ``side`` stays inside the image where the image is large enough."""
    size = np.array([width_px, height_px], dtype=np.float64)
    half = np.minimum(side, size) / 2
    return np.clip(centre, half, size - half)


def augmented_query(
    augment: A.Compose,
    rgb: NDArray[np.uint8],
    boxes_xyxy_px: NDArray[np.float64],
    class_ids: NDArray[np.int64],
    known_xyxy_px: NDArray[np.float64],
    ignored_xyxy_px: NDArray[np.float64] = NOTHING,
) -> Query:
    """Turns, flips and tints a query; regions where everything is known, or nothing, turn with it."""
    n, m = len(class_ids), len(class_ids) + len(known_xyxy_px)
    regions = np.concatenate([boxes_xyxy_px, known_xyxy_px, ignored_xyxy_px])
    out = augment(image=rgb, bboxes=regions, index=list(range(len(regions))))
    boxes = np.asarray(out["bboxes"], dtype=np.float64).reshape(-1, 4)
    index = np.asarray(out["index"], dtype=np.int64)
    objects, known = index < n, (index >= n) & (index < m)
    return Query(out["image"], boxes[objects], class_ids[index[objects]], boxes[known], boxes[index >= m])


def augmented_support(augment: A.Compose, crop: SupportCrop) -> SupportCrop:
    """Turns, flips and tints a support crop."""
    out = augment(image=crop.rgb, mask=crop.mask)
    return SupportCrop(out["image"], out["mask"], crop.side_px)
