"""Steps on scenes: enroll classes from examples marked on GeoTIFFs or kept in a prepared folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsod.config import common_settings
from fsod.data.coco import load_folder
from fsod.data.shots import draw_shots, load_shots
from fsod.data.support import SupportCrop, support_crop
from fsod.engine.device import choose_machine
from fsod.engine.enroll import Examples, enrolled_bank, shot_examples
from fsod.errors import UserError, nearest
from fsod.geo.labels import LabelledBoxes, raise_refused, read_boxes, read_layer
from fsod.geo.scene import Scene, open_scene
from fsod.steps import gsd_of, write_examples
from fsod.store.bank_merge import SAME_GSD
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import save_bank


@dataclass(frozen=True)
class _Marked:
    """Examples and what a bank says of them.

    Attributes:
        crops: the examples.
        origin: where they come from.
        gsd_m: of the pixels that they were marked on, None when unknown.
    """

    crops: Examples
    origin: dict[str, Any]
    gsd_m: float | None


def enroll_scenes(
    checkpoint: Path, scenes: list[Path], labels: list[Path], attribute: str, out: Path, learned: bool
) -> dict[str, Any]:
    """Makes a class bank from example boxes in vector files.

    Args:
        checkpoint: the weights.
        scenes: rasters that the examples lie on, of one GSD.
        labels: vector files in any CRS; each may have examples on any of the scenes.
        attribute: of the vector files, holds the class.
        out: the bank; a contact sheet of the examples is written beside it.
        learned: also put in the classes that the checkpoint has learned.

    Raises:
        UserError: see ``read_boxes``; an example that is on none of several scenes; scenes of different GSDs, or without
            a CRS among several.
    """

    def marked(support_px: int) -> _Marked:
        with ExitStack() as stack:
            rasters = [stack.enter_context(open_scene(scene)) for scene in scenes]
            gsd_m = _common_gsd_m(rasters)
            crops: Examples = {}
            for path in labels:
                for raster, boxes in _placed(path, attribute, rasters):
                    for box, name in zip(boxes.boxes_xyxy_px, boxes.class_names, strict=True):
                        crops.setdefault(name, []).append(_crop(raster, box, support_px))
        return _Marked(crops, {"scene": ", ".join(scene.name for scene in scenes), "gsd_m": gsd_m}, gsd_m)

    return _enroll(checkpoint, marked, out, learned)


def enroll_folder(
    checkpoint: Path,
    data: Path,
    shots: Path | None,
    class_names: list[str],
    k: int,
    seed: int,
    out: Path,
    learned: bool,
) -> dict[str, Any]:
    """Makes a class bank from boxes of a prepared folder.

    Args:
        checkpoint: the weights.
        data: the prepared folder.
        shots: a shot list of it.
        class_names: classes to enroll; those of the shot list if empty.
        k: boxes to draw of each class where there is no shot list.
        seed: of that draw.
        out: the bank; a contact sheet of the examples is written beside it.
        learned: also put in the classes that the checkpoint has learned.

    Raises:
        UserError: neither shot list nor classes; a class that the list or the folder does not have, or fewer than K of it.
    """
    folder = load_folder(data)
    if shots is None and not class_names:
        raise UserError(f"{data}: say what to enroll, with --class (and -k), or with --shots")
    drawn = load_shots(shots, folder) if shots else draw_shots(folder, class_names, k, seed)
    names = class_names or list(drawn.box_ids)
    for name in names:
        if name not in drawn.box_ids:
            raise UserError(f"{shots}: no shots of {name!r}{nearest(name, drawn.box_ids)}")
    used = {folder.box_location[box_id][0].id for name in names for box_id in drawn.box_ids[name]}
    gsd_m = gsd_of(replace(folder, images=tuple(image for image in folder.images if image.id in used)))

    def marked(support_px: int) -> _Marked:
        crops = shot_examples(folder, drawn, names, support_px)
        return _Marked(crops, {"data": folder.root.resolve().name, "seed": drawn.seed, "gsd_m": gsd_m}, gsd_m)

    return _enroll(checkpoint, marked, out, learned)


def _enroll(checkpoint: Path, marked_at: Callable[[int], _Marked], out: Path, learned: bool) -> dict[str, Any]:
    """Bank and contact sheet of the examples that ``marked_at`` cuts with a side in pixels."""
    machine = choose_machine()
    loaded = load_checkpoint(checkpoint, machine.trunk_dtype)
    marked = marked_at(common_settings(loaded.settings).episodes.support_px)
    bank = enrolled_bank(loaded, marked.crops, machine, marked.origin, marked.gsd_m, learned=learned)
    save_bank(out, bank, checkpoint)
    sheet = out.with_suffix(".png")
    write_examples(sheet, marked.crops, columns=8)
    counts = {name: len(crops) for name, crops in marked.crops.items()}
    return {
        "bank": str(out),
        "examples": counts,
        "gsd_m": marked.gsd_m,
        "contact_sheet": str(sheet),
        "machine": str(machine),
    }


def _common_gsd_m(scenes: list[Scene]) -> float | None:
    """The GSD of scenes whose examples go into one bank, which is searched at one GSD."""
    first = scenes[0]
    for scene in scenes[1:]:
        for each in (first, scene):
            if each.georeference.gsd_m is None:
                raise UserError(f"{each.name}: has no usable CRS, so it must be the only scene of its bank")
        ratio = (scene.georeference.gsd_m or 1) / (first.georeference.gsd_m or 1)
        if max(ratio, 1 / ratio) > SAME_GSD:
            raise UserError(
                f"{scene.name}: {scene.georeference.gsd_m:.3g} m a pixel, but {first.name} has "
                f"{first.georeference.gsd_m:.3g} m; give each its own bank"
            )
    return first.georeference.gsd_m


def _placed(path: Path, attribute: str, scenes: list[Scene]) -> list[tuple[Scene, LabelledBoxes]]:
    """The examples of a file on each scene; where scenes share ground, on the one that shows most, once."""
    if len(scenes) == 1:
        return [(scenes[0], read_boxes(path, attribute, scenes[0]))]
    layer = read_layer(path, attribute)
    raise_refused(path, layer.refused)
    placed = [layer.place(scene) for scene in scenes]
    best = {int(f): (0.0, -1) for f in layer.features}
    for i, boxes in enumerate(placed):
        for feature, share in zip(boxes.features.tolist(), boxes.visible.tolist(), strict=True):
            if share > best[feature][0] + 1e-6:
                best[feature] = share, i
    raise_refused(path, {f: "lies on none of the scenes" for f, (_, i) in best.items() if i < 0})
    return [
        (scene, boxes.select(np.array([best[f][1] == i for f in boxes.features.tolist()], dtype=bool)))
        for i, (scene, boxes) in enumerate(zip(scenes, placed, strict=True))
    ]


def _crop(scene: Scene, box: NDArray[np.float64], support_px: int) -> SupportCrop:
    margin = support_px + float((box[2:] - box[:2]).max())
    x1, y1 = np.maximum(np.floor(box[:2] - margin), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(box[2:] + margin), [scene.width_px, scene.height_px]).astype(int)
    rgb, _ = scene.read_rectangle((int(x1), int(y1), int(x2), int(y2)))
    return support_crop(rgb, box - [x1, y1, x1, y1], support_px)
