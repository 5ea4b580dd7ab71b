"""Which classes are base and which are novel, and which images base training may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fsod.data.coco_folder import ANNOTATIONS, CocoFolder, ImageRecord
from fsod.errors import UserError


@dataclass(frozen=True)
class ClassSplit:
    """Class names of a folder in two parts.

    Attributes:
        base: classes with many labels, in the folder's order.
        novel: classes with K shots each, in the folder's order.
    """

    base: tuple[str, ...]
    novel: tuple[str, ...]


def split_classes(folder: CocoFolder, novel_names: Sequence[str]) -> ClassSplit:
    """Splits the folder's classes; those that are not named are base.

    Args:
        folder: a prepared folder.
        novel_names: novel classes in any order; none makes every class a base class.

    Raises:
        UserError: a name is not in the folder (with the nearest that is) or is given twice, or no base class is left.
    """
    names = tuple(novel_names)
    folder.class_indices(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"novel class {twice[0]!r} is named twice; remove one")
    base = tuple(name for name in folder.class_names if name not in names)
    if not base:
        raise UserError(f"{folder.root / ANNOTATIONS}: no base class is left, all {len(names)} classes are novel")
    return ClassSplit(base, tuple(name for name in folder.class_names if name in names))


def images_without(folder: CocoFolder, class_names: Sequence[str]) -> CocoFolder:
    """The images, or tiles, that show nothing of the classes, not even what an edge cut off or a crowd.

    Raises:
        UserError: a class is not in the folder.
    """
    unwanted = folder.class_indices(tuple(class_names))

    def shows_none(image: ImageRecord) -> bool:
        shown = np.concatenate([image.class_ids, image.cut_class_ids, image.crowd_class_ids])
        return not np.isin(shown, unwanted).any()

    return replace(folder, images=tuple(image for image in folder.images if shows_none(image)))
