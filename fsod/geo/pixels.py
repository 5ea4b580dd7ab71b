"""The one rule that makes 8-bit RGB of whatever a raster holds.

- Bands: those asked for; else the ones that the examples were shown in; else the ones described as red, green and blue;
  else the ones tagged so; else the first three; else the first one, repeated. An alpha band is never a colour, unless the
  user asks for it, or it holds a picture and is only tagged alpha: see ``alpha_band``. A palette is looked up; a band
  that is tagged so and has no colours is grey.
- 8-bit passes through; of 1 to 7 bits the greatest value there can be is white.
- Everything else is scaled, band by band, from the 2nd to the 98th percentile of its valid pixels to 0..255. They are
  taken once, from a reduced read of the whole scene (or samples of one that is too large or damaged), so that every
  window is scaled alike. Where both percentiles are one value (a scene that is nearly all empty), least and greatest value take their place; a band of a single value is
  not stretched at all and becomes 0.
- Pixels that are not valid become 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from fsod.band_rule import COLOURS, BandRule, Chosen
from fsod.errors import UserError, is_printable

PERCENTILES = (2.0, 98.0)
OVERVIEW_PX = 2048
"""Longest side of the reduced read that percentiles are taken from, and the picture of the scene made."""


@dataclass(frozen=True)
class PixelRule:
    """How raw bands become RGB.

    Attributes:
        bands: band numbers (from 1) to read; three, or one that is repeated.
        chosen: how they were chosen, in words; empty where there is no choice.
        low: value of each band that becomes 0; None where values pass through.
        high: value of each band that becomes 255.
        palette: (n, 3) uint8 colours that values of the one band point at.
    """

    bands: tuple[int, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    palette: NDArray[np.uint8] | None = None
    chosen: str = ""

    def __str__(self) -> str:
        bands = ",".join(map(str, self.bands)) + (f" {self.chosen}" if self.chosen else "")
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
            rgb = self.palette[np.clip(raw[0], 0, len(self.palette) - 1)]
        else:
            scaled = raw if self.low is None or self.high is None else _scale(raw, self.low, self.high)
            rgb = cv2.merge([scaled[i % len(scaled)].astype(np.uint8, copy=False) for i in range(3)])
        return where_valid(rgb, valid)


def where_valid(rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) that are valid, (h, w), and 0 elsewhere; numpy takes a hundred times as long where much is empty."""
    return rgb if valid.all() else np.asarray(cv2.copyTo(rgb, valid.view(np.uint8)), np.uint8)


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
    scaled = np.empty(raw.shape, np.uint8)
    for band, start, stop, out in zip(raw, low, high, scaled, strict=True):
        # a band of one value has no range; the infinite one makes it 0
        share = (band.astype(np.float64) - start) / (stop - start if stop > start else np.inf)
        out[:] = np.rint(np.clip(np.nan_to_num(share, nan=0.0), 0, 1) * 255)
    return scaled


@dataclass(frozen=True)
class Bands:
    """Which bands of a raster are shown.

    Attributes:
        rule: their numbers, and how they were chosen.
        chosen: how, in words; empty where there is no choice.
        doubts: what a user should know, one line each.
    """

    rule: BandRule
    chosen: str = ""
    doubts: tuple[str, ...] = ()


def choose_bands(
    dataset: DatasetReader,
    name: str,
    asked: tuple[int, ...] | None,
    alpha: int | None,
    like: Sequence[BandRule] = (),
) -> Bands:
    """The bands to show.

    Args:
        dataset: the open raster.
        name: of it, for messages.
        asked: band numbers, from 1.
        alpha: number of the band that says what is transparent, which is no colour.
        like: what examples were shown in, best first; where none of it is there, the raster's own words decide.

    Raises:
        UserError: a band that is not there, neither one nor three bands asked for, or nothing but alpha.
    """
    if asked is not None:
        if len(asked) not in (1, 3) or not all(1 <= band <= dataset.count for band in asked):
            raise UserError(f"{name}: bands {list(asked)}: give one or three numbers from 1 to {dataset.count}")
        return Bands(_rule(dataset, alpha, asked, "option"))
    own = _by_own_words(dataset, name, alpha)
    names = [text or "" for text in dataset.descriptions]
    for shown in like:
        bands = shown.bands_on(own.rule, names)
        if bands == own.rule.bands:
            return Bands(own.rule, own.chosen)
        if bands is not None:
            return Bands(_rule(dataset, alpha, bands, shown.chosen), "as of the examples")
    if like:
        doubt = f"{name}: the examples were shown in {like[0]}, which it is not known to have; it is seen in {own.rule}"
        return Bands(own.rule, own.chosen, (f"{doubt}; choose with --bands",))
    return own


def _rule(dataset: DatasetReader, alpha: int | None, bands: tuple[int, ...], chosen: Chosen) -> BandRule:
    names = tuple(dataset.descriptions[band - 1] or "" for band in bands)
    names = tuple(name if is_printable(name) else "" for name in names)
    return BandRule(bands=bands, count=dataset.count - (alpha is not None), chosen=chosen, names=names)


