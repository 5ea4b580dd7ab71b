"""Average precision of a detector on the images of a prepared folder, by pycocotools.

What the data sets' own protocols pass over is neither right nor wrong here: a difficult object (VOC, DOTA), found once, more
often or not at all, and what lies by half or more of its area inside a crowd of its class (COCO).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fsod.boxes import Detections
from fsod.data.coco_folder import CocoFolder


@dataclass(frozen=True)
class Scores:
    """Average precision in 0..1; None where there is no class or no object to measure on.

    Attributes:
        base_map50: mean over base classes of AP at IoU 0.5 (COCO's 101 points).
        novel_map50: the same over novel classes.
        all_map50: the same over all classes that have an object.
        harmonic_map50: harmonic mean of base and novel.
        all_map: mean over IoU 0.5, 0.55, ... 0.95.
        all_map50_voc07: AP at IoU 0.5 by the 11 points of VOC 2007, for comparison with papers.
        per_class_ap50: class name -> AP at IoU 0.5.
        images: how many were measured on.
        objects: how many boxes they have to find: without difficult ones and crowds.
    """

    base_map50: float | None
    novel_map50: float | None
    all_map50: float | None
    harmonic_map50: float | None
    all_map: float | None
    all_map50_voc07: float | None
    per_class_ap50: dict[str, float | None]
    images: int
    objects: int

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def average_precision(
    folder: CocoFolder, found: dict[int, Detections], class_names: list[str], novel: tuple[str, ...]
) -> Scores:
    """Scores of detections against a folder's boxes.

    Args:
        folder: images, true boxes and crowds.
        found: detections by image id, class ids counted among ``class_names``.
        class_names: the enrolled classes, each a class of the folder.
        novel: which of them are novel; the others are base.
    """
    wanted = folder.class_indices(class_names)
    precision, classes = _coco_precision(folder, found, class_names)
    ap50 = {
        name: _mean(precision[0, :, i]) if i >= 0 else None
        for i, name in ((classes.get(n, -1), n) for n in class_names)
    }
    shown = list(classes.values())
    at_eleven = precision[0, ::10][:, shown]
    base = _mean_of([ap50[n] for n in class_names if n not in novel])
    novel_mean = _mean_of([ap50[n] for n in class_names if n in novel])
    return Scores(
        base_map50=base,
        novel_map50=novel_mean,
        all_map50=_mean_of(list(ap50.values())),
        harmonic_map50=2 * base * novel_mean / max(base + novel_mean, 1e-9)
        if base is not None and novel_mean is not None
        else None,
        all_map=_mean(precision[:, :, shown]),
        all_map50_voc07=_mean(at_eleven),
        per_class_ap50=ap50,
        images=len(folder.images),
        objects=int(sum(np.isin(image.class_ids[~image.difficult], wanted).sum() for image in folder.images)),
    )


def _coco_precision(
    folder: CocoFolder, found: dict[int, Detections], class_names: list[str]
) -> tuple[NDArray[np.float64], dict[str, int]]:
    """Precision by pycocotools (IoU threshold, recall, class) and the position in it of each class that has an object."""
    wanted = folder.class_indices(class_names)
    truth = [
        {"id": n, "image_id": image_id, "category_id": c, "bbox": _xywh(box), "area": area, "iscrowd": crowd}
        for n, (image_id, box, c, area, crowd) in enumerate(_truth(folder), 1)
        if c in wanted
    ]
    results = [
        {"image_id": i, "category_id": wanted[c], "bbox": _xywh(box), "score": float(s)}
        for i, d in found.items()
        for box, s, c in zip(d.boxes_xyxy_px, d.scores, d.class_ids, strict=True)
    ]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image.id, "width": image.width_px, "height": image.height_px} for image in folder.images],
        "categories": [{"id": c, "name": folder.class_names[c]} for c in sorted(wanted)],
        "annotations": truth,
    }
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results) if results else _nothing(coco), "bbox")
        evaluation.params.maxDets = [max((len(d) for d in found.values()), default=100) or 100]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        _pass_over_difficult(evaluation)
        evaluation.accumulate()
    present = {a["category_id"] for a in truth if not a["iscrowd"] and a["area"] != _IGNORED_AREA}
    position = {folder.class_names[c]: i for i, c in enumerate(sorted(wanted)) if c in present}
    return evaluation.eval["precision"][:, :, :, 0, 0], position


_IGNORED_AREA = -1.0
"""Outside the range of sizes, so that pycocotools ignores the box: it overwrites ``ignore`` with ``iscrowd``."""


def _truth(folder: CocoFolder) -> Iterator[tuple[int, NDArray[np.float64], int, float, int]]:
    """Image id, box, class id, area and whether it is a crowd, of all that pycocotools is told."""
    for image in folder.images:
        for box, c, difficult in zip(image.boxes_xyxy_px, image.class_ids, image.difficult, strict=True):
            yield image.id, box, int(c), _IGNORED_AREA if difficult else _area(box), 0
        for box, c in zip(image.crowd_boxes_xyxy_px, image.crowd_class_ids, strict=True):
            yield image.id, box, int(c), _area(box), 1


def _pass_over_difficult(evaluation: COCOeval) -> None:
    """Lets any number of detections fit a difficult object, as VOC's and DOTA's own scripts do; pycocotools takes one."""
    for judged in evaluation.evalImgs:
        if judged is None:
            continue
        key = judged["image_id"], judged["category_id"]
        difficult = [a["area"] == _IGNORED_AREA for a in evaluation._gts[key]]
        if any(difficult) and judged["dtIds"]:
            best = evaluation.ious[key][:, difficult].max(1)
            fits = best >= evaluation.params.iouThrs[:, None]
            judged["dtIgnore"] |= fits & (judged["dtMatches"] == 0)


def _nothing(coco: COCO) -> COCO:
    empty = COCO()
    empty.dataset = {**coco.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _xywh(box: NDArray[np.float64]) -> list[float]:
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def _area(box: NDArray[np.float64]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if values.size else None


def _mean_of(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
