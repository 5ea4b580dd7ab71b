"""Cutting the images of a prepared folder into tiles, at their own GSD or resampled to another.

A tile's image record carries ``source``, the original's stem, and ``tile_xywh_px``, its place in the image it was cut from
(whose stem starts the tile's file name). If that image was resampled first, the place is in the resampled image, and
``resample_xy`` says how many pixels of it make one of the original's, along rows and along columns: what is at p in a tile
is at (p + tile_xy) / resample_xy in the original. ``cut_boxes_xywh_px`` holds what the tile shows of boxes that an edge cut
too much of. A box carries ``source_id``, the original's annotation id. Tiles take image ids above those of the originals, so
that a list of originals never selects a tile by its number.

A killed run goes on where it stopped: tiles that are complete are not cut again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.annotations import add_box, cut_boxes, no_annotations
from data_prep.content import bytes_of
from data_prep.folder import (
    count_boxes,
    count_classes,
    finished_card,
    folder_under_construction,
    in_threads,
    write_folder,
)
from data_prep.tile_grid import Tile, cut_tiles, resample
from fsod.data.coco_folder import CocoFolder, ImageRecord, load_folder, read_ids, read_image
from fsod.data.leakage import MADE_FROM, lineage
from fsod.errors import UserError
from fsod.files import atomic_write
from fsod.geo.scene_opening import MAX_ENLARGEMENT

# the lowest PNG level is twice as fast as the usual one and a tenth larger
FORMATS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 1},
    "jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}


@dataclass(frozen=True)
class _CutImage:
    """An image, its record as it is once resampled, and the tiles it is cut into."""

    original: ImageRecord
    resampled: ImageRecord
    tiles: list[Tile]

    @property
    def size_px(self) -> tuple[int, int]:
        return self.resampled.width_px, self.resampled.height_px

    @property
    def resample_xy(self) -> tuple[float, float]:
        width, height = self.size_px
        return width / self.original.width_px, height / self.original.height_px


def tile_folder(
    folder: CocoFolder,
    out: Path,
    *,
    window_px: int,
    overlap_px: int,
    min_kept_area: float = 0.5,
    keep_empty: float = 1.0,
    ids: list[str] | None = None,
    image_format: str = "png",
    gsd_m: float | None = None,
    keep_unknown_gsd: bool = False,
) -> dict[str, Any]:
    """Cuts images of a prepared folder into tiles and writes them as a prepared folder.

    The lists of the folder are carried over with the same originals, less those without any tile here. All or nothing:
    ``out`` appears when it is complete. If it is there already, made from the same content, nothing is done; if a run
    was killed, the next one of the same content goes on with what is missing.

    Args:
        folder: the images to cut.
        out: the folder to write.
        window_px: side of a tile.
        overlap_px: how much neighbours share. Objects up to this size are whole in at least one tile.
        min_kept_area: a cut box stays if at least this share of its area is inside, above 0 to 1.
        keep_empty: share of the tiles without any box to keep, 0 to 1. Which ones depends on their names alone.
        ids: cut these images only, each a stem, an original's stem or a COCO id.
        image_format: ``png``, or ``jpg`` (quality 95, a tenth of the bytes, not the same pixels).
        gsd_m: resample images to this ground size of a pixel in metres before they are cut, as inference does: by mean
            where pixels become larger, linearly where they become smaller, not at all within 5 %. Window and overlap
            are pixels of the resampled image.
        keep_unknown_gsd: with ``gsd_m``, cut images of unknown GSD as they are instead of refusing them.

    Returns:
        The card, as written to ``out/card.json``. ``objects_in_no_tile`` lists annotation ids of the folder: objects so
        large that every tile holds less than the kept share of them.

    Raises:
        UserError: a setting out of range, an id that is not there, two images of one name, an unreadable image, an image
            whose GSD is unknown or far coarser than ``gsd_m``.
    """
    chosen = folder if ids is None else folder.select(ids)
    settings: dict[str, Any] = {
        "window_px": window_px,
        "overlap_px": overlap_px,
        "min_kept_area": min_kept_area,
        "keep_empty": keep_empty,
        "image_format": image_format,
        "gsd_m": gsd_m,
        "keep_unknown_gsd": keep_unknown_gsd,
    }
    _check(chosen, settings)
    whole = load_folder(folder.root)
    lists = _lists(whole)
    fingerprint = _fingerprint(chosen, settings, lists)
    if card := finished_card(out, fingerprint):
        return card
    cuts = []
    for image in chosen.images:
        resampled = image if gsd_m is None else resample(image, gsd_m)
        cuts.append(_CutImage(image, resampled, cut_tiles(resampled, window_px, overlap_px, min_kept_area)))
    written = [replace(cut, tiles=[t for t in cut.tiles if _is_written(cut, t, keep_empty)]) for cut in cuts]
    with folder_under_construction(out, resume=fingerprint) as building:
        in_threads(lambda cut: _save(cut, building / "images", image_format), written, "cutting tiles")
        coco = _coco(folder.class_names, written, image_format, max(image.id for image in whole.images) + 1)
        sources = {image["source"] for image in coco["images"]}
        kept_lists = {name: [i for i in originals if i in sources] for name, originals in lists.items()}
        card = {
            "format": "tiles",
            "source": str(folder.root),
            MADE_FROM: lineage(folder.root, folder.sha256),
            "fingerprint": fingerprint,
            "settings": settings,
            "images": len(coco["images"]),
            "images_cut": len(cuts),
            "images_resampled": sum(cut.resampled is not cut.original for cut in cuts),
            "empty_tiles_left_out": sum(len(cut.tiles) for cut in cuts) - len(coco["images"]),
            "boxes": count_boxes(coco),
            "classes": count_classes(coco),
            "cut_boxes": sum(len(image["cut_boxes_xywh_px"]) for image in coco["images"]),
            "objects_in_no_tile": _in_no_tile(cuts),
            "lists": {name: {"listed": len(lists[name]), "written": len(kept_lists[name])} for name in lists},
        }
        write_folder(building, coco, kept_lists, card)
    return card


def _check(folder: CocoFolder, settings: dict[str, Any]) -> None:
    if settings["window_px"] < 1:
        raise UserError(f"window_px is {settings['window_px']}; a tile needs at least 1 px")
    if not 0 <= settings["overlap_px"] < settings["window_px"]:
        raise UserError(f"overlap_px is {settings['overlap_px']}; it must be 0 or more and less than window_px")
    if not 0 < settings["min_kept_area"] <= 1:
        raise UserError(f"min_kept_area is {settings['min_kept_area']}; it must be above 0 and at most 1")
    if not 0 <= settings["keep_empty"] <= 1:
        raise UserError(f"keep_empty is {settings['keep_empty']}; it must be 0 to 1")
    if settings["image_format"] not in FORMATS:
        raise UserError(f"image_format is {settings['image_format']!r}; it must be one of {', '.join(FORMATS)}")
    if not folder.images:
        raise UserError(f"{folder.root}: no images to cut")
    stem, count = Counter(image.path.stem for image in folder.images).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{folder.root}: {count} images are named {stem!r}; rename all but one, tiles are named after them"
        )
    if settings["gsd_m"] is not None:
        _check_gsd(folder, settings["gsd_m"], settings["keep_unknown_gsd"])


def _check_gsd(folder: CocoFolder, gsd_m: float, keep_unknown: bool) -> None:
    if not 0 < gsd_m < float("inf"):
        raise UserError(f"gsd_m is {gsd_m}; it must be a positive number of metres")
    unknown = [image for image in folder.images if image.gsd_m is None]
    if unknown and not keep_unknown:
        raise UserError(
            f"{unknown[0].path}: its GSD is unknown, as that of {len(unknown)} of {len(folder.images)} images, so it cannot "
            f"be resampled to {gsd_m:g} m; leave --gsd-m out, or add --keep-unknown-gsd to cut such images as they are"
        )
    for image in folder.images:
        if image.gsd_m is not None and image.gsd_m / gsd_m > MAX_ENLARGEMENT:
            raise UserError(
                f"{image.path}: its pixels are {image.gsd_m:.3g} m, too coarse to resample to {gsd_m:g} m; "
                "choose a coarser GSD or leave the image out"
            )


def _lists(whole: CocoFolder) -> dict[str, list[str]]:
    """The folder's lists of images, each as the originals that it selects; UserError if it selects a part of one."""
    images_of = Counter(image.source for image in whole.images)
    lists: dict[str, list[str]] = {}
    for path in sorted((whole.root / "splits").glob("*.txt")):
        selected = Counter(image.source for image in whole.select(read_ids(path)).images)
        for source, count in selected.items():
            if count < images_of[source]:
                raise UserError(
                    f"{path}: names {count} of the {images_of[source]} images cut from {source}, but tiles go by their "
                    "original; name the original, or all of its images"
                )
        lists[path.stem] = sorted(selected)
    return lists


