"""The step of counting: how many of each class lie in each district, how much of it was searched, and how many there may be."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyproj
import shapely
from geopandas import GeoDataFrame, GeoSeries
from numpy.typing import NDArray

from fsod.evidence import Trials, evidence_in, in_words
from fsod.geo.districts import Districts, grid_over, read_districts
from fsod.geo.features import polygons_in
from fsod.geo.found_ground import CLASS, FoundGround, read_found_ground
from fsod.geo.ground_frame import laid_out, middles, plane_around
from fsod.geo.outcome_layer import Outcome
from fsod.geo.qgis_style import polygon_style
from fsod.progress import warn
from fsod.true_count import true_count

WHOLE = 0.999
"""A district of which this share was searched counts as searched."""

COLOURS = {
    "searched": (0, 130, 60),
    "in part": (230, 159, 0),
    "not searched": (150, 150, 150),
    "unknown": (105, 105, 255),
}
"""RGB of a district by what was searched of it."""

LABEL = '"district" || \'\\n\' || "said"'


def count_outcome(out: Path) -> Outcome:
    """Files of ``fsod count``."""
    return Outcome(
        "count", out, frozenset(("district", "area_km2", "searched_share", "coverage")), ("district", "class", "count")
    )


def count_files(
    layer: Path,
    out: Path,
    by: Path | None,
    grid_m: float | None,
    *,
    found_layer: str | None = None,
    by_layer: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Counts detections by districts, and writes a layer, its style and a table.

    Args:
        layer: of detections.
        out: the layer to write.
        by: vector file of polygons, any CRS.
        grid_m: count in squares of so many metres instead.
        found_layer: which layer of the file of detections, if not the one that ``fsod predict`` writes.
        by_layer: which layer of the districts' file, where it has several.
        name: the attribute that names districts.

    Raises:
        UserError: a file that cannot be read, is empty, or has no place on the ground.
    """
    ground = read_found_ground(layer, found_layer)
    districts = grid_over(ground, grid_m) if by is None else read_districts(by, by_layer, name)
    everywhere = ground.everywhere
    plane = plane_around(everywhere if len(everywhere) else districts.shapes)
    placed = laid_out(districts.shapes, plane)
    outcome, warnings = count_outcome(out), [*ground.warnings, *_unknown(ground)]
    if by is not None and (two := districts.overlapping(placed)) is not None:
        first, second = (districts.names[i] for i in two)
        warnings.append(f"{by}: districts overlap ({first} and {second}), so an object may count in two")
    holds = _holds(ground, districts.shapes)
    outside = len(ground.found) - len(np.unique(holds[0]))
    if outside:
        warnings.append(f"{outside} of {len(ground.found)} objects lie in no district")
    seen = None if ground.searched is None else shapely.union_all(laid_out(ground.searched, plane))
    areas = shapely.area(placed)
    shares = np.full(len(areas), np.nan)
    if seen is not None:
        shapely.prepare(seen)
        shares = np.clip(shapely.area(shapely.intersection(placed, seen)) / np.maximum(areas, 1e-9), 0, 1)
    table = _table(ground, districts.names, holds, areas / 1e6, shares)
    frame = _frame(districts, table, ground.class_names, areas / 1e6, shares)
    warn(warnings)
    run = {"layer": ground.path.name, "evidence": " ; ".join(_evidence(ground))}
    outcome.write(frame, table, polygon_style("coverage", COLOURS, LABEL, ("not searched",)), run)
    return {
        "layer": str(out),
        "table": str(outcome.table),
        "districts": len(districts.names),
        "searched_km2": None if seen is None else round(seen.area / 1e6, 6),
        "found": {one: int((ground.found[CLASS] == one).sum()) for one in ground.class_names},
        "judged_wrong": ground.refused,
        "evidence": _evidence(ground),
        "rows": [{k: None if pd.isna(v) else v for k, v in row.items()} for row in table.to_dict("records")],
        "warnings": warnings,
    }


def _unknown(ground: FoundGround) -> list[str]:
    if ground.searched is None:
        missing = "does not say what was searched, so that share is unknown, and counts have no interval"
        return [f"{ground.path}: {missing}; layers of `fsod predict` say it"]
    if not any("recall" in own for own in (ground.known or {}).values()):
        return [f"{ground.path}: how often an object is found is unknown, so counts have no interval"]
    return []


def _holds(ground: FoundGround, districts: GeoSeries) -> NDArray[np.intp]:
    """Objects and the districts that their centres lie in: (2, m) positions. On a border the first district counts."""
    crs = pyproj.CRS(districts.crs)
    points = np.asarray(shapely.points(middles(ground.found.geometry, crs)))
    shapes = np.asarray(districts)
    pairs = shapely.STRtree(shapes).query(points, predicate="intersects")
    pairs = pairs[:, np.lexsort(pairs[::-1])]
    inside = shapely.contains_properly(shapes[pairs[1]], points[pairs[0]])
    has_inside = np.isin(pairs[0], pairs[0][inside])
    first = np.diff(pairs[0], prepend=-1) > 0
    return np.asarray(pairs[:, inside | (~has_inside & first)])


