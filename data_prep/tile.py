"""Cutting the images of a prepared folder into tiles.

The last tile of a row or column is moved inward, so there are no slivers; an image smaller than the window is one tile
of its own size. A box that a tile's edge cuts stays, clipped, if enough of it is inside. What the tile shows of the others
is written down as ``cut_boxes_xywh_px`` of its image, since it is neither an object to learn nor background.

A tile's image record carries ``source``, the original's stem, and ``tile_xywh_px``, its place in the image it was cut from
(whose stem starts the tile's file name); a box carries ``source_id``, the original's annotation id. Tiles take image ids above
those of the originals, so that a list of originals never selects a tile by its number.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.folder import count_classes, finished_card, folder_under_construction, in_threads, write_folder
from fsod.boxes import area_px
from fsod.data.coco import CocoFolder, ImageRecord, load_folder, read_ids, read_image
from fsod.errors import UserError


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image and what of its objects is inside.

    Attributes:
        xywh_px: place in the image, whole pixels.
        boxes_xyxy_px: (n, 4) float64, kept boxes, clipped, in the tile's own pixels.
        kept: (n,) positions of those boxes among the image's.
        cut_xyxy_px: (m, 4) float64, what is visible of boxes that are not kept, in the tile's own pixels.
        cut: (m,) positions of those boxes among the image's.
    """

    xywh_px: tuple[int, int, int, int]
    boxes_xyxy_px: NDArray[np.float64]
    kept: NDArray[np.intp]
    cut_xyxy_px: NDArray[np.float64]
    cut: NDArray[np.intp]


def starts_px(length_px: int, window_px: int, overlap_px: int) -> list[int]:
    """Where tiles begin along a side: steps of window - overlap, the last one moved inward to end with the image."""
    last = max(length_px - window_px, 0)
    return [*range(0, last, window_px - overlap_px), last]


def cut_tiles(image: ImageRecord, window_px: int, overlap_px: int, min_kept_area: float) -> list[Tile]:
    """The tiles of an image, row by row, with their boxes; see :func:`tile_folder` for the arguments."""
    width, height = min(window_px, image.width_px), min(window_px, image.height_px)
    areas = area_px(image.boxes_xyxy_px)
    tiles = []
    for y in starts_px(image.height_px, window_px, overlap_px):
        for x in starts_px(image.width_px, window_px, overlap_px):
            inside = np.clip(image.boxes_xyxy_px - [x, y, x, y], 0, [width, height, width, height])
            visible = area_px(inside)
            keep = visible >= min_kept_area * areas * (1 - 1e-9)
            kept, cut = np.flatnonzero(keep), np.flatnonzero(~keep & (visible > 0))
            tiles.append(Tile((x, y, width, height), inside[kept], kept, inside[cut], cut))
    return tiles


def tile_folder(
    folder: CocoFolder,
    out: Path,
    *,
    window_px: int,
    overlap_px: int,
    min_kept_area: float = 0.5,
    keep_empty: float = 1.0,
    ids: list[str] | None = None,
    image_format: Literal["png", "jpg"] = "png",
) -> dict[str, Any]:
    """Cuts images of a prepared folder into tiles and writes them as a prepared folder.

    The lists of the folder are carried over with the same originals, less those without any tile here. All or nothing:
    ``out`` appears when it is complete. If it is there already, made from the same content, nothing is done.

    Args:
        folder: the images to cut.
        out: the folder to write.
        window_px: side of a tile.
        overlap_px: how much neighbours share. Objects up to this size are whole in at least one tile.
        min_kept_area: a cut box stays if at least this share of its area is inside, above 0 to 1.
        keep_empty: share of the tiles without any box to keep, 0 to 1. Which ones depends on their names alone.
        ids: cut these images only, each a stem, an original's stem or a COCO id.
        image_format: ``png``, or ``jpg`` (quality 95, a tenth of the bytes, not the same pixels).

    Returns:
        The card, as written to ``out/card.json``. ``objects_in_no_tile`` lists annotation ids of the folder: objects so
        large that every tile holds less than the kept share of them.

    Raises:
        UserError: a setting out of range, an id that is not there, two images of one name, an unreadable image.
    """
    chosen = folder if ids is None else folder.select(ids)
    settings: dict[str, Any] = {
        "window_px": window_px,
        "overlap_px": overlap_px,
        "min_kept_area": min_kept_area,
        "keep_empty": keep_empty,
        "image_format": image_format,
    }
    _check(chosen, settings)
    whole = load_folder(folder.root)
    lists = _lists(whole)
    fingerprint = _fingerprint(chosen, settings, lists)
    if card := finished_card(out, fingerprint):
        return card
    tiles = {image.id: cut_tiles(image, window_px, overlap_px, min_kept_area) for image in chosen.images}
    written = {i: [t for t in tiles[i] if len(t.kept) or _kept_empty(i, t, keep_empty)] for i in tiles}
    with folder_under_construction(out) as building:

        def save(image: ImageRecord) -> None:
            if written[image.id]:
                _save(image, written[image.id], building / "images", image_format)

        in_threads(save, chosen.images, "cutting tiles")
        coco = _coco(chosen, written, image_format, max(image.id for image in whole.images) + 1)
        sources = {image["source"] for image in coco["images"]}
        kept_lists = {name: [i for i in originals if i in sources] for name, originals in lists.items()}
        card = {
            "format": "tiles",
            "source": str(folder.root),
            "fingerprint": fingerprint,
            "settings": settings,
            "images": len(coco["images"]),
            "images_cut": len(chosen.images),
            "empty_tiles_left_out": sum(len(tiles[i]) - len(written[i]) for i in tiles),
            "boxes": len(coco["annotations"]),
            "classes": count_classes(coco),
            "cut_boxes": sum(len(image["cut_boxes_xywh_px"]) for image in coco["images"]),
            "objects_in_no_tile": _in_no_tile(chosen, tiles),
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
    if not folder.images:
        raise UserError(f"{folder.root}: no images to cut")
    stem, count = Counter(image.path.stem for image in folder.images).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{folder.root}: {count} images are named {stem!r}; rename all but one, tiles are named after them"
        )


