"""What an analyst says of detections: the attribute ``verdict`` of a layer that ``fsod predict`` wrote.

A box that was moved or redrawn counts as it is now. What has no verdict has not been judged, and says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from affine import Affine
from geopandas import GeoDataFrame, GeoSeries
from numpy.typing import NDArray

from fsod.errors import UserError, one_line
from fsod.geo.features import VectorFile, layer_names, raise_refused, read_frame
from fsod.geo.geopackage_file import NAME
from fsod.geo.georeference import Georeference
from fsod.geo.labels import LabelLayer, LabelledBoxes, labels_of
from fsod.geo.layer_files import check_columns, without_apostrophe
from fsod.geo.layer_table import BOX_COLUMNS, VERDICT
from fsod.geo.scene import Scene
from fsod.geo.scene_list import short_name

YES, NO, NOT_JUDGED = 1, 0, -1
SEARCH = ("bank", "time")
"""Attributes that tell one run of ``fsod predict`` from another."""

ANSWERS = {"": NOT_JUDGED}
ANSWERS |= dict.fromkeys(("yes", "y", "true", "1.0"), YES)
ANSWERS |= dict.fromkeys(("no", "n", "false", "0.0"), NO)
"""What people write, in small letters; 1.0 and 0.0 are tick boxes some of which are empty. A plain 0 may be a field's default."""

_PICTURE = Georeference(None, Affine.identity(), None)


@dataclass(frozen=True)
class Verdicts:
    """The judged boxes of one scene.

    Attributes:
        yes: what is of its class, with the outline that it has now.
        no: what is not.
        judged: class name -> how many of its detections are right and how many are not; what was drawn in by hand is none.
        search: names the run of ``fsod predict`` that found them, as far as the layer says.
    """

    yes: LabelledBoxes
    no: LabelledBoxes
    judged: dict[str, tuple[int, int]] = field(default_factory=dict)
    search: str = ""


def read_verdicts(
    path: VectorFile, scenes: Sequence[Scene], *, layer: str | None = None, unnamed: int | None = None
) -> list[Verdicts]:
    """Reads the verdicts in a layer.

    Yes, y, true and ticked boxes are yes, no, n, false and unticked boxes are no, in any case. Edits that QGIS has saved in a GeoPackage that it still
    holds open are read too.

    Args:
        path: the layer, in any format that ``fsod predict`` writes but COCO, or saved again in another that GDAL reads.
        scenes: that it may lie on. Features that name one of them are on that one, of several of its name on the one in the
            layer's folder. Where scenes have a CRS, others are told by the ground that they lie on.
        layer: which layer of the file, where it has several.
        unnamed: position of the scene without a CRS that a layer is of which names none.

    Returns:
        One for each scene; where scenes share ground, a box is on the one that shows most of it.

    Raises:
        UserError: not a layer that ``fsod predict`` wrote; a verdict that is none, or none at all; a judged feature without
            a class, that is no polygon, or on none of the scenes. Features are counted from 1.
    """
    frame, answers = _read_judged(path, layer)
    judged = answers != NOT_JUDGED
    labels = labels_of(path, frame, "class")
    raise_refused(path, {i: why for i, why in labels.refused.items() if judged[i - 1]})
    labels = labels.select(judged[labels.features - 1])
    made_on = _made_on(frame)
    meant = _meant(path, made_on[labels.features - 1], scenes)
    of_pictures = all(scene.georeference.crs is None for scene in scenes)
    # a layer of pictures on scenes that have a CRS is refused by their names
    of_pictures |= frame.crs is None and not meant.any() and bool((made_on != "").any())
    if _is_csv(path) or of_pictures:
        placed = _place_by_name(labels, scenes, made_on, meant, unnamed)
    else:
        names = sorted(set(made_on[labels.features - 1]) - {""})
        hint = f"; these are verdicts on {', '.join(names[:3])}; name their own scene with --scene" if names else ""
        placed = labels.place_on(scenes, hint, meant)
    said_yes = [answers[boxes.features - 1] == YES for boxes in placed]
    found = _found(frame)
    search = _search(frame) or Path(path).name
    return [
        Verdicts(boxes.select(yes), boxes.select(~yes), _counted(boxes, yes, found), search)
        for boxes, yes in zip(placed, said_yes, strict=True)
    ]


