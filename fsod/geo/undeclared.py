"""Values that stand for nothing though no tag says so.

A collar of -9999 that no tag declares would set what is black, and all the picture would be white. The same value may lie
amid real ones: 9999 where a scene reaches from 0 to 20,000. Only rasters that are scaled are looked at; in 8 bits nothing is
scaled, and 0 is black either way.

Real values come in crowds. They have others beside them in the range, and on the ground they fade into what is next to them:
the sea of a terrain model ends in a shore of one metre. Where bright ones are cut off at 9999, others reach up to it. A value
that stands for nothing sticks out, has sharp edges, and is the same in all bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_SHARE = 0.02
"""Of the pixels that a value must fill: what fills less is beyond the percentiles, and sets nothing."""

USUAL = (0.0, -1.0, -999.0, -9999.0, -99999.0, -32768.0, -32767.0, 32767.0, 65535.0, 65534.0)
"""What programs write for nothing, besides the ends of a type's range. At an end of all values they are taken for it."""

ODD = (-999.0, -9999.0, 9999.0, -99999.0, 99999.0, -32768.0, -32767.0, 32767.0)
"""What programs write for nothing and hardly anything else has: these are known amid other values, too."""

APART = 1.0
"""Any other value counts if it lies farther from all the rest than this share of the range of the rest."""

SAMPLED = 2**17
"""Pixels by whose values is decided; only where they lie is looked up in all of them."""

TIMES_AS_FREQUENT = 10
"""As the next value above and below it: what makes a value stick out."""

NEAR = 0.1
"""Of the range between the 2nd and the 98th percentile of the rest: so near is a value that another one fades into."""

MOST_NEAR = 0.5
"""Of the pixels around a value's places: if more of them are near it, it fades into its surroundings."""

BY_CHANCE = 1.5
"""Times as many as elsewhere: where many values are near anyway, only that counts as more."""

STRAY = 0.002
"""Of a reduced read, the share of means of two values that may lie where none of these lies alone."""

REACHING = 0.005
"""Share of the rest near a value at an end: if it is more, the values reach up to it and were cut off there."""


@dataclass(frozen=True)
class StandIn:
    """A value that stands for nothing, or may do so.

    Attributes:
        value: as the raster holds it.
        share: of the valid pixels, that have it in every band, or in ``band`` alone.
        certain: whether it is taken for nothing; else it is only worth a word.
        band: index of the only band that it stands for nothing in; None for all.
    """

    value: float
    share: float
    certain: bool
    band: int | None = None


def stand_ins(raw: NDArray[np.generic], valid: NDArray[np.bool_], *, reduced: bool) -> list[StandIn]:
    """The values of a raster that stand for nothing though no tag says so; first what is certain, then what fills most.

    Args:
        raw: (bands, h, w), a reduced read of the whole scene.
        valid: (h, w), where the file's own tags leave it valid.
        reduced: whether pixels of ``raw`` are means of several, so that values are mixed beside their places.
    """
    pixels = _Remaining(raw, valid, reduced)
    found: list[StandIn] = []
    again = True
    while again:  # what lies at an end shows when what lies beyond it is taken away
        again = False
        for value in sorted({*pixels.ends(), *set[float]().union(*pixels.sticking_out)}):
            if (share := pixels.share(value)) > LEAST_SHARE and pixels.is_nothing(value):
                found.append(StandIn(value, share, certain=True))
                pixels.leave_out(value)
                again = True
    for value in sorted(set[float]().union(*pixels.sticking_out) - {one.value for one in found}):
        found += pixels.doubtful(value)
    return sorted(found, key=lambda one: (not one.certain, one.band is not None, -one.share))


