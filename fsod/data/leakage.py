"""Whether examples lie on images that are to be scored, also where these are copies or tiles of what was shown.

A folder that was cut or corrected from another names the annotations of that one in its card. A bank or detector of marks
names its scenes, and holds a hash of each, by which a copy is known under whatever name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fsod.config import DataSettings
from fsod.data.coco_folder import CocoFolder, ImageRecord
from fsod.data.shots import ShotList
from fsod.errors import UserError

MADE_FROM = "made_from_sha256"
"""Key of a folder's card: hashes of the annotations that its own were made from."""

SCENES = "scenes_sha256"
"""Key of an origin of examples: hashes of the files that they were marked on."""

SOURCES = "sources_sha256"
"""Key of an origin of examples in a prepared folder: hashes of its annotations and of those that they were made from."""

_START_BYTES = 2**20


def refuse_other_split(trained: Mapping[str, Any], data: DataSettings, file: Path) -> None:
    """Refuses weights that have learned what settings call novel, or on other images than these name.

    Args:
        trained: the settings in the header of the weights.
        data: what is known of the data now.
        file: of the weights.

    Raises:
        UserError: the novel classes or the list of training images differ.
    """
    before, now = trained.get("data", {}), data.model_dump(mode="json")
    for key in ("novel", "train_list"):
        pair = before.get(key, now[key]), now[key]
        own, value = (sorted(one) if isinstance(one, list) else one for one in pair)  # novel classes in any order
        if own != value:
            raise UserError(
                f"{file}: was trained with data.{key} {own}, not {value}: what counts as unseen now may have been learned; give "
                "these settings, or another run_dir"
            )


def lineage(root: Path, sha256: str) -> list[str]:
    """Hashes of a prepared folder's annotations, ``sha256``, and of those that they were made from."""
    try:
        known = json.loads((root / "card.json").read_bytes())[MADE_FROM]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        known = []
    return [sha256, *(known if isinstance(known, list) else [])]


def hash_of_start(path: Path) -> str | None:
    """Hash of a file's size and first MB, which a scene of many GB has at once; None where there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.sha256(b"%d " % path.stat().st_size + file.read(_START_BYTES)).hexdigest()


def hashes_of_scenes(scenes: Iterable[str]) -> list[str]:
    """Those of all that are files."""
    return [own for scene in scenes if (own := hash_of_start(Path(scene))) is not None]


def refuse_scored_examples(
    file: Path, origins: Mapping[str, Mapping[str, Any]], marks: Iterable[Mapping[str, Any]], scored: CocoFolder
) -> None:
    """Sees to it that nothing is scored on what it was made from.

    Args:
        file: a bank or a detector, for the message.
        origins: of its classes, see ``ClassBank``.
        marks: of the detector, see ``fsod.steps.kept_marks``.
        scored: the images that are to be scored; a tile stands for the image it was cut from.

    Raises:
        UserError: an example lies on an image that is scored; names it.
    """
    shown = (*_on_folder(origins, scored), *_on_scenes(origins, scored), *_on_marked(marks, scored))
    for name, image in shown:
        raise UserError(
            f"{file}: was made from examples ({name}) on {image}, which is among the {len(scored.images)} images to be "
            "scored; name other images with --ids, or take the examples from others"
        )


def refuse_shots_of_whole(shots: ShotList, path: Path, folder: CocoFolder, scored: CocoFolder) -> None:
    """The same for a shot list of the folder that this one was made from; tiles keep the ids of its boxes."""
    if shots.source_sha256 not in lineage(folder.root, folder.sha256)[1:]:
        return
    ids = [box_id for of_class in shots.box_ids.values() for box_id in of_class]
    shown = {image.source for image in folder.images if np.isin(image.source_box_ids, ids).any()}
    for image in scored.images:
        if image.source in shown:
            raise UserError(
                f"{path}: a box of it lies on {image.path.name}, which is among the {len(scored.images)} images to be scored; "
                "name other images with --ids, or draw the shots from others"
            )


def _on_folder(origins: Mapping[str, Mapping[str, Any]], scored: CocoFolder) -> Iterator[tuple[str, str]]:
    known = set(lineage(scored.root, scored.sha256))
    of_source = {image.source: image.path.name for image in scored.images}
    for name, origin in origins.items():
        if known & {origin.get("annotations_sha256"), *origin.get(SOURCES, [])}:
            yield from ((name, of_source[source]) for source in origin.get("images") or [] if source in of_source)


def _on_scenes(origins: Mapping[str, Mapping[str, Any]], scored: CocoFolder) -> Iterator[tuple[str, str]]:
    of_scenes = {name: origin for name, origin in origins.items() if origin.get(SCENES)}
    if not of_scenes:
        return
    own = {image.path: hash_of_start(image.path) for image in scored.images}
    for name, origin in of_scenes.items():
        scenes = [Path(scene) for scene in str(origin.get("scene")).split(", ")]
        for image in scored.images:
            if own[image.path] in origin[SCENES] or any(_is_part(image, scene) for scene in scenes):
                yield name, image.path.name


def _on_marked(marks: Iterable[Mapping[str, Any]], scored: CocoFolder) -> Iterator[tuple[str, str]]:
    of_path = {str(image.path.resolve()): image.path.name for image in scored.images}
    for mark in marks:
        if mark["scene"] in of_path:
            yield ", ".join(mark["class_names"]), of_path[mark["scene"]]


def _is_part(image: ImageRecord, scene: Path) -> bool:
    """Whether an image is cut or converted from a scene, by its name: its bytes cannot tell."""
    return image.source == scene.stem and image.path.name != scene.name