def judged_scenes(path: VectorFile, *, layer: str | None = None) -> list[str]:
    """The names of the scenes that verdicts in a layer are on; what was drawn in by hand names none.

    Raises:
        UserError: not a layer that ``fsod predict`` wrote; a verdict that is none, or none at all.
    """
    frame, answers = _read_judged(path, layer)
    return sorted(set(_made_on(frame)[answers != NOT_JUDGED]) - {""})


def _read_judged(path: VectorFile, layer: str | None) -> tuple[GeoDataFrame, NDArray[np.int64]]:
    """The features of a layer, and for each YES, NO or NOT_JUDGED; UserError without a verdict."""
    frame = _read_csv(path) if _is_csv(path) else read_frame(path, layer, usual=NAME)
    if VERDICT not in frame or "class" not in frame:
        missing = VERDICT if VERDICT not in frame else "class"
        raise UserError(f"{path}: has no attribute {missing!r}, so it is not a layer that `fsod predict` wrote")
    answers = _answers(path, frame[VERDICT])
    if not (answers != NOT_JUDGED).any():
        raise UserError(
            f"{path}: no verdict given; set {VERDICT} to yes or no in one feature at least" + _of_several(path, layer)
        )
    return frame, answers


def _of_several(path: VectorFile, layer: str | None) -> str:
    """Which layer was read, where a file has several: geopandas saves into another one if it is not told which."""
    one_table = Path(path).suffix.lower() in (".csv", ".parquet")
    names = [] if one_table else layer_names(path)
    if len(names) < 2:
        return ""
    return f" of the layer {layer or NAME!r}, or name another one with --layer; the file has {', '.join(names)}"


def _is_csv(path: VectorFile) -> bool:
    return Path(path).suffix.lower() == ".csv"


def _found(frame: GeoDataFrame) -> NDArray[np.bool_]:
    """For each feature whether it was found, which gave it a score, or drawn in by hand."""
    if "score" not in frame:
        return np.zeros(len(frame), np.bool_)
    return np.asarray(pd.to_numeric(frame["score"], errors="coerce").notna(), np.bool_)


def _counted(boxes: LabelledBoxes, yes: NDArray[np.bool_], found: NDArray[np.bool_]) -> dict[str, tuple[int, int]]:
    """For each class how many of its detections are right and how many are not."""
    names = np.array(boxes.class_names, dtype=object)
    was_found = found[boxes.features - 1]
    return {
        name: (int((yes & was_found & (names == name)).sum()), int((~yes & was_found & (names == name)).sum()))
        for name in dict.fromkeys(names[was_found])
    }


def _read_csv(path: VectorFile) -> GeoDataFrame:
    """The same table of pixel boxes; a class may be called "NA"."""
    if not Path(path).exists():
        raise UserError(f"{path}: no such vector file")
    try:
        check_columns(Path(path), pd.read_csv(path, nrows=0).columns, BOX_COLUMNS)  # decimal commas break up rows
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
        boxes = table[list(BOX_COLUMNS)].apply(pd.to_numeric).to_numpy(np.float64)
    except (ValueError, LookupError, OverflowError, OSError) as error:
        reason = one_line(error)
        raise UserError(f"{path}: not a layer that `fsod predict` wrote: {reason}") from error
    return GeoDataFrame(table.map(without_apostrophe), geometry=shapely.box(*boxes.T))


def _answers(path: VectorFile, column: pd.Series) -> NDArray[np.int64]:
    """YES, NO or NOT_JUDGED for each feature."""
    said = _said(column)
    unknown = {i: text for i, text in enumerate(said, 1) if text.lower() not in ANSWERS}
    what = "is neither yes nor no; leave it empty where you have not judged"
    raise_refused(path, {i: f"{VERDICT} {text[:40]!r} {what}" for i, text in unknown.items()})
    return np.array([ANSWERS[text.lower()] for text in said], dtype=np.int64)


def _search(frame: GeoDataFrame) -> str:
    """Which run found the detections, alike for all formats; empty where the layer does not say."""
    bank, time = (str(next(iter(frame[key].dropna()), "")) if key in frame else "" for key in SEARCH)
    when = pd.to_datetime(time, utc=True, errors="coerce", format="ISO8601")
    return f"{bank} {time if pd.isna(when) else when.isoformat()}".strip()


