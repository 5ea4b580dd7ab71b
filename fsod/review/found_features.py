"""Features of a layer as a review shows them: class, score, verdict, and a box in the scene's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from geopandas import GeoDataFrame
from numpy.typing import NDArray

from fsod.geo.layer_table import ASK, VERDICT
from fsod.geo.verdicts import ANSWERS, NO, NOT_JUDGED, YES

Verdict = Literal["yes", "no", ""]

_SHOWN: dict[int, Verdict] = {YES: "yes", NO: "no", NOT_JUDGED: ""}


@dataclass(frozen=True)
class Found:
    """One feature of the layer.

    Attributes:
        id: of the feature in the file.
        class_name: its class.
        score: 0..1; None for what was drawn by hand.
        verdict: yes, no, or empty where nobody has judged.
        ask: rank in which verdicts teach most, from 1; None where it has none.
        box_xyxy_px: of the scene as it is stored.
    """

    id: int
    class_name: str
    score: float | None
    verdict: Verdict
    ask: int | None
    box_xyxy_px: tuple[float, float, float, float]


def found_in(frame: GeoDataFrame, boxes: NDArray[np.float64]) -> list[Found]:
    """The features that have a class and a box."""
    if not len(frame):
        return []
    columns = texts(frame, "class"), _numbers(frame, "score"), texts(frame, VERDICT), _numbers(frame, ASK)
    return [
        Found(
            id=int(feature),
            class_name=name,
            score=None if np.isnan(score) else float(score),
            verdict=_SHOWN[ANSWERS.get(said.strip().lower(), NOT_JUDGED)],
            ask=None if np.isnan(rank) else int(rank),
            box_xyxy_px=sides(box),
        )
        for feature, name, score, said, rank, box in zip(frame.index, *columns, boxes, strict=True)
        if name and have_area(box)
    ]


def have_area(boxes_xyxy_px: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which boxes (..., 4) are somewhere, and no points or lines."""
    x1, y1, x2, y2 = np.moveaxis(boxes_xyxy_px, -1, 0)
    return np.asarray((x2 > x1) & (y2 > y1), np.bool_)


def texts(frame: GeoDataFrame, column: str) -> list[str]:
    """A column of texts, empty where there is none."""
    if column not in frame:
        return [""] * len(frame)
    return ["" if missing else str(text) for text, missing in zip(frame[column], frame[column].isna(), strict=True)]


def _numbers(frame: GeoDataFrame, column: str) -> NDArray[np.float64]:
    """A column of numbers, NaN where there is none."""
    if column not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(pd.to_numeric(frame[column], errors="coerce"), np.float64)


def sides(box_xyxy_px: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """A box (4,) as the numbers that ``Found`` holds."""
    x1, y1, x2, y2 = box_xyxy_px.tolist()
    return x1, y1, x2, y2


def place_of(one: Found) -> tuple[int, int]:
    """Sorts features as the page shows them, which puts a box that has just been drawn before all others."""
    if one.ask is not None:
        return 1, one.ask
    return (0, -one.id) if one.score is None else (2, one.id)
