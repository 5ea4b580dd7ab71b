"""The step of comparing: what appeared, what is gone and what is still there, where both dates were searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import shapely
from geopandas import GeoDataFrame, GeoSeries
from numpy.typing import NDArray

from fsod.errors import UserError
from fsod.evidence import evidence_in, in_words
from fsod.geo.features import check_layer, layer_in, polygons_in
from fsod.geo.found_ground import CLASS, FoundGround, read_found_ground
from fsod.geo.ground_frame import laid_out, middles, moved_to, plane_around
from fsod.geo.outcome_layer import Outcome
from fsod.geo.qgis_style import polygon_style
from fsod.geo.same_objects import same_objects
from fsod.progress import warn

APPEARED, GONE, STAYS, NOT_COMPARABLE = "appeared", "gone", "still there", "not comparable"
COLOURS = {APPEARED: (0, 158, 115), GONE: (213, 94, 0), STAYS: (86, 180, 233), NOT_COMPARABLE: (150, 150, 150)}
"""RGB of what became of an object; told apart by the colour-blind as well (Okabe and Ito)."""

LABEL = '"class" || \' \' || "change"'


def compare_outcome(out: Path) -> Outcome:
    """Files of ``fsod compare``."""
    return Outcome("compare", out, frozenset(("change", "seen", "moved_m")), ("class", "change", "count"))


def compare_files(
    before: Path, after: Path, out: Path, tolerance_m: float | None, layer: str | None = None
) -> dict[str, Any]:
    """Compares two layers of ``fsod predict``, and writes a layer, its style and a table.

    An object of one date is the same as one of the other if both are of one class and paired by ``same_objects``. One without a
    partner is gone, or has appeared, only where the other date was searched for its class; elsewhere it is not comparable.

    Args:
        before: the earlier layer.
        after: the later one.
        out: the layer to write.
        tolerance_m: how far apart the centres of one object may be; half the median longer side of the boxes that are compared if None.
        layer: which layer of those files that have several, if not the one that ``fsod predict`` writes.

    Raises:
        UserError: a layer that cannot be read, has no place on the ground, or does not say what was searched; one file for both.
    """
    if before.exists() and after.exists() and before.samefile(after):
        raise UserError(
            f"{after}: is given for both dates, and a file says of one date what was searched; give each date a file of its own"
        )
    check_layer((before, after), layer)
    dates = [read_found_ground(path, layer_in(path, layer)) for path in (before, after)]
    searched = [_searched(date) for date in dates]
    shapes = GeoSeries([*dates[0].everywhere, *dates[1].everywhere.to_crs(dates[0].found.crs)], crs=dates[0].found.crs)
    if not len(shapes):
        raise UserError(
            f"{before}: neither this nor {after} holds objects or searched anything, so there is nothing to compare"
        )
    plane = plane_around(shapes)
    seen = [shapely.union_all(laid_out(places, plane)) for places in searched]
    both_km2 = seen[0].intersection(seen[1]).area / 1e6
    if not both_km2:
        raise UserError(
            f"{after}: no ground that was searched was searched in {before} as well, so nothing can be compared"
        )
    centres = [middles(date.found.geometry, plane) for date in dates]
    if tolerance_m is None:
        tolerance_m = _half_a_side(dates, plane)
    changes = [_alone(dates[i], dates[1 - i], seen[1 - i], centres[i], (GONE, APPEARED)[i]) for i in (0, 1)]
    moved = np.full(len(centres[1]), np.nan)
    earlier = np.full(len(centres[1]), -1)
    classes = list(dict.fromkeys([*dates[0].class_names, *dates[1].class_names]))
    for one in classes:
        own = [np.flatnonzero((date.found[CLASS] == one).to_numpy()) for date in dates]
        a, b = same_objects(centres[0][own[0]], centres[1][own[1]], tolerance_m)
        first, second = own[0][a], own[1][b]
        changes[0][first] = changes[1][second] = STAYS
        earlier[second] = first
        moved[second] = np.hypot(*(centres[0][first] - centres[1][second]).T)
    frame = _frame(dates, changes, earlier, moved)
    warnings = [one for date in dates for one in date.warnings]
    warnings += [
        f"{one}: was not looked for in {dates[i].path}, so it cannot be compared"
        for i in (0, 1)
        for one in classes
        if not _looked_for(dates[i], one)
    ]
    warnings += _unlike_detectors(*dates)
    warn(warnings)
    counts = frame.groupby([CLASS, "change"]).size()
    table = pd.DataFrame(
        [
            {"class": one, "change": what, "count": int(counts.get((one, what), 0))}
            for one in classes
            for what in COLOURS
        ],
        columns=["class", "change", "count"],
    )
    evidence = [f"{date.path.name}: {words}" for date in dates for words in _found_again(date)]
    outcome = compare_outcome(out)
    run = {
        "before": before.name,
        "after": after.name,
        "tolerance_m": f"{tolerance_m:.3g}",
        "evidence": " ; ".join(evidence),
    }
    outcome.write(frame, table, polygon_style("change", COLOURS, LABEL), run)
    return {
        "layer": str(out),
        "table": str(outcome.table),
        "both_searched_km2": round(both_km2, 6),
        "tolerance_m": round(tolerance_m, 3),
        "changes": {one: {what: int(counts.get((one, what), 0)) for what in COLOURS} for one in classes},
        "evidence": evidence,
        "warnings": warnings,
    }


def _searched(date: FoundGround) -> GeoSeries:
    if date.searched is None:
        raise UserError(
            f"{date.path}: does not say what was searched, so what is gone cannot be told from what was not looked at; let "
            "`fsod predict` write the layer"
        )
    return date.searched


def _half_a_side(dates: list[FoundGround], plane: pyproj.CRS) -> float:
    """Half the median longer side, in metres, of all boxes of classes that both dates were searched for."""
    both = [
        np.array([all(_looked_for(d, one) for d in dates) for one in date.found[CLASS]], np.bool_) for date in dates
    ]
    places = [date.found.geometry[own] for date, own in zip(dates, both, strict=True)]
    bounds = np.concatenate([shapely.bounds(laid_out(own, plane)) for own in places])
    sides = (bounds[:, 2:] - bounds[:, :2]).max(axis=1)
    return float(np.median(sides)) / 2 if len(sides) else 1.0


def _looked_for(date: FoundGround, one: str) -> bool:
    return date.known is None or one in date.known


def _unlike_detectors(before: FoundGround, after: FoundGround) -> list[str]:
    """Says so where another bank, or another score to show from, may look as if the ground had changed."""
    known = before.known or {}, after.known or {}
    scores = {one: [date[one].get("score") for date in known] for one in known[0] if one in known[1]}
    unlike = [f"{one} {a} and {b}" for one, (a, b) in scores.items() if a != b]
    differs = ["searched with different banks"] if scores and before.banks != after.banks else []
    differs += [f"shown from different scores ({', '.join(unlike)})"] if unlike else []
    if not differs:
        return []
    what = f"{before.path} and {after.path} were {' and '.join(differs)}"
    return [f"{what}, so what appeared or is gone may come from that; search both with one bank and one --score"]


def _alone(
    own: FoundGround, other: FoundGround, seen: shapely.Geometry, centres_m: NDArray[np.float64], what: str
) -> NDArray[np.object_]:
    """What became of objects of one date (n,) that have no partner at the other one."""
    shapely.prepare(seen)
    comparable = shapely.intersects_xy(seen, centres_m[:, 0], centres_m[:, 1])
    comparable &= np.array([_looked_for(other, one) for one in own.found[CLASS]], np.bool_)
    return np.where(comparable, what, NOT_COMPARABLE).astype(object)


def _frame(
    dates: list[FoundGround],
    changes: list[NDArray[np.object_]],
    earlier: NDArray[np.intp],
    moved: NDArray[np.float64],
) -> GeoDataFrame:
    """A row an object: of those still there the later outline, with how far it is from the earlier one."""
    crs = dates[1].found.crs
    first = np.flatnonzero(changes[0] != STAYS)
    before, after = dates[0].found, dates[1].found
    scores = [_scores(date) for date in dates]
    score_before = np.full(len(after), np.nan)
    if scores[0] is not None:
        score_before[earlier >= 0] = scores[0][earlier[earlier >= 0]]
    nothing = np.full(len(first), np.nan)
    columns = {
        CLASS: [*after[CLASS], *before[CLASS].iloc[first]],
        "change": [*changes[1], *changes[0][first]],
        "seen": np.array(["after"] * len(after) + ["before"] * len(first), dtype=object),
        "moved_m": np.concatenate([moved, nothing]).round(3),
        "score_before": np.concatenate([score_before, nothing if scores[0] is None else scores[0][first]]),
        "score_after": np.concatenate([np.full(len(after), np.nan) if scores[1] is None else scores[1], nothing]),
    }
    shapes = [*after.geometry, *moved_to(before.geometry.iloc[first], crs)]
    columns |= {key: np.array(columns[key], dtype=object) for key in (CLASS, "change")}
    return GeoDataFrame(columns, geometry=[polygons_in(shape) for shape in shapes], crs=crs)


def _scores(date: FoundGround) -> NDArray[np.float64] | None:
    """Of each object, NaN for one that was drawn by hand; None where the layer has none."""
    if "score" not in date.found:
        return None
    column = date.found["score"]
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = [str(score) for score in column[np.isnan(numbers)].dropna() if str(score).strip()]
    if wrong:
        raise UserError(f"{date.path}: score {wrong[0][:40]!r} is no number; let the attribute hold numbers")
    return numbers


def _found_again(date: FoundGround) -> list[str]:
    """How often an object is found at all: what is missed at one date looks as if it were gone or had appeared."""
    recalls = {one: evidence_in(numbers)[0] for one, numbers in (date.known or {}).items()}
    return [
        f"{one}: left-out examples were found in {in_words(recall)}"
        if recall
        else f"{one}: how many are missed is unknown"
        for one, recall in recalls.items()
    ]