def _lists(whole: CocoFolder) -> dict[str, list[str]]:
    """The folder's lists of images, each as the originals that it selects."""
    paths = sorted((whole.root / "splits").glob("*.txt"))
    lists = {path.stem: whole.select(read_ids(path)).images for path in paths}
    return {name: sorted({image.source for image in images}) for name, images in lists.items()}


def _fingerprint(folder: CocoFolder, settings: dict[str, Any], lists: dict[str, list[str]]) -> str:
    content = hashlib.sha256(f"tiles 1 {folder.sha256} {settings} {lists}".encode())
    for image in folder.images:
        if not image.path.is_file():
            raise UserError(f"{image.path}: no such image")
        content.update(f" {image.id} {image.path.stat().st_size}".encode())
    return content.hexdigest()


def _kept_empty(image_id: int, tile: Tile, share: float) -> bool:
    """A fixed, even choice: a hash of the tile's place, as a number in 0..1, against the share."""
    digest = hashlib.sha256(f"{image_id} {tile.xywh_px}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def _file_name(image: ImageRecord, tile: Tile, image_format: str) -> str:
    x, y, _, _ = tile.xywh_px
    return f"{image.path.stem}_{x}_{y}.{image_format}"


def _save(image: ImageRecord, tiles: list[Tile], folder: Path, image_format: str) -> None:
    rgb = read_image(image)
    # the lowest PNG level is twice as fast as the usual one and a tenth larger
    options: dict[str, Any] = {"compress_level": 1} if image_format == "png" else {"quality": 95, "subsampling": 0}
    for tile in tiles:
        x, y, width, height = tile.xywh_px
        cut = Image.fromarray(rgb[y : y + height, x : x + width])
        cut.save(folder / _file_name(image, tile, image_format), **options)


def _coco(folder: CocoFolder, tiles: dict[int, list[Tile]], image_format: str, first_id: int) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image in folder.images:
        for tile in tiles[image.id]:
            cut = zip(_xywh(tile.cut_xyxy_px), image.class_ids[tile.cut].tolist(), strict=True)
            record = {
                "id": first_id + len(images),
                "file_name": _file_name(image, tile, image_format),
                "width": tile.xywh_px[2],
                "height": tile.xywh_px[3],
                "source": image.source,
                "tile_xywh_px": tile.xywh_px,
                "cut_boxes_xywh_px": [[*bbox, class_id + 1] for bbox, class_id in cut],
            }
            images.append(record if image.gsd_m is None else {**record, "gsd_m": image.gsd_m})
            for bbox, i in zip(_xywh(tile.boxes_xyxy_px), tile.kept.tolist(), strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": record["id"],
                        "category_id": int(image.class_ids[i]) + 1,
                        "bbox": bbox,
                        "area": bbox[2] * bbox[3],
                        "iscrowd": 0,
                        "source_id": int(image.source_box_ids[i]),
                    }
                )
    categories = [{"id": i, "name": name} for i, name in enumerate(folder.class_names, 1)]
    return {"images": images, "categories": categories, "annotations": annotations}


def _xywh(boxes_xyxy_px: NDArray[np.float64]) -> list[list[float]]:
    return np.hstack([boxes_xyxy_px[:, :2], boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]]).tolist()


def _in_no_tile(folder: CocoFolder, tiles: dict[int, list[Tile]]) -> list[int]:
    lost: list[int] = []
    for image in folder.images:
        kept = np.unique(np.concatenate([tile.kept for tile in tiles[image.id]]))
        lost += np.delete(image.box_ids, kept).tolist()
    return sorted(lost)
