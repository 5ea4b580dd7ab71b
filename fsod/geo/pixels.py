"""The one rule that makes 8-bit RGB of whatever a raster holds.

- Bands: those asked for; else the ones that call themselves red, green and blue; else the first three; else the first
  one, repeated. An alpha band is never a colour. A palette is looked up.
- 8-bit passes through, unless a stretch is asked for.
- Everything else is scaled, band by band, from the 2nd to the 98th percentile of its valid pixels to 0..255. They are
  taken once, from a reduced read of the whole scene, so that every window is scaled alike. Where both percentiles are
  one value (a scene that is nearly all empty), least and greatest value take their place; a band of a single value is
  not stretched at all and becomes 0.
- Pixels that are not valid become 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from fsod.errors import UserError

PERCENTILES = (2.0, 98.0)
OVERVIEW_PX = 1024
"""Longest side of the reduced read that percentiles are taken from."""


@dataclass(frozen=True)
class PixelRule:
    """How raw bands become RGB.

    Attributes:
        bands: band numbers (from 1) to read; three, or one that is repeated.
        low: value of each band that becomes 0; None where values pass through.
        high: value of each band that becomes 255.
        palette: (n, 3) uint8 colours that values of the one band point at.
    """

    bands: tuple[int, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    palette: NDArray[np.uint8] | None = None

    def __str__(self) -> str:
        bands = ",".join(map(str, self.bands))
        if self.palette is not None:
            return f"band {bands} through its palette"
        if self.low is None or self.high is None:
            return f"bands {bands} as they are"
        return f"bands {bands} scaled from " + ", ".join(
            f"{low:.6g}..{high:.6g}" for low, high in zip(self.low, self.high, strict=True)
        )

    def to_rgb(self, raw: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Raw pixels (bands, h, w) with their validity (h, w) as (h, w, 3) uint8."""
        if self.palette is not None:
            rgb = self.palette[np.minimum(raw[0], len(self.palette) - 1)]
        else:
            scaled = raw if self.low is None or self.high is None else _scale(raw, self.low, self.high)
            rgb = cv2.merge([scaled[i % len(scaled)].astype(np.uint8, copy=False) for i in range(3)])
        if not valid.all():
            rgb[~valid] = 0
        return rgb


def _scale(raw: NDArray[np.generic], low: tuple[float, ...], high: tuple[float, ...]) -> NDArray[np.uint8]:
    if raw.dtype.itemsize == 2 and raw.dtype.kind in "iu":
        # a fraction of the time that arithmetic takes
        tables = _tables_16_bit(low, high, raw.dtype.str)
        return np.stack([table[band] for table, band in zip(tables, raw.view(np.uint16), strict=True)])
    return _scale_each(raw, low, high)


@lru_cache(8)
def _tables_16_bit(low: tuple[float, ...], high: tuple[float, ...], dtype: str) -> NDArray[np.uint8]:
    """What each of the 65,536 values of a 16-bit type becomes, (bands, 65536), in the order of their bits."""
    values = np.arange(2**16, dtype=np.uint16).view(dtype)
    return _scale_each(np.tile(values, (len(low), 1))[..., None], low, high)[..., 0]


def _scale_each(raw: NDArray[np.generic], low: tuple[float, ...], high: tuple[float, ...]) -> NDArray[np.uint8]:
    start, stop = (np.array(v, dtype=np.float64)[:, None, None] for v in (low, high))
    # a band of one value has no range; the infinite one makes it 0
    width = np.where(stop > start, stop - start, np.inf)
    share = np.nan_to_num((raw.astype(np.float64) - start) / width, nan=0.0)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def choose_bands(dataset: DatasetReader, name: str, asked: tuple[int, ...] | None) -> tuple[int, ...]:
    """Numbers of the bands to show, from 1: three, or one.

    Raises:
        UserError: a band that is not there, neither one nor three bands asked for, or nothing but alpha.
    """
    if asked is not None:
        if len(asked) not in (1, 3) or not all(1 <= band <= dataset.count for band in asked):
            raise UserError(f"{name}: bands {list(asked)}: give one or three numbers from 1 to {dataset.count}")
        return asked
    meaning = dataset.colorinterp
    rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(colour in meaning for colour in rgb):
        return tuple(meaning.index(colour) + 1 for colour in rgb)
    colours = tuple(i for i, m in enumerate(meaning, start=1) if m != ColorInterp.alpha)
    if not colours:
        raise UserError(f"{name}: has an alpha band only, so there is nothing to see")
    return colours[:3] if len(colours) >= 3 else colours[:1]


def read_palette(dataset: DatasetReader, band: int) -> NDArray[np.uint8] | None:
    """The colours (n, 3) of a band with a palette, else None."""
    if dataset.colorinterp[band - 1] != ColorInterp.palette:
        return None
    colours = dataset.colormap(band)
    table = np.zeros((max(colours) + 1, 3), np.uint8)
    for value, colour in colours.items():
        table[value] = colour[:3]
    return table


def percentile_range(raw: NDArray[np.generic], valid: NDArray[np.bool_]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What 0 and 255 stand for in each band of a reduced read (bands, h, w) with validity (h, w)."""
    low, high = [], []
    for band in raw:
        values = band[valid].astype(np.float64)
        values = values[np.isfinite(values)]  # a pixel is valid where any band is
        if not len(values):
            values = np.zeros(1)
        start, stop = np.percentile(values, PERCENTILES)
        if start == stop:
            start, stop = values.min(), values.max()
        low.append(float(start))
        high.append(float(stop))
    return tuple(low), tuple(high)
