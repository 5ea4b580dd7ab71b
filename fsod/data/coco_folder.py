"""The prepared folder: images, one COCO annotation file, lists of image ids.

::

    FOLDER/images/...         8-bit RGB images
    FOLDER/annotations.json   COCO: images, categories, annotations (bbox = x, y, width, height in pixels)
    FOLDER/card.json          what was read, from where, and what was refused
    FOLDER/splits/*.txt       lists of image ids, one per line

An image's ``source`` names the original it was cut from (its own stem if it was not cut), so that a list of originals
also selects their tiles, and no original is ever spread over two lists.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsod.band_rule import BandRule
from fsod.errors import UserError, nearest, one_line, printable
from fsod.files import decoded, write_text

ANNOTATIONS = "annotations.json"
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take an image file for, whatever its name: for some of the others (EPS) it starts programs."""

LISTS_NAMED = 8
"""How many lists an error names that is about one that is not there."""


@dataclass(frozen=True)
class ImageRecord:
    """One image of a prepared folder and its boxes.

    Attributes:
        id: COCO image id.
        path: the image file.
        source: stem of the original image this one was cut from, or of its own file.
        width_px: image width.
        height_px: image height.
        boxes_xyxy_px: (n, 4) float64, inside the image, every side longer than 0.
        class_ids: (n,) int64, index into the folder's ``class_names``.
        box_ids: (n,) int64, COCO annotation ids.
        gsd_m: ground size of a pixel in metres, None when unknown.
        cut_boxes_xyxy_px: (m, 4) float64, what a tile shows of objects whose box was dropped because too little of
            it is inside. Visible and unlabelled: tiles with a class that must not be seen are left out by them. Of the
            other classes they are background in training.
        cut_class_ids: (m,) int64, their classes.
        difficult: (n,) bool, of each box: hard to recognise by the data set's own word; a detector is not judged by it.
        crowd_boxes_xyxy_px: (k, 4) float64, around many objects that have no box each (COCO's ``iscrowd``). Nothing found
            in them is wrong, and they are no examples.
        crowd_class_ids: (k,) int64, their classes.
        source_box_ids: (n,) int64, the annotation ids that a tile's boxes have in the folder it was cut from: overlapping
            tiles show one object twice, under two ``box_ids`` and one source id. ``box_ids`` where not given.
        shown: which bands of a scene its pixels are; None of a plain picture.
    """

    id: int
    path: Path
    source: str
    width_px: int
    height_px: int
    boxes_xyxy_px: NDArray[np.float64] = field(repr=False)
    class_ids: NDArray[np.int64] = field(repr=False)
    box_ids: NDArray[np.int64] = field(repr=False)
    gsd_m: float | None = None
    cut_boxes_xyxy_px: NDArray[np.float64] = field(repr=False, default_factory=lambda: np.zeros((0, 4)))
    cut_class_ids: NDArray[np.int64] = field(repr=False, default_factory=lambda: np.zeros(0, np.int64))
    source_box_ids: NDArray[np.int64] = field(repr=False, default_factory=lambda: np.zeros(0, np.int64))
    difficult: NDArray[np.bool_] = field(repr=False, default_factory=lambda: np.zeros(0, np.bool_))
    crowd_boxes_xyxy_px: NDArray[np.float64] = field(repr=False, default_factory=lambda: np.zeros((0, 4)))
    crowd_class_ids: NDArray[np.int64] = field(repr=False, default_factory=lambda: np.zeros(0, np.int64))
    shown: BandRule | None = None

    def __post_init__(self) -> None:
        if not len(self.source_box_ids):
            object.__setattr__(self, "source_box_ids", self.box_ids)
        if not len(self.difficult):
            object.__setattr__(self, "difficult", np.zeros(len(self.box_ids), np.bool_))

    def keep(self, boxes: NDArray[np.bool_]) -> ImageRecord:
        """The image with those of its boxes alone for which ``boxes``, (n,), is true."""
        fields = ("boxes_xyxy_px", "class_ids", "box_ids", "source_box_ids", "difficult")
        return replace(self, **{name: getattr(self, name)[boxes] for name in fields})


