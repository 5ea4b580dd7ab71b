"""Shot lists: which K boxes of each class are known.

A list is a file, so that every run and every method learns from the same boxes. It carries the hash of the annotation
file that its ids belong to and is refused for any other.

Boxes are drawn uniformly from all boxes of a class, small ones and several of one image included, as published
protocols do. The order of a class's boxes is that of a hash of seed, class and box id: it depends on nothing else, no
generator's version, other class or K. So lists nest: the first 3 of a 5-shot list are the 3-shot list of that seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from fsod.boxes import area_px
from fsod.data.coco_folder import CocoFolder, write_json
from fsod.errors import UserError

NO_CLASSES = np.zeros(0, np.int64)

USUAL_K = (1, 2, 3, 5, 10, 20, 30)
"""The numbers of shots that published tables have."""


@dataclass(frozen=True)
class ShotList:
    """K boxes of each class.

    Attributes:
        k: number of boxes per class.
        seed: what they were drawn with.
        source_sha256: hash of the annotation file they come from.
        box_ids: class name -> its K annotation ids in the order drawn; classes in alphabetical order.
    """

    k: int
    seed: int
    source_sha256: str
    box_ids: dict[str, tuple[int, ...]]

    def save(self, path: Path) -> None:
        """Writes the list as JSON."""
        write_json(path, {"k": self.k, "seed": self.seed, "source_sha256": self.source_sha256, "box_ids": self.box_ids})


def draw_shots(folder: CocoFolder, class_names: Sequence[str], k: int, seed: int) -> ShotList:
    """One shot list; see :func:`draw_shot_lists`."""
    return draw_shot_lists(folder, class_names, (k,), (seed,))[0]


def draw_shot_lists(
    folder: CocoFolder,
    class_names: Sequence[str],
    ks: Sequence[int],
    seeds: Sequence[int],
    *,
    leave_out_rare: bool = False,
    option: str = "",
) -> list[ShotList]:
    """Draws K objects of each class from the folder's images, for every K and every seed.

    In a folder of overlapping tiles an object that several tiles show counts once, with the tile that shows most of it.
    Difficult objects and crowds are no examples.

    Args:
        folder: the images to draw from, as a rule the training list's.
        class_names: classes to draw for; their order does not matter.
        ks: boxes per class, at least 1.
        seeds: any whole numbers.
        leave_out_rare: leave a class out of the lists whose K it does not reach instead of raising, and lists that this
            leaves without a class. A list never has fewer than K boxes of a class.
        option: of the command that sets ``leave_out_rare``, for the message; empty where there is none.

    Raises:
        UserError: a class is not in the folder or has fewer than K objects; with ``leave_out_rare``, every class has fewer
            than the least K.
    """
    if min(ks) < 1:
        raise UserError(f"{min(ks)} shots per class asked for; at least 1 is needed")
    wanted = sorted(zip(class_names, folder.class_indices(tuple(class_names)), strict=True))
    objects = {name: _objects(folder, class_id) for name, class_id in wanted}
    for name, found in objects.items():
        too_many = [k for k in ks if k > len(found)]
        if too_many and not leave_out_rare:
            raise UserError(
                f"{folder.root}: {too_many[0]} shots of {name!r} asked for, but only {len(found)} are among the images; ask for "
                "fewer" + (f", or for lists without such classes ({option})" if option else "")
            )
    if not any(len(found) >= min(ks) for found in objects.values()):
        raise UserError(f"{folder.root}: {min(ks)} shots per class asked for, but no class has that many")
    lists = []
    for seed in seeds:
        orders = {name: sorted(found, key=partial(_draw_key, seed, name)) for name, found in objects.items()}
        for k in ks:
            drawn = {n: tuple(objects[n][i] for i in order[:k]) for n, order in orders.items() if len(order) >= k}
            if drawn:
                lists.append(ShotList(k, seed, folder.sha256, drawn))
    return lists


def _draw_key(seed: int, class_name: str, object_id: int) -> bytes:
    return hashlib.sha256(f"{seed} {class_name} {object_id}".encode()).digest()


def _objects(folder: CocoFolder, class_id: int) -> dict[int, int]:
    """Every object of a class: id in the uncut images -> id of the box that shows most of it."""
    best: dict[int, tuple[float, int]] = {}
    for image in folder.images:
        areas = area_px(image.boxes_xyxy_px)
        for i in np.flatnonzero((image.class_ids == class_id) & ~image.difficult):
            source_id, box = int(image.source_box_ids[i]), (-float(areas[i]), int(image.box_ids[i]))
            best[source_id] = min(best.get(source_id, box), box)
    return {source_id: box_id for source_id, (_, box_id) in best.items()}


def load_shots(path: Path, folder: CocoFolder | None) -> ShotList:
    """Reads a shot list for the folder.

    Args:
        path: what :meth:`ShotList.save` wrote.
        folder: the images that the shots may come from: give the training list's, and a shot from a test image is refused.
            None: those of any folder.

    Raises:
        UserError: no such file, not a shot list, drawn from other annotations, or a box that is not among the folder's
            images under that class.
    """
    try:
        raw = json.loads(path.read_bytes())
        shots = ShotList(
            int(raw["k"]),
            int(raw["seed"]),
            str(raw["source_sha256"]),
            {str(name): tuple(map(int, ids)) for name, ids in sorted(raw["box_ids"].items())},
        )
    except OSError as error:
        raise UserError(f"{path}: cannot read the shot list: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: not a shot list: {type(error).__name__} {error}") from error
    if folder is None:
        return shots
    if shots.source_sha256 != folder.sha256:
        raise UserError(f"{path}: was drawn from other annotations than {folder.root} has now; draw it again")
    _check_boxes(shots, folder, path)
    return shots


def refuse_scored_shots(shots: ShotList, folder: CocoFolder, scored: CocoFolder, path: Path) -> None:
    """Sees to it that nothing is scored on what it was shown.

    Args:
        shots: what was shown.
        folder: the folder that the shots were drawn from.
        scored: its images that are to be scored; a tile stands for the image it was cut from.
        path: of the shot list, for the message.

    Raises:
        UserError: a shot lies on an image that is scored; names both.
    """
    held_out = {image.source for image in scored.images}
    for name, ids in shots.box_ids.items():
        for box_id in ids:
            image, _ = folder.box_location[box_id]
            if image.source in held_out:
                raise UserError(
                    f"{path}: its box {box_id} of {name!r} lies on {image.path.name}, which is among the {len(scored.images)} "
                    "images to be scored; name other images with --ids, or draw the shots from others"
                )


def images_to_draw_from(folder: CocoFolder, ids: list[str] | None) -> CocoFolder:
    """The images that shots may be drawn from.

    Args:
        folder: a prepared folder.
        ids: those that the user names; None: all, if the folder has no list of test images.

    Raises:
        UserError: nobody says which, and the folder has test images; an id that is not there.
    """
    if ids is not None:
        return folder.select(ids)
    lists = folder.root / "splits"
    if (lists / "test.txt").is_file():
        raise UserError(
            f"{folder.root}: has test images, from which no example may come; name the images to draw from, "
            f"as with --ids {lists / 'train.txt'}"
        )
    return folder


def only_shots(folder: CocoFolder, shots: ShotList) -> CocoFolder:
    """The images of the shots with no box or crowd but the shots: all that a K-shot learner may know of them."""
    chosen = {box_id for ids in shots.box_ids.values() for box_id in ids}
    images = []
    for image in folder.images:
        kept = np.isin(image.box_ids, list(chosen))
        if kept.any():
            images.append(replace(image.keep(kept), crowd_boxes_xyxy_px=np.zeros((0, 4)), crowd_class_ids=NO_CLASSES))
    return replace(folder, images=tuple(images))


def _check_boxes(shots: ShotList, folder: CocoFolder, path: Path) -> None:
    class_ids = dict(zip(shots.box_ids, folder.class_indices(tuple(shots.box_ids)), strict=True))
    for name, ids in shots.box_ids.items():
        if len(set(ids)) != shots.k or len(ids) != shots.k:
            raise UserError(f"{path}: {name!r} has {len(set(ids))} different boxes, but the list says {shots.k} shots")
        for box_id in ids:
            image, i = folder.box_location.get(box_id, (None, 0))
            if image is None or image.class_ids[i] != class_ids[name]:
                raise UserError(f"{path}: box {box_id} is not a {name!r} among the images chosen from {folder.root}")
            if image.difficult[i]:
                raise UserError(
                    f"{path}: box {box_id} of {name!r} is called difficult by the data set, so it cannot be an example; draw the "
                    "list again"
                )