class _Remaining:
    """The pixels of a raster that no value has been taken away from yet."""

    def __init__(self, raw: NDArray[np.generic], valid: NDArray[np.bool_], reduced: bool) -> None:
        self.raw, self.left, self.reduced = raw, valid, reduced
        self.odd = {*ODD, *(_ends_of_type(raw) - set(USUAL))}
        self.usual = {*USUAL, *_ends_of_type(raw)}
        at = np.flatnonzero(valid)
        self.at = at[:: max(1, len(at) // SAMPLED)]
        self.sample = raw.reshape(len(raw), -1)[:, self.at]
        self.total, self.valid = max(1, len(self.at)), max(1, len(at))
        self.sticking_out = [_sticking_out(band) for band in self.sample]

    def ends(self) -> tuple[float, ...]:
        """The least and the greatest value that any band has."""
        seen = self.sample[np.isfinite(self.sample)]
        return (float(seen.min()), float(seen.max())) if seen.size else ()

    def share(self, value: float) -> float:
        """Of the valid pixels, that have a value in every band; 0 where a sample says that it is far too little."""
        if _equal(self.sample, value).all(axis=0).sum() <= LEAST_SHARE / 2 * self.total:
            return 0.0
        return float((_equal(self.raw, value).all(axis=0) & self.left).sum() / self.valid)

    def leave_out(self, value: float) -> None:
        """Takes the pixels away that have a value in every band."""
        self.left = self.left & ~self.touched(np.asarray(_equal(self.raw, value).all(axis=0)))
        kept = self.left.ravel()[self.at]
        self.at, self.sample = self.at[kept], self.sample[:, kept]
        self.sticking_out = [_sticking_out(band) for band in self.sample]

    def is_nothing(self, value: float) -> bool:
        """Whether a value that is frequent in all bands at once is taken for nothing."""
        where = _equal(self.raw, value).all(axis=0) & self.left
        rest = self.sample[:, ~self.touched(where).ravel()[self.at]].astype(np.float64)
        rest = rest[np.isfinite(rest)]
        if not rest.size or rest.min() == rest.max():
            return False  # without it there would be no range to scale
        sticks_out = all(value in values for values in self.sticking_out)
        for inner in (rest[rest > value], rest[rest < value]):
            beyond = rest.size - inner.size
            # what few others lie beyond, such as the overshoot of a cubic kernel, is at the end
            if inner.size and (not beyond or (sticks_out and beyond < LEAST_SHARE * rest.size)):
                gap = np.quantile(np.abs(inner - value), STRAY if self.reduced else 0)
                clear = inner[np.abs(inner - value) >= gap]
                if value in self.usual or gap > APART * np.ptp(clear) > 0:
                    return True
        return (
            sticks_out
            and value in self.odd
            and all(self.is_sharp(i, value, where) and not self.cuts_off(i, value) for i in range(len(self.raw)))
        )

    def doubtful(self, value: float) -> list[StandIn]:
        """A value that is not taken for nothing in all bands: for nothing in single ones, or worth a word, or not even that."""
        shares = [float(_equal(band, value).sum() / self.total) for band in self.sample]
        places = _equal(self.raw, value) & self.left
        sharp = [
            i
            for i, share in enumerate(shares)
            if value in self.sticking_out[i]
            and LEAST_SHARE < share < 1
            and not self.cuts_off(i, value)
            and self.is_sharp(i, value, places[i])
        ]
        if value in self.odd:
            return [StandIn(value, shares[i], certain=True, band=i) for i in sharp]
        if len(sharp) < len(self.raw) or (share := self.share(value)) <= LEAST_SHARE:
            return []
        sets = any(value in np.nanpercentile(band.astype(np.float64), (2, 98)) for band in self.sample)
        return [StandIn(value, share, certain=False)] if sets or value in USUAL else []

    def is_sharp(self, index: int, value: float, where: NDArray[np.bool_]) -> bool:
        """Whether few of the pixels around a value's places (h, w) in a band have values near it."""
        touched = self.touched(where)
        beside = self.raw[index][around(touched) & ~touched & self.left]
        rest = self.sample[index][~touched.ravel()[self.at]]
        if not len(beside) or not len(rest):
            return True
        there, elsewhere = (self.are_near(index, value, values).mean() for values in (beside, rest))
        return bool(there <= max(MOST_NEAR, BY_CHANCE * elsewhere))

    def touched(self, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Places (h, w), and where means of what is there and beside it may be."""
        return around(where) if self.reduced else where

    def cuts_off(self, index: int, value: float) -> bool:
        """Whether hardly any value of a band lies beyond this one, and others reach up to it."""
        band = self.sample[index]
        rest = band[~_equal(band, value)]
        beyond = min((rest < value).mean(), (rest > value).mean()) if len(rest) else 0.0
        return bool(beyond < LEAST_SHARE and self.are_near(index, value, rest).mean() > REACHING)

    def are_near(self, index: int, value: float, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Which values lie near one, as the range of its band goes."""
        band = self.sample[index]
        rest = band[~_equal(band, value) & np.isfinite(band)].astype(np.float64)
        low, high = np.percentile(rest, (2, 98)) if len(rest) else (0.0, 0.0)
        return np.asarray(np.abs(values.astype(np.float64) - value) <= NEAR * (high - low))


def _equal(pixels: NDArray[np.generic], value: float) -> NDArray[np.bool_]:
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize == 8:
        return np.asarray(pixels.astype(np.float64) == value)  # the greatest 64-bit integer has no float of its own
    return np.asarray(pixels == pixels.dtype.type(value))  # of its own type: others would be widened first


def _ends_of_type(raw: NDArray[np.generic]) -> set[float]:
    kind: Any = raw.dtype.name
    info: Any = np.iinfo(kind) if raw.dtype.kind in "iu" else np.finfo(kind)
    return {float(info.min), float(info.max)}


def _sticking_out(band: NDArray[np.generic]) -> set[float]:
    """Values (n,) that fill more than half of the least share, and far more than the next above and the next below."""
    values, counts = np.unique(band[np.isfinite(band)], return_counts=True)
    often = np.flatnonzero(counts > LEAST_SHARE / 2 * len(band)).tolist()
    return {
        float(values[i])
        for i in often
        if counts[i] > TIMES_AS_FREQUENT * max([*counts[max(0, i - 1) : i], *counts[i + 1 : i + 2]], default=0)
    }


def around(where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Places (h, w), and the pixels beside them."""
    return cv2.dilate(where.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)