@dataclass(frozen=True)
class CocoFolder:
    """A prepared folder, or a selection of its images.

    Attributes:
        root: the folder.
        class_names: in the order of the COCO categories; a class id is a position in it.
        images: sorted by COCO id.
        sha256: hash of the annotation file, which shot lists carry.
    """

    root: Path
    class_names: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    sha256: str

    @cached_property
    def box_location(self) -> dict[int, tuple[ImageRecord, int]]:
        """Where each box is: COCO annotation id -> (image, position among the image's boxes)."""
        return {int(box_id): (image, i) for image in self.images for i, box_id in enumerate(image.box_ids)}

    @property
    def gsd_m(self) -> float | None:
        """The median ground size of a pixel of its images, None when that of any is unknown."""
        known = [image.gsd_m for image in self.images if image.gsd_m is not None]
        return float(np.median(known)) if known and len(known) == len(self.images) else None

    def class_indices(self, names: list[str] | tuple[str, ...]) -> list[int]:
        """Class ids of ``names``; UserError with the nearest known name if one is not in the folder."""
        for name in names:
            if name not in self.class_names:
                raise UserError(
                    f"{self.root / ANNOTATIONS}: no class {name!r}{nearest(name, self.class_names)}; "
                    f"the classes are {', '.join(self.class_names)}"
                )
        return [self.class_names.index(name) for name in names]

    def select(self, ids: list[str]) -> CocoFolder:
        """The images named by ``ids``: each a file stem, else an original's stem, else a COCO id.

        Raises:
            UserError: an id is in the folder under none of the three.
        """
        by_stem, by_source, by_id = _index(self.images)
        chosen: dict[int, ImageRecord] = {}
        for name in ids:
            found = by_stem.get(name) or by_source.get(name) or by_id.get(name)
            if found is None:
                raise UserError(f"{self.root}: no image with id {name!r}{nearest(name, [*by_stem, *by_source])}")
            chosen.update((image.id, image) for image in found)
        return replace(self, images=tuple(chosen[i] for i in sorted(chosen)))


def _index(images: tuple[ImageRecord, ...]) -> tuple[dict[str, list[ImageRecord]], ...]:
    by_stem: dict[str, list[ImageRecord]] = {}
    by_source: dict[str, list[ImageRecord]] = {}
    by_id: dict[str, list[ImageRecord]] = {}
    for image in images:
        by_stem.setdefault(image.path.stem, []).append(image)
        by_source.setdefault(image.source, []).append(image)
        by_id.setdefault(str(image.id), []).append(image)
    return by_stem, by_source, by_id


def load_folder(root: Path) -> CocoFolder:
    """Reads a prepared folder; image files are opened only when their pixels are asked for.

    Raises:
        UserError: no folder, no or malformed annotation file, an image or class that is not there, a box outside its
            image or without area; the message names the file and the COCO id.
    """
    path = root / ANNOTATIONS
    if not root.is_dir():
        raise UserError(
            f"{root}: no such folder; prepare one with `fsod data prepare`, or what a run needs with `fsod data make`"
        )
    if not path.is_file():
        raise UserError(f"{root}: not a prepared folder ({ANNOTATIONS} is missing); make one with `fsod data prepare`")
    raw = path.read_bytes()
    try:
        coco = json.loads(raw)
        _check_unique(coco, path)
        names = {c["id"]: printable(str(c["name"])) for c in sorted(coco["categories"], key=lambda c: c["id"])}
        index_of = {category: i for i, category in enumerate(names)}
        boxes = _boxes_by_image(coco, index_of, path)
        images = [_record(root, image, boxes.pop(image["id"], []), index_of, path) for image in coco["images"]]
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        why = one_line(error)
        raise UserError(f"{path}: not a COCO annotation file: {type(error).__name__} {why}") from error
    if boxes:
        raise UserError(f"{path}: boxes for image id {next(iter(boxes))}, which is not among the images")
    images.sort(key=lambda image: image.id)
    return CocoFolder(root, tuple(names.values()), tuple(images), hashlib.sha256(raw).hexdigest())


def _check_unique(coco: dict[str, Any], path: Path) -> None:
    for kind, key in (("images", "id"), ("annotations", "id"), ("categories", "id"), ("categories", "name")):
        value, count = max(Counter(entry[key] for entry in coco[kind]).items(), key=itemgetter(1), default=(None, 0))
        if count > 1:
            raise UserError(f"{path}: {count} {kind} have {key} {value!r}")


class _Box(NamedTuple):
    id: int
    class_id: int
    xywh_px: list[float]
    source_id: int
    difficult: bool
    crowd: bool


def _boxes_by_image(coco: dict[str, Any], index_of: dict[int, int], path: Path) -> dict[int, list[_Box]]:
    boxes: dict[int, list[_Box]] = {}
    for a in coco["annotations"]:
        if a["category_id"] not in index_of:
            raise UserError(f"{path}: annotation {a['id']} has category {a['category_id']}, which is not declared")
        of_kind = a.get("difficult") == 1, a.get("iscrowd") == 1
        box = _Box(a["id"], index_of[a["category_id"]], a["bbox"], a.get("source_id", a["id"]), *of_kind)
        boxes.setdefault(a["image_id"], []).append(box)
    return boxes