def _said(column: pd.Series) -> list[str]:
    return ["" if missing else str(value).strip() for value, missing in zip(column, column.isna(), strict=True)]


def verdicts_in(frame: pd.DataFrame) -> pd.Series:
    """The attribute of a layer, one without texts where it has none."""
    return frame[VERDICT] if VERDICT in frame else pd.Series("", index=frame.index, dtype=object)


def judged(column: pd.Series, answer: int) -> NDArray[np.bool_]:
    """Which of n verdicts, as they stand in a layer, are YES, or NO; what is no verdict at all is neither."""
    return np.array([ANSWERS.get(text.lower()) == answer for text in _said(column)], np.bool_)


def unclear_verdicts(path: Path, column: pd.Series) -> list[str]:
    """What to say of verdicts that are none, in a layer in which that is no error."""
    texts = [text for text in _said(column) if text.lower() not in ANSWERS]
    such = f"{len(texts)}, such as {texts[0][:40]!r}" if texts else ""
    return [f"{path}: verdicts that are neither yes nor no count as not judged ({such})"] if texts else []


def _made_on(frame: GeoDataFrame) -> NDArray[np.object_]:
    """For each feature the name of the scene that it was found on; empty for what was drawn in by hand."""
    if "scene" not in frame:
        return np.full(len(frame), "", dtype=object)
    return np.array(["" if missing else str(name) for name, missing in
                     zip(frame["scene"], frame["scene"].isna(), strict=True)], dtype=object)  # fmt: skip


def _meant(path: VectorFile, made_on: NDArray[np.object_], scenes: Sequence[Scene]) -> NDArray[np.int64]:
    """How much each of n names speaks for each of m scenes, (n, m): 1 if it is the scene's, 2 if that lies beside the layer, too."""
    names = np.array([short_name(scene.name) for scene in scenes], dtype=object)
    folder = Path(path).parent.resolve()
    beside = np.array([Path(scene.name).parent.resolve() == folder for scene in scenes])
    return (made_on[:, None] == names[None]) * (1 + beside.astype(np.int64))


def _place_by_name(
    labels: LabelLayer,
    scenes: Sequence[Scene],
    made_on: NDArray[np.object_],
    meant: NDArray[np.int64],
    unnamed: int | None,
) -> list[LabelledBoxes]:
    """Boxes in pixels, which would fit on any scene, on the one that they were found on."""
    names = [short_name(scene.name) for scene in scenes]
    on = made_on[labels.features - 1]
    named = (meant > 0) & (meant == meant.max(axis=1, keepdims=True))
    # what was drawn in by hand is on the one scene that there is, or that the layer is of
    of_layer = np.unique(made_on[made_on != ""])
    if len(scenes) == 1 or (unnamed is not None and not len(of_layer)):
        named[on == "", unnamed or 0] = True
    elif len(of_layer) == 1:
        own = _meant(labels.path, of_layer, scenes)[0]
        named[on == ""] = (own > 0) & (own == own.max())
    mean = named.sum(axis=1)
    why = {f: f"is a verdict on {name or 'no scene'}, not on {', '.join(names)}; name its own scene with --scene"
           for f, name in zip(labels.features[mean == 0].tolist(), on[mean == 0], strict=True)}  # fmt: skip
    why |= {f: f"is a verdict on {name}, and several scenes are called so; put the layer into the folder of its own one"
            for f, name in zip(labels.features[mean > 1].tolist(), on[mean > 1], strict=True)}  # fmt: skip
    raise_refused(labels.path, why)
    return [
        _as_seen(labels.select(own), scene).place_on([replace(scene, georeference=_PICTURE)])[0]
        for own, scene in zip(named.T, scenes, strict=True)
    ]


def _as_seen(labels: LabelLayer, scene: Scene) -> LabelLayer:
    """Boxes in the file's pixels as boxes in those of the scene as it is seen."""
    matrix = np.array(~scene.upright.to_file).reshape(3, 3)
    seen = shapely.transform(np.asarray(labels.geometry), lambda xy: xy @ matrix[:2, :2].T + matrix[:2, 2])
    return replace(labels, geometry=GeoSeries(seen))
