"""Examples where they were marked: images in which some objects have a box and nothing is known of the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from fsod.data.coco_folder import CocoFolder, read_image
from fsod.data.crop import resized, resized_px
from fsod.data.shots import ShotList, only_shots
from fsod.data.support import SupportCrop, support_crop


@dataclass(frozen=True)
class Resized(Sequence[NDArray[np.uint8]]):
    """Images ``factor`` times as large, made when they are looked at: memory need not hold thousands at each size."""

    images: Sequence[NDArray[np.uint8]]
    factor: float

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> Resized: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.uint8] | Resized:
        if isinstance(index, slice):
            return Resized(self.images[index], self.factor)
        return resized(self.images[index], self.factor)


@dataclass(frozen=True)
class Marked:
    """Examples of classes in their images.

    Attributes:
        folder: the images with the boxes of the examples alone; an example may be in several of them under one box id.
        pixels: of the folder's images, (H, W, 3) uint8 RGB.
        places: class name -> of each of its examples the image (a position in the folder) that shows it best, and its
            box id.
    """

    folder: CocoFolder
    pixels: Sequence[NDArray[np.uint8]]
    places: dict[str, list[tuple[int, int]]]

    def box_xyxy_px(self, image: int, box_id: int) -> NDArray[np.float64]:
        """The box of an example, (4,), in an image."""
        record = self.folder.images[image]
        return np.asarray(record.boxes_xyxy_px[record.box_ids.tolist().index(box_id)])

    def crops(self, support_px: int) -> dict[str, list[SupportCrop]]:
        """Support crops of all examples by class."""
        return {
            name: [support_crop(self.pixels[i], self.box_xyxy_px(i, box_id), support_px) for i, box_id in places]
            for name, places in self.places.items()
        }

    def enlarged(self, factor: float) -> Marked:
        """The same examples in images that are ``factor`` times as large."""
        if factor == 1:
            return self
        images = []
        for record in self.folder.images:
            width_px, height_px = (resized_px(side_px, factor) for side_px in (record.width_px, record.height_px))
            by = np.tile([width_px / record.width_px, height_px / record.height_px], 2)
            images.append(
                replace(
                    record,
                    width_px=width_px,
                    height_px=height_px,
                    boxes_xyxy_px=record.boxes_xyxy_px * by,
                    gsd_m=None if record.gsd_m is None else record.gsd_m / factor,
                )
            )
        return replace(self, folder=replace(self.folder, images=tuple(images)), pixels=Resized(self.pixels, factor))

    def without(self, box_ids: Collection[int]) -> Marked:
        """The same as if these examples had not been marked."""
        images = []
        for image in self.folder.images:
            kept = ~np.isin(image.box_ids, list(box_ids))
            images.append(image.keep(kept))
        places = {name: [p for p in places if p[1] not in box_ids] for name, places in self.places.items()}
        return replace(self, folder=replace(self.folder, images=tuple(images)), places=places)


def marked_shots(folder: CocoFolder, shots: ShotList, class_names: Sequence[str]) -> Marked:
    """The shots of some classes in the images of a prepared folder."""
    taken = replace(shots, box_ids={name: shots.box_ids[name] for name in class_names})
    shown = only_shots(folder, taken)
    image_of = {box_id: i for i, image in enumerate(shown.images) for box_id in image.box_ids.tolist()}
    places = {name: [(image_of[box_id], box_id) for box_id in taken.box_ids[name]] for name in class_names}
    return Marked(shown, [read_image(image) for image in shown.images], places)