def _record(root: Path, image: dict[str, Any], boxes: list[_Box], index_of: dict[int, int], path: Path) -> ImageRecord:
    file = root / "images" / image["file_name"]
    if not file.absolute().is_relative_to(root.absolute()) or ".." in file.relative_to(root).parts:
        raise UserError(f"{path}: image {image['id']} lies outside the folder: {image['file_name']}")
    gsd_m = image.get("gsd_m")
    if image["width"] < 1 or image["height"] < 1 or not (gsd_m is None or 0 < gsd_m < float("inf")):
        raise UserError(
            f"{path}: image {image['id']} has no size: width {image['width']}, height {image['height']}, gsd_m {gsd_m}"
        )
    xyxy = np.array([b.xywh_px for b in boxes], dtype=np.float64).reshape(-1, 4)
    xyxy[:, 2:] += xyxy[:, :2]
    cut_boxes = image.get("cut_boxes_xywh_px", [])
    cut = np.array([c[:4] for c in cut_boxes], dtype=np.float64).reshape(-1, 4)
    cut[:, 2:] += cut[:, :2]
    size = np.array([image["width"], image["height"]] * 2, dtype=np.float64)
    for box, xyxy_px, inside in zip(boxes, xyxy, np.clip(xyxy, 0, size), strict=True):
        if not (np.isfinite(xyxy_px).all() and (xyxy_px[:2] < xyxy_px[2:]).all()):
            raise UserError(f"{path}: annotation {box.id} has no area: bbox {box.xywh_px}")
        # one pixel of slack: some tools count the last pixel twice
        if (xyxy_px < -1).any() or (xyxy_px > size + 1).any() or (inside[:2] >= inside[2:]).any():
            raise UserError(
                f"{path}: annotation {box.id} lies outside its image {image['file_name']} "
                f"({image['width']}x{image['height']} px): bbox {box.xywh_px}"
            )
    inside = np.clip(xyxy, 0, size)
    crowd = np.array([b.crowd for b in boxes], dtype=np.bool_)
    class_ids = np.array([b.class_id for b in boxes], dtype=np.int64)
    record = ImageRecord(
        id=int(image["id"]),
        path=file,
        source=str(image.get("source", file.stem)),
        width_px=int(image["width"]),
        height_px=int(image["height"]),
        boxes_xyxy_px=inside,
        class_ids=class_ids,
        box_ids=np.array([b.id for b in boxes], dtype=np.int64),
        gsd_m=gsd_m,
        cut_boxes_xyxy_px=cut,
        cut_class_ids=np.array([index_of[c[4]] for c in cut_boxes], dtype=np.int64),
        source_box_ids=np.array([b.source_id for b in boxes], dtype=np.int64),
        difficult=np.array([b.difficult for b in boxes], dtype=np.bool_),
        crowd_boxes_xyxy_px=inside[crowd],
        crowd_class_ids=class_ids[crowd],
        shown=BandRule.model_validate(image["shown"]) if "shown" in image else None,
    )
    return record.keep(~crowd)


def read_image(record: ImageRecord) -> NDArray[np.uint8]:
    """Pixels of an image, (H, W, 3) uint8 RGB.

    Raises:
        UserError: the file is missing, damaged, or of another size than the annotations say.
    """
    return check_size(read_rgb(record.path), record)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Pixels of a plain 8-bit image file, (H, W, 3) uint8 RGB; UserError if it is missing or damaged."""
    if not path.is_file():
        raise UserError(f"{path}: no such image")
    try:
        # Pillow, not OpenCV: OpenCV fills what is missing of a truncated JPEG with grey and says nothing
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            # convert would cut off at 255, and 16-bit RGB is read as its high bytes, without a word
            if image.mode.startswith(("I", "F")) or ";16" in str(image.tile):
                raise UserError(f"{path}: is not an 8-bit image (mode {image.mode}); scale it to 8 bits first")
            return np.array(image.convert("RGB"))
    # Pillow raises SyntaxError for a broken PNG, and DecompressionBombError for a header that claims a huge image
    # and ultralytics, once imported, makes Pillow look for a HEIF plugin when it does not know an image
    except (OSError, SyntaxError, ValueError, ModuleNotFoundError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable image: {error}") from error


def check_size(rgb: NDArray[np.uint8], record: ImageRecord) -> NDArray[np.uint8]:
    """``rgb`` itself, or UserError if it is not of the size the annotations give."""
    height, width = rgb.shape[:2]
    check_size_px((width, height), record)
    return rgb


def check_size_px(size_px: tuple[int, int], record: ImageRecord) -> None:
    """UserError unless width and height are what the annotations say."""
    width, height = size_px
    if size_px != (record.width_px, record.height_px):
        raise UserError(
            f"{record.path}: is {width}x{height} px, but {ANNOTATIONS} says {record.width_px}x{record.height_px}"
        )


def read_ids(path: Path) -> list[str]:
    """A list of image ids, one per line, as any editor saves it; blank lines and lines that start with # are skipped."""
    if not path.is_file():
        there = ", ".join(sorted(one.name for one in path.parent.glob("*.txt"))[:LISTS_NAMED])
        raise UserError(f"{path}: no such list of image ids" + (f"; that folder has {there}" if there else ""))
    lines = (line.strip() for line in decoded(path.read_bytes(), "replace").splitlines())
    ids = [line for line in lines if line and not line.startswith("#")]
    if not ids:
        raise UserError(f"{path}: the list of image ids is empty")
    return ids


def write_json(path: Path, content: object) -> None:
    """Writes JSON, the whole of it or nothing."""
    write_text(path, json.dumps(content, indent=1) + "\n")
