"""A user's own labels: georeferenced rasters and boxes as GeoJSON, GeoPackage or Shapefile in any coordinate system.

::

    SCENES    a raster, or a folder of them
    LABELS    one vector file (or file geodatabase) for all scenes, or a folder with one for each, of the same stem

Coordinates go through the coordinate systems of file and raster to the raster's pixels and count from its upper left
corner: 0 is the left (upper) edge of the first pixel, and boxes are not rounded. Without a usable coordinate system of the
raster they are taken for its pixels.

Scenes are read window by window and written as 8-bit PNG by the rule of :mod:`fsod.geo.pixels`, the same that inference reads
them by. A scene larger than a window becomes several images, ``stem_X_Y.png``, that overlap, by the rules of
:mod:`data_prep.tile_grid`; their ``source`` is the scene's stem, so a list of scenes selects them. A window without anything to
see and without a box is not written.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.annotations import add_box, cut_boxes, no_annotations
from data_prep.folder import (
    count_classes,
    finished_card,
    folder_under_construction,
    in_threads,
    names_alike,
    write_folder,
)
from data_prep.label_files import (
    LabelSettings,
    as_problem,
    label_fingerprint,
    pair_scenes,
    raise_first,
    read_layers,
)
from data_prep.source import Item, Problem
from data_prep.tile_grid import Tile, cut_tiles
from fsod.boxes import intersection_px
from fsod.data.coco_folder import ImageRecord
from fsod.errors import UserError
from fsod.geo.blank import is_blank
from fsod.geo.labels import LabelLayer, assumed_encoding, outside
from fsod.geo.mark_shapes import hull_notes
from fsod.geo.misplaced import why_misplaced
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene

MIN_KEPT_AREA = 0.5
"""An object that the edge of a scene or a window cuts stays if at least this share of its box is inside."""


@dataclass(frozen=True)
class _Plan:
    """A scene that is looked over but not read.

    Attributes:
        scene: closed; ``reopen`` gives a handle.
        record: the scene as if it were one image. The ``box_ids`` number the objects of all label files, so an object on
            two scenes has one number. Of objects that the scene's edge cuts, more than half away, the rest is cut boxes.
        labels: the file of its labels.
        kinds: of its boxes, see ``fsod.geo.mark_shapes``.
        numbers: of the file's labels, that lie on it.
        first_id: what to add to a label's number in its file for the number of its object.
        tiles: its windows, but those that show a label which could not be read.
        left_out: how many of these there are.
    """

    scene: Scene
    record: ImageRecord
    labels: Path
    kinds: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    first_id: int
    tiles: list[Tile]
    left_out: int


def prepare_labels(scenes: Path, labels: Path, out: Path, settings: LabelSettings) -> dict[str, Any]:
    """Reads labelled scenes and writes a prepared folder.

    All or nothing: ``out`` appears when it is complete. If it is there already, made from the same content, nothing is
    done. What is to be seen on a scene without a label counts as background. So a window is left out if a label lies in it that
    ``skip_bad`` passes over.

    Args:
        scenes: a raster, or a folder of them.
        labels: a vector file for all of them, or a folder with one for each.
        out: the folder to write.
        settings: how to read them.

    Returns:
        The card, as written to ``out/card.json``. ``objects_in_no_image`` are those that every image holds too little of,
        by their number among the labels (over all label files, one after the other).

    Raises:
        UserError: nothing to read; unless ``skip_bad``, a scene without labels or the reverse, a file or a window that
            cannot be read, a feature without a class, that is neither polygon, line nor sized point, or on no scene.
    """
    items, problems = pair_scenes(scenes, labels)
    raise_first(problems, settings)
    layers = read_layers(items, settings, problems)
    plans = _plan_all(items, layers, settings, problems)
    if not plans:
        raise UserError(f"{scenes}: no scene of it can be used; {problems[0].place()}: {problems[0].why}")
    numbers = {path: i for i, path in enumerate(layers)}
    seen = [(plan.record.source, plan.scene, numbers[plan.labels]) for plan in plans]
    fingerprint = label_fingerprint(settings, problems, list(layers.values()), seen)
    if card := finished_card(out, fingerprint):
        return card
    jobs = [(plan, tile) for plan in plans for tile in plan.tiles]
    if not jobs:
        first = next(problem for problem in problems if problem.path in layers)
        raise UserError(
            f"{first.place()}: {first.why}, and every window shows a label that cannot be used, so nothing is left; fix the "
            "labels, or cut smaller windows (--window-px)"
        )
    with folder_under_construction(out) as folder:
        entries = in_threads(lambda job: _write_window(*job, folder / "images", settings), jobs, "reading scenes")
        problems += [entry for entry in entries if isinstance(entry, Problem)]
        written = [(*job, entry) for job, entry in zip(jobs, entries, strict=True) if isinstance(entry, dict)]
        coco = _coco(_class_names(layers), written)
        objects = {i for plan in plans for i in (plan.numbers + plan.first_id).tolist()}
        card = {
            "format": "labelled_scenes",
            "source": f"{scenes} with {labels}",
            "fingerprint": fingerprint,
            "settings": asdict(settings),
            "scenes": len(plans),
            "images": len(coco["images"]),
            "blank_windows_left_out": entries.count(None),
            "windows_with_unread_labels_left_out": sum(plan.left_out for plan in plans),
            "objects": len(objects),
            "objects_in_no_image": sorted(objects - {a["source_id"] for a in coco["annotations"]}),
            "boxes": len(coco["annotations"]),
            "classes": count_classes(coco),
            "pixels": {plan.record.source: str(plan.scene.rule) for plan in plans},
            "warnings": [
                *names_alike(coco),
                *(warning for plan in plans for warning in plan.scene.warnings),
                *(warning for layer in layers.values() for warning in assumed_encoding(layer)),
                *(
                    note
                    for path in layers
                    for note in hull_notes(path, (plan.kinds for plan in plans if plan.labels == path))
                ),
            ],
            "refused": [{"where": problem.place(), "why": problem.why} for problem in problems],
        }
        write_folder(folder, coco, {}, card)
    return card


def _class_names(layers: dict[Path, LabelLayer]) -> list[str]:
    return sorted({name for layer in layers.values() for name in layer.class_names})


def _plan_all(
    items: list[Item], layers: dict[Path, LabelLayer], settings: LabelSettings, problems: list[Problem]
) -> list[_Plan]:
    """Every scene with its labels and windows; labels that lie on none of their scenes join the problems."""
    class_ids = {name: i for i, name in enumerate(_class_names(layers))}
    counts = [layer.count for layer in layers.values()]
    first_ids = dict(zip(layers, np.cumsum([0, *counts]).tolist(), strict=False))
    plans = []
    for item in items:
        if item.truth in layers:
            try:
                plans.append(_plan(item, layers[item.truth], first_ids[item.truth], class_ids, settings))
            except UserError as error:
                problems.append(as_problem(item.image, error))
            raise_first(problems, settings)
    for path, layer in layers.items():
        there = [plan for plan in plans if plan.labels == path]
        if there:
            away = ~np.isin(layer.numbers, np.concatenate([plan.numbers for plan in there]))
            why = outside(there[0].scene) if len(there) == 1 else f"lies outside all {len(there)} scenes"
            if away.any():
                why += next(filter(None, (why_misplaced(layer.geometry, plan.scene) for plan in there)), "")
            problems += [Problem(path, f"feature {i}: {why}") for i in np.unique(layer.features[away]).tolist()]
    raise_first(problems, settings)
    return plans


def _plan(item: Item, layer: LabelLayer, first_id: int, class_ids: dict[str, int], settings: LabelSettings) -> _Plan:
    with open_scene(item.image, bands=settings.bands, nodata=settings.nodata) as scene:
        placed = layer.place(scene)
        # as far as half an object reaches that is sure to be whole in some window
        unread = layer.unread_on(scene, max(1.0, settings.overlap_px / 2))
    classes = np.array([class_ids[name] for name in placed.class_names], dtype=np.int64)
    enough = placed.visible >= MIN_KEPT_AREA
    record = ImageRecord(
        id=item.id,
        path=item.image,
        source=item.stem,
        width_px=scene.width_px,
        height_px=scene.height_px,
        boxes_xyxy_px=placed.boxes_xyxy_px[enough],
        class_ids=classes[enough],
        box_ids=first_id + placed.numbers[enough],
        cut_boxes_xyxy_px=placed.boxes_xyxy_px[~enough],
        cut_class_ids=classes[~enough],
    )
    tiles = cut_tiles(record, settings.window_px, settings.overlap_px, MIN_KEPT_AREA)
    known = [tile for tile in tiles if not _shows(tile, unread)]
    left_out = len(tiles) - len(known)
    return _Plan(scene, record, Path(layer.path), placed.kinds, placed.numbers, first_id, known, left_out)


def _shows(tile: Tile, boxes_xyxy_px: NDArray[np.float64]) -> bool:
    """Whether a tile shows anything of boxes (m, 4) of the scene."""
    x, y, width, height = tile.xywh_px
    frame = np.array([[x, y, x + width, y + height]], np.float64)
    return bool((intersection_px(frame, boxes_xyxy_px) > 0).any())


def _write_window(plan: _Plan, tile: Tile, folder: Path, settings: LabelSettings) -> dict[str, Any] | Problem | None:
    """Writes a window's pixels and returns its image record; None if there is nothing to see and no label in it."""
    x, y, width, height = tile.xywh_px
    try:
        with plan.scene.reopen() as scene:
            rgb, valid = scene.read_rectangle((x, y, x + width, y + height))
    except UserError as error:
        problem = as_problem(plan.record.path, error)
        raise_first([problem], settings)
        return problem
    if not len(tile.kept) and not len(tile.cut_xyxy_px) and is_blank(rgb, valid):
        return None
    name = f"{plan.record.source}_{x}_{y}.png"
    Image.fromarray(rgb).save(folder / name, compress_level=1)
    entry = {
        "file_name": name,
        "width": width,
        "height": height,
        "source": plan.record.source,
        "tile_xywh_px": tile.xywh_px,
        "shown": plan.scene.shown.model_dump(mode="json"),
    }
    if plan.scene.georeference.crs is None:
        return entry
    # of its own: on a map a pixel's ground size changes from place to place
    sizes_m = plan.scene.georeference.pixel_sizes_m(np.array([[x + width / 2, y + height / 2]]))
    gsd_m = float(np.sqrt(sizes_m.prod()))
    return {**entry, "gsd_m": gsd_m} if 0 < gsd_m < np.inf else entry


def _coco(class_names: list[str], windows: list[tuple[_Plan, Tile, dict[str, Any]]]) -> dict[str, Any]:
    coco = no_annotations(class_names)
    for i, (plan, tile, entry) in enumerate(windows, 1):
        cut = cut_boxes(tile.cut_xyxy_px, tile.cut_class_ids)
        coco["images"].append({"id": i, **entry, "cut_boxes_xywh_px": cut})
        for box, kept in zip(tile.boxes_xyxy_px.tolist(), tile.kept.tolist(), strict=True):
            source_id = int(plan.record.box_ids[kept])
            add_box(coco, box, int(plan.record.class_ids[kept]), source_id=source_id)
    return coco
