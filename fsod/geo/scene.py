"""A scene: a raster of any size and kind, read window by window as 8-bit RGB at the GSD that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from fsod.band_rule import BandRule
from fsod.errors import UserError
from fsod.geo.georeference import Georeference, read_georeference
from fsod.geo.network import gdal_for
from fsod.geo.nodata import can_hold, recognise_nodata
from fsod.geo.pixels import (
    OVERVIEW_PX,
    PixelRule,
    alpha_band,
    choose_bands,
    fewer_bits,
    percentile_range,
    read_palette,
)
from fsod.geo.raster_file import gdals_reason, open_dataset
from fsod.geo.upright import Upright, as_stored, make_upright
from fsod.geo.windows import Window

CACHE_SLACK = 1.25
"""GDAL counts its own notes on each block, too. If but one of a row of windows did not fit, each would be decoded anew for
every window."""

SAME_GSD = 1.05
"""A GSD that differs by less than this factor is left alone: resampling would cost time and sharpness for nothing."""

MAX_ENLARGEMENT = 8.0
"""Nothing is seen in pixels invented beyond this."""

MAX_REDUCTION = 64.0
"""Beyond this a single window is made of billions of pixels."""

PARTS = 8
"""Along a side, that a damaged scene's brightness is measured in, or a vast one's."""

PART_PX = 256
"""Side of what is looked at in each part of a vast scene."""

MOST_REDUCED_PX = 2**33
"""Of a file without overviews all pixels are read to reduce it; of more than these it would take many minutes."""


@dataclass(frozen=True)
class Scene:
    """An open raster; a context manager. One handle must not be used by two threads at once: see ``reopen``.

    Three pixel frames meet here. The file's pixels are what programs show and layers name. The scene's pixels are the
    same with north up and square on the ground, see ``upright``; nearly always they are the file's. The grid is what
    windows are read from: the scene's pixels, or the scene resampled to a target GSD.

    Attributes:
        name: the path it was opened by.
        driver: of GDAL, that opened it; no other one is asked when it is opened again.
        width_px: columns of the scene.
        height_px: rows of the scene.
        grid_width_px: columns of the grid.
        grid_height_px: rows of the grid.
        georeference: where the scene's pixels lie.
        file_georeference: where the file's pixels lie.
        upright: the way from the scene's pixels to the file's.
        file_size_px: columns and rows of the file.
        rule: how raw pixels become RGB.
        shown: which bands are seen and how they were chosen, for a file to remember.
        warnings: what a user should know, one line each.
        nodata: value that stands for nothing, where the file does not say so.
        alpha: number of the band that says what is transparent, from 1.
    """

    name: str
    driver: str
    width_px: int
    height_px: int
    grid_width_px: int
    grid_height_px: int
    georeference: Georeference
    file_georeference: Georeference
    upright: Upright
    file_size_px: tuple[int, int]
    rule: PixelRule
    shown: BandRule
    warnings: tuple[str, ...]
    nodata: float | None
    alpha: int | None
    _dataset: DatasetReader

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the raster consists of: itself, sidecars, and for a VRT its sources; GDAL looks for them when asked."""
        return tuple(self._dataset.files)

    @property
    def grid_to_scene(self) -> tuple[float, float]:
        """Scene pixels per grid pixel, along rows and along columns; exact at the scene's edges."""
        return self.width_px / self.grid_width_px, self.height_px / self.grid_height_px

    @property
    def grid_gsd_m(self) -> float | None:
        """Ground size of a grid pixel in metres, None when unknown."""
        gsd_m, (x, y) = self.georeference.gsd_m, self.grid_to_scene
        return None if gsd_m is None else gsd_m * float(np.sqrt(x * y))

    @property
    def declares_nodata(self) -> bool:
        """Whether the file says of some pixels of the bands shown, by a value or a mask, that they are none."""
        flags = [self._dataset.mask_flag_enums[band - 1] for band in self.rule.bands]
        return any(MaskFlags.all_valid not in own and MaskFlags.alpha not in own for own in flags)

    @property
    def has_overviews(self) -> bool:
        """Whether the file holds smaller copies of the bands shown, so that a coarse look does not read all of it."""
        return all(self._dataset.overviews(band) for band in self.rule.bands)

    def row_bytes(self, window_px: int) -> int:
        """Size of all decoded blocks that a row of windows touches: what to keep so that each is decoded once."""
        (width_px, height_px), seen = self.file_size_px, (self.grid_width_px, self.grid_height_px)
        seen_height = seen[0] if self.upright.transposed else seen[1]
        rows_px = window_px * height_px / seen_height + 2 * max(height for height, _ in self._dataset.block_shapes)
        bytes_read = rows_px * width_px * sum(np.dtype(kind).itemsize for kind in self._dataset.dtypes)
        return int(bytes_read * CACHE_SLACK)

    def read_window(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels of a window of the grid: (h, w, 3) uint8 RGB, 0 where not valid, and validity (h, w).

        Raises:
            UserError: the pixels cannot be read; names the scene and the window in scene pixels.
        """
        return self.read_rectangle(window.xyxy_px)

    def read_rectangle(
        self, xyxy_px: tuple[int, int, int, int], shape_hw: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels of any rectangle inside the grid (left, top, right, bottom), as ``read_window``; resampled to ``shape_hw``."""
        left, top, right, bottom = xyxy_px
        raw, valid = self._read(xyxy_px, shape_hw or (bottom - top, right - left))
        return self.rule.to_rgb(raw, valid), valid

    @property
    def is_vast(self) -> bool:
        """Whether it is too large to be reduced as a whole, which overviews would help."""
        width_px, height_px = self.file_size_px
        return width_px * height_px > MOST_REDUCED_PX and not self._dataset.overviews(self.rule.bands[0])

    def read_reduced(self, longest_px: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The whole scene, its longer side at most ``longest_px``: (h, w, 3) uint8 RGB and validity (h, w).

        Raises:
            UserError: the pixels cannot be read, or are too many.
        """
        if self.is_vast:
            width_px, height_px = self.file_size_px
            raise UserError(
                f"{self.name}: has no overviews, and all its {width_px * height_px:.2g} pixels would be read for one picture; "
                "make some (gdaladdo)"
            )
        raw, valid = self._read_reduced(longest_px)
        return self.rule.to_rgb(raw, valid), valid

    def reopen(self) -> Scene:
        """The same scene by a handle of its own, for another thread; nothing is measured again."""
        return replace(self, _dataset=open_dataset(self.name, self.driver, self.nodata))

    def reduced(self, factor: float) -> Scene:
        """The same scene with a grid that is ``factor`` times coarser, by the same handle."""
        width, height = (max(1, round(n / factor)) for n in (self.grid_width_px, self.grid_height_px))
        return replace(self, grid_width_px=width, grid_height_px=height)

    def __getstate__(self) -> dict[str, Any]:
        """Travels to another process without its handle; ``reopen`` gives it one there."""
        return {name: value for name, value in self.__dict__.items() if name != "_dataset"}

    def close(self) -> None:
        """Gives the handle back."""
        self._dataset.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_reduced(self, longest_px: int) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        factor = min(1.0, longest_px / max(self.grid_width_px, self.grid_height_px))
        shape = max(1, round(self.grid_height_px * factor)), max(1, round(self.grid_width_px * factor))
        return self._read((0, 0, self.grid_width_px, self.grid_height_px), shape)

    def _read(
        self, grid_xyxy_px: tuple[int, int, int, int], shape: tuple[int, int]
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """A rectangle of the grid as raw pixels (bands, h, w) of ``shape`` (h, w), and validity (h, w)."""
        factor_x, factor_y = self.grid_to_scene
        left, right = (min(x * factor_x, self.width_px) for x in grid_xyxy_px[::2])
        top, bottom = (min(y * factor_y, self.height_px) for y in grid_xyxy_px[1::2])
        left, top, right, bottom = self.upright.rectangle_in_file((left, top, right, bottom))
        area, shape = RasterWindow(left, top, right - left, bottom - top), self.upright.shape_in_file(shape)
        bands = list(self.rule.bands)
        try:
            with gdal_for(self.name):
                raw = self._pixels(bands, area, shape)
                valid = self._valid(bands, area, shape)
        except (RasterioError, OSError) as error:
            raise UserError(
                f"{self.name}: damaged or cut short: pixels of columns {left:.0f} to {right:.0f}, "
                f"rows {top:.0f} to {bottom:.0f} cannot be read ({gdals_reason(self.name, error)})"
            ) from error
        if raw.dtype.kind == "f":
            valid &= np.isfinite(raw).any(axis=0)
        return self.upright.turned(raw), self.upright.turned(valid).astype(np.bool_, copy=False)

    def _pixels(self, bands: list[int], area: RasterWindow, shape: tuple[int, int]) -> NDArray[np.generic]:
        """Raw pixels (bands, h, w) of the file; of bands of several types, which rasterio refuses to read at once, too."""
        how = self._kernel(shape, area)
        if len({self._dataset.dtypes[band - 1] for band in bands}) == 1:
            return self._dataset.read(bands, window=area, out_shape=(len(bands), *shape), resampling=how)
        return np.stack([self._dataset.read(band, window=area, out_shape=shape, resampling=how) for band in bands])

    def _kernel(self, shape: tuple[int, int], area: RasterWindow) -> Resampling:
        if self.rule.palette is not None or shape == (area.height, area.width):
            return Resampling.nearest
        return Resampling.average if area.height * area.width > shape[0] * shape[1] else Resampling.bilinear

    def _valid(self, bands: list[int], area: RasterWindow, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Where any band shown is valid by nodata value or mask band, and alpha is not 0."""
        valid = np.ones(shape, np.bool_)
        if self.declares_nodata:
            masks = self._dataset.read_masks(bands, window=area, out_shape=(len(bands), *shape))
            valid = np.asarray((masks > 0).any(axis=0))
        # read on its own: GDAL takes alpha for a mask only if it is the second or the fourth and last band
        if self.alpha is not None:
            valid &= self._dataset.read(self.alpha, window=area, out_shape=shape) > 0
        return valid


def open_scene(
    path: str | Path,
    *,
    driver: str | None = None,
    gsd_m: float | None = None,
    enlargement: float = 1.0,
    bands: tuple[int, ...] | None = None,
    nodata: float | None = None,
    like: Sequence[BandRule] = (),
    north_up: bool = True,
    skip_damaged: bool = False,
) -> Scene:
    """Opens a raster and settles how its pixels will be read.

    Args:
        path: a file, or anything else that GDAL opens.
        driver: the only one of GDAL's that may open it, for files of strangers; any if None.
        gsd_m: ground size of a pixel to resample to, in metres. None keeps the scene's pixels; so does a scene whose GSD is
            unknown (with a warning) or within 5 %.
        enlargement: pixels of the grid along a side of a scene's pixel, where ``gsd_m`` does not say.
        bands: one or three band numbers, from 1, to show as RGB. None: as ``like`` says, else by the raster's own words, see
            ``pixels``.
        nodata: value that stands for nothing. None: what the file declares, else what is recognised (with a warning), see
            ``nodata``; NaN: what the file declares, and nothing else.
        like: what examples were shown in. Their bands are followed where the raster has them, else a warning says so; their
            nodata value where the file declares none and can hold it.
        north_up: see it with north up and pixels square on the ground; else as it is stored.
        skip_damaged: where pixels cannot be read, scale by the others.

    Raises:
        UserError: not a raster that can be read, complex pixels, bands that are not there, a GSD more than 8 times
            finer or 64 times coarser than the scene's.
    """
    name = str(path)
    dataset = open_dataset(name, driver)
    try:
        stored, remarks = read_georeference(dataset, name)
        size = dataset.width, dataset.height
        upright, georeference = make_upright(*size, stored) if north_up else (as_stored(*size), stored)
        (width, height), more = _grid_size(
            name, (upright.width_px, upright.height_px), georeference, gsd_m, enlargement
        )
        alpha, doubts = _alpha(dataset, name, bands)
        chosen = choose_bands(dataset, name, bands, alpha, like)
        numbers = chosen.rule.bands
        kinds = [dataset.dtypes[band - 1] for band in numbers]
        if any(kind.startswith("complex") for kind in kinds):
            raise UserError(f"{name}: holds complex pixels; write their amplitude to a file first")
        greatest = fewer_bits(dataset, numbers)
        low = None if greatest is None else (0.0,) * len(greatest)
        rule = PixelRule(numbers, low, greatest, read_palette(dataset, numbers), chosen.chosen)
        scene = Scene(
            name=name,
            driver=dataset.driver,
            width_px=upright.width_px,
            height_px=upright.height_px,
            grid_width_px=width,
            grid_height_px=height,
            georeference=georeference,
            file_georeference=stored,
            upright=upright,
            file_size_px=size,
            rule=rule,
            shown=chosen.rule,
            warnings=remarks + more + doubts + chosen.doubts + _oddities(dataset, name, rule),
            nodata=None,
            alpha=alpha,
            _dataset=dataset,
        )
        if nodata is None:
            nodata = _nodata_of_examples(scene, like)
        if nodata is not None:
            scene = replace(scene, shown=chosen.rule.model_copy(update={"nodata": nodata}))
            if np.isfinite(nodata):
                scene = _declared(scene, nodata)
        if rule.palette is None and set(kinds) != {"uint8"}:
            scene = _scaled(scene, skip_damaged, recognise=nodata is None)
    except BaseException:
        dataset.close()
        raise
    return scene


def _alpha(dataset: DatasetReader, name: str, asked: tuple[int, ...] | None) -> tuple[int | None, tuple[str, ...]]:
    """The band that hides pixels, and a warning where one is tagged so and does not."""
    if ColorInterp.alpha not in dataset.colorinterp:
        return None, ()
    tagged = dataset.colorinterp.index(ColorInterp.alpha) + 1
    if tagged in (asked or ()):
        return None, ()
    try:
        with gdal_for(name):
            band = alpha_band(dataset)
    except (RasterioError, OSError):
        return tagged, ()  # damaged; whoever reads these pixels will say so
    doubt = f"{name}: band {tagged} is tagged alpha and is a picture, infrared perhaps, so it hides nothing"
    return band, () if band else (doubt,)


def _oddities(dataset: DatasetReader, name: str, rule: PixelRule) -> tuple[str, ...]:
    """What is read otherwise than a user may think, one line each."""
    odd: tuple[str, ...] = ()
    if rule.palette is None and dataset.colorinterp[rule.bands[0] - 1] == ColorInterp.palette:
        odd += (f"{name}: its palette has no colours that its pixels could point at, so it is seen in grey",)
    if pages := dataset.subdatasets:
        odd += (f"{name}: holds {len(pages)} images, of which the first is read; another one is called {pages[-1]}",)
    return odd


def _nodata_of_examples(scene: Scene, like: Sequence[BandRule]) -> float | None:
    """The value that stood for nothing where examples were shown, if a scene leaves it open."""
    said = next((shown.nodata for shown in like if shown.nodata is not None), None)
    if said is None or not np.isfinite(said):
        return said
    return None if scene.declares_nodata or not can_hold(scene._dataset, said) else said


def _declared(scene: Scene, nodata: float) -> Scene:
    """The scene as if its file declared a nodata value."""
    if not can_hold(scene._dataset, nodata):
        kinds = ", ".join(sorted(set(scene._dataset.dtypes)))
        remark = f"{scene.name}: no pixel can be the nodata value {nodata:g}, as they are {kinds}"
        return replace(scene, warnings=(*scene.warnings, remark))
    dataset = open_dataset(scene.name, scene.driver, nodata)
    scene._dataset.close()
    return replace(scene, nodata=nodata, _dataset=dataset)


def _scaled(scene: Scene, skip_damaged: bool, *, recognise: bool) -> Scene:
    """The scene with a rule that scales its pixels, by what it holds."""
    raw, valid, remarks = _sample(scene, skip_damaged)
    if recognise and (found := recognise_nodata(raw, valid)) is not None:
        nodata, share = found
        fills = f"{scene.name}: {nodata:g} fills {share:.0%} of it"
        if scene.declares_nodata or not can_hold(scene._dataset, nodata):
            remarks += (f"{fills} and decides what is black or white; --nodata {nodata:g} if it stands for nothing",)
        else:
            remarks += (f"{fills} and is taken for nodata, which no tag says; --nodata nan if it is something",)
            scene = _declared(scene, nodata)
            raw, valid, _ = _sample(scene, skip_damaged)
    low, high = percentile_range(raw, valid)
    return replace(scene, rule=replace(scene.rule, low=low, high=high), warnings=scene.warnings + remarks)


def _sample(scene: Scene, skip_damaged: bool) -> tuple[NDArray[np.generic], NDArray[np.bool_], tuple[str, ...]]:
    """Raw pixels (bands, h, w) of the whole scene, read reduced, their validity (h, w), and a warning if not of all."""
    if scene.is_vast:
        starts = [
            (left, top, min(left + PART_PX, right), min(top + PART_PX, bottom))
            for left, top, right, bottom in _parts(scene)
        ]
        remark = (
            f"{scene.name}: has no overviews; its brightness is scaled by {len(starts)} places (gdaladdo makes some)"
        )
        return *_read_parts(scene, starts, skip_damaged), (remark,)
    try:
        return *scene._read_reduced(OVERVIEW_PX), ()
    except UserError:
        if not skip_damaged:
            raise
    remark = f"{scene.name}: damaged; its brightness is scaled by the parts that can be read"
    return *_read_parts(scene, _parts(scene), skip_damaged), (remark,)


def _parts(scene: Scene) -> list[tuple[int, int, int, int]]:
    """The grid in eight rows of eight parts: left, top, right, bottom."""
    columns, rows = (
        np.unique(np.linspace(0, side, PARTS + 1).astype(int)).tolist()
        for side in (scene.grid_width_px, scene.grid_height_px)
    )
    # row by row: parts of a row may lie in the same strips
    return [(left, top, right, bottom) for top, bottom in pairwise(rows) for left, right in pairwise(columns)]


def _read_parts(
    scene: Scene, parts: list[tuple[int, int, int, int]], skip_damaged: bool
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Raw pixels (bands, h, w) and validity (h, w) of parts side by side; UserError unless one at least can be read."""
    read, reasons = [], []
    for part in parts:
        try:
            read.append(scene._read(part, (OVERVIEW_PX // PARTS,) * 2))
        except UserError as error:
            reasons.append(error)
    if reasons and not (skip_damaged and read):
        raise reasons[0]
    raw, valid = zip(*read, strict=True)
    return np.concatenate(raw, axis=-1), np.concatenate(valid, axis=-1)


def _grid_size(
    name: str, size_px: tuple[int, int], georeference: Georeference, gsd_m: float | None, enlargement: float
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Columns and rows of the scene at ``gsd_m``, or enlarged, and a warning where ``gsd_m`` cannot be had."""
    width, height = (max(1, round(n * enlargement)) for n in size_px)
    if gsd_m is None:
        return (width, height), ()
    if not (np.isfinite(gsd_m) and gsd_m > 0):
        raise UserError(f"{name}: a GSD of {gsd_m} m: must be a positive number of metres")
    if georeference.gsd_xy_m is None:
        own = "its own" if enlargement == 1 else f"{enlargement:g} times its own size"
        return (width, height), (f"{name}: its ground GSD is unknown, so it is read at {own}, not at {gsd_m:g} m",)
    factors = [own_m / gsd_m for own_m in georeference.gsd_xy_m]
    if max(factors) > MAX_ENLARGEMENT:
        raise UserError(
            f"{name}: its pixels are {georeference.gsd_m:.3g} m, too coarse to look for objects at {gsd_m:g} m; "
            "run at the scene's own (--native)"
        )
    if min(factors) * MAX_REDUCTION < 1:
        raise UserError(
            f"{name}: its pixels are {georeference.gsd_m:.3g} m, too fine to look for objects at {gsd_m:g} m; "
            "run at the scene's own (--native) or at a finer one (--gsd-m)"
        )
    if all(1 / SAME_GSD < factor < SAME_GSD for factor in factors):
        return size_px, ()
    width, height = (max(1, round(n * factor)) for n, factor in zip(size_px, factors, strict=True))
    return (width, height), ()