def _fingerprint(folder: CocoFolder, settings: dict[str, Any], lists: dict[str, list[str]]) -> str:
    for image in folder.images:
        if not image.path.is_file():
            raise UserError(f"{image.path}: no such image")
    chosen = [image.id for image in folder.images], bytes_of([i.path for i in folder.images], "looking for changes")
    return hashlib.sha256(f"tiles 3 {folder.sha256} {settings} {lists} {chosen}".encode()).hexdigest()


def _is_written(cut: _CutImage, tile: Tile, keep_empty: float) -> bool:
    """Tiles with a box; of those without, a fixed, even choice: a hash of the tile's place, as a number in 0..1."""
    digest = hashlib.sha256(f"{cut.original.id} {tile.xywh_px}".encode()).digest()
    return len(tile.kept) > 0 or int.from_bytes(digest[:8], "big") / 2**64 < keep_empty


def _file_name(cut: _CutImage, tile: Tile, image_format: str) -> str:
    x, y, _, _ = tile.xywh_px
    return f"{cut.original.path.stem}_{x}_{y}.{image_format}"


def _save(cut: _CutImage, folder: Path, image_format: str) -> None:
    """Writes the tiles that are not there yet: one that is there is complete."""
    paths = {folder / _file_name(cut, tile, image_format): tile.xywh_px for tile in cut.tiles}
    missing = {path: place for path, place in paths.items() if not path.exists()}
    if not missing:
        return
    rgb = _resize(read_image(cut.original), cut.size_px)
    for path, (x, y, width, height) in missing.items():
        with atomic_write(path) as temporary:
            Image.fromarray(rgb[y : y + height, x : x + width]).save(temporary, **FORMATS[image_format])