def _table(
    ground: FoundGround,
    names: list[str],
    holds: NDArray[np.intp],
    areas_km2: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> pd.DataFrame:
    """A row a district and class."""
    classes = ground.class_names
    positions = {one: i for i, one in enumerate(classes)}
    own = np.array([positions[one] for one in ground.found[CLASS]], np.intp)[holds[0]]
    counts, sure = np.zeros((2, len(names), len(classes)), np.int64)
    np.add.at(counts, (holds[1], own), 1)
    np.add.at(sure, (holds[1], own), ground.sure[holds[0]])
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(names):
        for j, one in enumerate(classes):
            recall, precision = evidence_in((ground.known or {}).get(one, {}))
            searched = shares[i] > 0
            between = true_count(int(counts[i, j]), recall, precision, int(sure[i, j])) if searched else None
            low, high = between or (None, None)
            rows.append(
                {
                    "district": name,
                    "class": one,
                    "count": int(counts[i, j]),
                    "low": low,
                    "high": high,
                    "area_km2": round(float(areas_km2[i]), 6),
                    "searched_share": round(float(shares[i]), 6),
                    **_trials("recall", recall),
                    **_trials("precision", precision),
                }
            )
    columns = [
        "district",
        "class",
        "count",
        "low",
        "high",
        "area_km2",
        "searched_share",
        "recall_hits",
        "recall_trials",
    ]
    table = pd.DataFrame(rows, columns=[*columns, "precision_hits", "precision_trials"])
    whole = ["low", "high", *table.columns[-4:]]
    return table.astype(dict.fromkeys(whole, "Int64"))


def _trials(name: str, trials: Trials | None) -> dict[str, int | None]:
    return {
        f"{name}_hits": None if trials is None else trials.hits,
        f"{name}_trials": None if trials is None else trials.count,
    }


def _frame(
    districts: Districts,
    table: pd.DataFrame,
    classes: list[str],
    areas_km2: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> GeoDataFrame:
    """A row a district: count and interval of each class in columns of their own, and all of it in words."""
    coverage = np.where(shares >= WHOLE, "searched", np.where(shares > 0, "in part", "not searched")).astype(object)
    coverage[np.isnan(shares)] = "unknown"
    said, each = list(zip(*(table[key] for key in ("class", "count", "low", "high")), strict=True)), len(classes)
    columns: dict[str, Any] = {
        "district": np.array(districts.names, dtype=object),
        "area_km2": areas_km2.round(6),
        "searched_share": shares.round(6),
        "coverage": coverage,
        "said": np.array([_said(said[each * i : each * (i + 1)], own) for i, own in enumerate(coverage)], dtype=object),
    }
    taken = {"fid", "geom", "geometry", *columns}
    for one in classes:
        own = table[table["class"] == one]
        columns[_column(one, one, taken)] = own["count"].to_numpy()
        for end in ("low", "high", "recall_hits", "recall_trials"):
            columns[_column(f"{one}_{end}", one, taken)] = own[end].astype("float64").to_numpy()
    return GeoDataFrame(columns, geometry=[polygons_in(shape) for shape in districts.shapes], crs=districts.shapes.crs)


def _column(name: str, of: str, taken: set[str]) -> str:
    """A name for a column that no other one has; GeoPackage and QGIS tell no capitals apart."""
    tries = itertools.chain(
        [name, f"{name}_count"] if name == of else [name], (f"{name}_{n}" for n in itertools.count(2))
    )
    name = next(one for one in tries if one.lower() not in taken)
    taken.add(name.lower())
    return name


def _said(rows: Sequence[tuple[str, int, Any, Any]], coverage: str) -> str:
    """``3 ship (2 to 9)`` of each class, its count, least and most; only what was searched is counted."""
    words = []
    for name, count, low, high in rows:
        between = "" if pd.isna(low) else f" ({low} {'or more' if pd.isna(high) else f'to {high}'})"
        words.append(f"{count} {name}{between}")
    return "not searched" if words and coverage == "not searched" else "; ".join(words)


def _evidence(ground: FoundGround) -> list[str]:
    """What the intervals rest on."""
    words = []
    for one, numbers in (ground.known or {}).items():
        recall, precision = evidence_in(numbers)
        if recall is not None:
            right = "none was judged, so the least counts what has the verdict yes, and the most takes all for right"
            if precision is not None:
                right = f"{precision.hits} of {precision.count} judged ones were right ({precision.percent})"
            words.append(f"{one}: left-out examples were found in {in_words(recall)}; {right}")
    return words