def _by_own_words(dataset: DatasetReader, name: str, alpha: int | None) -> Bands:
    """The bands to show by what a raster says of them."""
    called = [_colours_in(text) for text in dataset.descriptions]
    if all(called.count(colour) == 1 for colour in COLOURS):
        numbers = tuple(called.index(colour) + 1 for colour in COLOURS)
        return Bands(_rule(dataset, alpha, numbers, "descriptions"), "by their descriptions")
    pictured = [i for i in range(1, dataset.count + 1) if i != alpha]
    if not pictured:
        raise UserError(f"{name}: has an alpha band only, so there is nothing to see")
    texts = [text for text in dataset.descriptions if text]
    tags = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(tag in dataset.colorinterp for tag in tags):
        numbers, words = tuple(dataset.colorinterp.index(tag) + 1 for tag in tags), "by their tags"
        rule = _rule(dataset, alpha, numbers, "tags")
    else:
        numbers, words = (tuple(pictured[:3]), "the first") if len(pictured) >= 3 else (tuple(pictured[:1]), "")
        coloured = len(numbers) == 1 and read_palette(dataset, numbers) is not None
        rule = _rule(dataset, alpha, numbers, "palette" if coloured else "default")
    coded = any(re.fullmatch(r"(SR_)?B\d+", text) for text in texts)
    if (any(called) or coded) and len(pictured) >= 3:
        seen = ",".join(map(str, numbers))
        doubt = f"{name}: its bands are called {', '.join(texts)}; {seen} are seen as red, green, blue (see --bands)"
        return Bands(rule, words, (doubt,))
    if words == "the first" and len(pictured) > 3:
        doubt = (
            f"{name}: has {len(pictured)} bands and does not say which are red, green, blue; the first three are taken"
        )
        return Bands(rule, words, (f"{doubt} (see --bands)",))
    return Bands(rule, words if len(pictured) > 3 else "")


NUMBERED = {"B04": "red", "B03": "green", "B02": "blue"}
"""Of Sentinel-2 and HLS, which alone write two digits; Landsat's B4 is red or infrared, depending on the satellite."""


def _colours_in(description: str | None) -> str:
    """The colour that a band is called by, alone; nothing of "red edge", "pan (red to blue)" and the like."""
    if description in NUMBERED:
        return NUMBERED[description]
    words = re.findall(r"[a-z]+", (description or "").lower())
    named = [word for word in words if word in COLOURS]
    other = {"edge", "rededge", "yellow", "coastal", "nir", "infrared", "near"} & set(words)
    return named[0] if len(named) == 1 and not other else ""


PATCHES, PATCH_PX = 5, 64
"""An alpha band is looked at in so many places along each side, of this size: to read all of it would take a pass."""

MOST_BETWEEN = 0.1
"""Share of alpha's pixels that may be neither transparent nor opaque."""


def alpha_band(dataset: DatasetReader) -> int | None:
    """Number of the band that is alpha, from 1; None where there is none, or the one that is tagged so is a picture.

    Infrared is often tagged alpha, as the fourth band of a file that says it is RGB. Transparency is 0 or the greatest value
    nearly everywhere; what takes other values in more than a tenth of the looked-at pixels is a picture.

    Raises:
        RasterioError, OSError: the band cannot be read.
    """
    if ColorInterp.alpha not in dataset.colorinterp:
        return None
    band = dataset.colorinterp.index(ColorInterp.alpha) + 1
    lefts, tops = (
        np.unique(np.linspace(0, max(0, side - PATCH_PX), PATCHES).astype(int)).tolist()
        for side in (dataset.width, dataset.height)
    )
    patches = [
        dataset.read(band, window=RasterWindow(left, top, PATCH_PX, PATCH_PX)).ravel() for left in lefts for top in tops
    ]
    seen = np.concatenate(patches)
    between = (seen != 0) & (seen != seen.max())
    several = len(np.unique(seen[between])) > 2  # a layer that is half transparent throughout has one value
    return None if several and between.mean() > MOST_BETWEEN else band


def read_palette(dataset: DatasetReader, bands: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The colours (n, 3) of a single band with a palette, else None."""
    band = bands[0]
    if len(set(bands)) > 1 or dataset.colorinterp[band - 1] != ColorInterp.palette:
        return None
    if np.dtype(dataset.dtypes[band - 1]).kind not in "iu":
        return None  # numbers between colours point at none
    try:
        colours = dataset.colormap(band)
    except ValueError:  # tagged so, and without a table
        return None
    colours = {value: colour for value, colour in colours.items() if value >= 0}
    if not colours:
        return None
    table = np.zeros((max(colours) + 1, 3), np.uint8)
    for value, colour in colours.items():
        table[value] = colour[:3]
    return table


def fewer_bits(dataset: DatasetReader, bands: tuple[int, ...]) -> tuple[float, ...] | None:
    """The greatest value there can be in each 8-bit band, where that is less than 255 in any (1 to 7 bits); else None."""
    said = [dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS", "") for band in bands]
    # anything may stand in a VRT; GDAL reads its first number
    counts = [re.match(r"[1-7](?![0-9])", text) for text in said]
    bits = [int(count[0]) if count else 8 for count in counts]
    return tuple(2.0**n - 1 for n in bits) if min(bits) < 8 else None


def percentile_range(raw: NDArray[np.generic], valid: NDArray[np.bool_]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What 0 and 255 stand for in each band of a reduced read (bands, h, w) with validity (bands, h, w)."""
    low, high = [], []
    for band, seen in zip(raw, valid, strict=True):
        values = band[seen].astype(np.float64)
        values = values[np.isfinite(values)]
        if not len(values):
            values = np.zeros(1)
        start, stop = np.percentile(values, PERCENTILES)
        if start == stop:
            start, stop = values.min(), values.max()
        low.append(float(start))
        high.append(float(stop))
    return tuple(low), tuple(high)