def _resize(rgb: NDArray[np.uint8], size_px: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    if (width, height) == size_px:
        return rgb
    how = cv2.INTER_AREA if size_px[0] * size_px[1] < width * height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size_px, interpolation=how), dtype=np.uint8)


def _coco(names: tuple[str, ...], cuts: list[_CutImage], image_format: str, first_id: int) -> dict[str, Any]:
    coco = no_annotations(names)
    for cut in cuts:
        for tile in cut.tiles:
            coco["images"].append(_image_entry(cut, tile, image_format, first_id + len(coco["images"])))
            for box, i in zip(tile.boxes_xyxy_px.tolist(), tile.kept.tolist(), strict=True):
                more = {"difficult": 1} if cut.original.difficult[i] else {}
                source_id = int(cut.original.source_box_ids[i])
                add_box(coco, box, int(cut.original.class_ids[i]), source_id=source_id, **more)
            for box, i in zip(tile.crowd_xyxy_px.tolist(), tile.crowds.tolist(), strict=True):
                add_box(coco, box, int(cut.original.crowd_class_ids[i]), iscrowd=1)
    return coco


def _image_entry(cut: _CutImage, tile: Tile, image_format: str, image_id: int) -> dict[str, Any]:
    entry = {
        "id": image_id,
        "file_name": _file_name(cut, tile, image_format),
        "width": tile.xywh_px[2],
        "height": tile.xywh_px[3],
        "source": cut.original.source,
        "tile_xywh_px": tile.xywh_px,
        "cut_boxes_xywh_px": cut_boxes(tile.cut_xyxy_px, tile.cut_class_ids),
    }
    if cut.resampled is not cut.original:
        entry["resample_xy"] = cut.resample_xy
    if cut.original.shown is not None:
        entry["shown"] = cut.original.shown.model_dump(mode="json")
    return entry if cut.resampled.gsd_m is None else {**entry, "gsd_m": cut.resampled.gsd_m}


def _in_no_tile(cuts: list[_CutImage]) -> list[int]:
    lost: list[int] = []
    for cut in cuts:
        kept = np.unique(np.concatenate([tile.kept for tile in cut.tiles]))
        lost += np.delete(cut.original.box_ids, kept).tolist()
    return sorted(lost)
