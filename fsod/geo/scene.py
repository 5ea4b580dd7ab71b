"""A scene: a raster of any size and kind, read window by window as 8-bit RGB at the GSD that is wanted."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from fsod.errors import UserError
from fsod.geo.georeference import Georeference, read_georeference
from fsod.geo.network import gdal_for, why_closed
from fsod.geo.pixels import OVERVIEW_PX, PixelRule, choose_bands, percentile_range, read_palette
from fsod.geo.windows import Window

SAME_GSD = 1.05
"""A GSD that differs by less than this factor is left alone: resampling would cost time and sharpness for nothing."""

MAX_ENLARGEMENT = 8.0
"""Nothing is seen in pixels invented beyond this."""

MAX_REDUCTION = 64.0
"""Beyond this a single window is made of billions of pixels."""

PARTS = 8
"""Along a side, that a damaged scene's brightness is measured in."""


@dataclass(frozen=True)
class Scene:
    """An open raster; a context manager. One handle must not be used by two threads at once: see ``reopen``.

    Two pixel frames meet here. The scene's own pixels are those of the file. The grid is what windows are read from:
    the same pixels, or the scene resampled to a target GSD.

    Attributes:
        name: the path it was opened by.
        driver: of GDAL, that opened it; no other one is asked when it is opened again.
        width_px: columns of the file.
        height_px: rows of the file.
        grid_width_px: columns of the grid.
        grid_height_px: rows of the grid.
        georeference: where the file's pixels lie; its ``gsd_m`` is the file's.
        rule: how raw pixels become RGB.
        warnings: what a user should know, one line each.
    """

    name: str
    driver: str
    width_px: int
    height_px: int
    grid_width_px: int
    grid_height_px: int
    georeference: Georeference
    rule: PixelRule
    warnings: tuple[str, ...]
    _dataset: DatasetReader

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the raster consists of: itself, sidecars, and for a VRT its sources."""
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

    def row_bytes(self, window_px: int) -> int:
        """Size of all decoded blocks that a row of windows touches: what to keep so that each is decoded once."""
        rows_px = window_px * self.grid_to_scene[1] + 2 * max(height for height, _ in self._dataset.block_shapes)
        return int(rows_px * self.width_px * sum(np.dtype(kind).itemsize for kind in self._dataset.dtypes))

    def read_window(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels of a window of the grid: (h, w, 3) uint8 RGB, 0 where not valid, and validity (h, w).

        Raises:
            UserError: the pixels cannot be read; names the scene and the window in scene pixels.
        """
        return self.read_rectangle(window.xyxy_px)

    def read_rectangle(self, xyxy_px: tuple[int, int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels of any rectangle inside the grid (left, top, right, bottom), as ``read_window``."""
        left, top, right, bottom = xyxy_px
        raw, valid = self._read(xyxy_px, (bottom - top, right - left))
        return self.rule.to_rgb(raw, valid), valid

    def read_reduced(self, longest_px: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The whole scene, its longer side at most ``longest_px``: (h, w, 3) uint8 RGB and validity (h, w).

        Raises:
            UserError: the pixels cannot be read.
        """
        raw, valid = self._read_reduced(longest_px)
        return self.rule.to_rgb(raw, valid), valid

    def reopen(self) -> Scene:
        """The same scene by a handle of its own, for another thread; nothing is measured again."""
        return replace(self, _dataset=open_dataset(self.name, self.driver))

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
        area = RasterWindow(left, top, right - left, bottom - top)
        bands = list(self.rule.bands)
        try:
            with gdal_for(self.name):
                raw = self._dataset.read(
                    bands, window=area, out_shape=(len(bands), *shape), resampling=self._kernel(shape, area)
                )
                valid = self._valid(bands, area, shape)
        except (RasterioError, OSError) as error:
            raise UserError(
                f"{self.name}: damaged or cut short: pixels of columns {left:.0f} to {right:.0f}, "
                f"rows {top:.0f} to {bottom:.0f} cannot be read ({_reason(self.name, error)})"
            ) from error
        if raw.dtype.kind == "f":
            valid &= np.isfinite(raw).any(axis=0)
        return raw, valid

    def _kernel(self, shape: tuple[int, int], area: RasterWindow) -> Resampling:
        if self.rule.palette is not None or shape == (area.height, area.width):
            return Resampling.nearest
        return Resampling.average if area.height * area.width > shape[0] * shape[1] else Resampling.bilinear

    def _valid(self, bands: list[int], area: RasterWindow, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Where any band shown is valid by nodata value or mask band, and alpha is not 0."""
        valid = np.ones(shape, np.bool_)
        if any(MaskFlags.all_valid not in self._dataset.mask_flag_enums[band - 1] for band in bands):
            masks = self._dataset.read_masks(bands, window=area, out_shape=(len(bands), *shape))
            valid = np.asarray((masks > 0).any(axis=0))
        # read on its own: GDAL takes alpha for a mask only if it is the second or the fourth and last band
        if ColorInterp.alpha in self._dataset.colorinterp:
            alpha = self._dataset.colorinterp.index(ColorInterp.alpha) + 1
            valid &= self._dataset.read(alpha, window=area, out_shape=shape) > 0
        return valid


def open_scene(
    path: str | Path,
    *,
    driver: str | None = None,
    gsd_m: float | None = None,
    enlargement: float = 1.0,
    bands: tuple[int, ...] | None = None,
    stretch: bool = False,
    skip_damaged: bool = False,
) -> Scene:
    """Opens a raster and settles how its pixels will be read.

    Args:
        path: a file, or anything else that GDAL opens.
        driver: the only one of GDAL's that may open it, for files of strangers; any if None.
        gsd_m: ground size of a pixel to resample to, in metres; each axis on its own, so pixels become square on the
            ground. None keeps the scene's pixels; so does a scene whose GSD is unknown (with a warning) or within 5 %.
        enlargement: pixels of the grid along a side of a scene's pixel, where ``gsd_m`` does not say.
        bands: one or three band numbers, from 1, to show as RGB.
        stretch: scale 8-bit too.
        skip_damaged: where pixels cannot be read, scale by the others.

    Raises:
        UserError: not a raster that can be read, complex pixels, bands that are not there, a GSD more than 8 times
            finer or 64 times coarser than the scene's.
    """
    name = str(path)
    dataset = open_dataset(name, driver)
    try:
        georeference, remarks = read_georeference(dataset, name)
        size = dataset.width, dataset.height
        (width, height), more = _grid_size(name, size, georeference, gsd_m, enlargement)
        shown = choose_bands(dataset, name, bands)
        kinds = {dataset.dtypes[band - 1] for band in shown}
        if any(kind.startswith("complex") for kind in kinds):
            raise UserError(f"{name}: holds complex pixels; write their amplitude to a file first")
        rule = PixelRule(shown, palette=read_palette(dataset, shown[0]))
        scene = Scene(name, dataset.driver, *size, width, height, georeference, rule, remarks + more, dataset)
        if rule.palette is None and (stretch or kinds != {"uint8"}):
            raw, valid, unread = _sample(scene, skip_damaged)
            rule = PixelRule(shown, *percentile_range(raw, valid))
            scene = replace(scene, rule=rule, warnings=scene.warnings + unread)
    except BaseException:
        dataset.close()
        raise
    return scene


def _sample(scene: Scene, skip_damaged: bool) -> tuple[NDArray[np.generic], NDArray[np.bool_], tuple[str, ...]]:
    """Raw pixels (bands, h, w) of the whole scene, read reduced, their validity (h, w), and a warning if not of all."""
    try:
        return *scene._read_reduced(OVERVIEW_PX), ()
    except UserError:
        if not skip_damaged:
            raise
        columns, rows = (
            np.unique(np.linspace(0, side, PARTS + 1).astype(int)).tolist()
            for side in (scene.grid_width_px, scene.grid_height_px)
        )
        parts = []
        for left, right in pairwise(columns):
            for top, bottom in pairwise(rows):
                with suppress(UserError):
                    parts.append(scene._read((left, top, right, bottom), (OVERVIEW_PX // PARTS,) * 2))
        if not parts:
            raise
    raw, valid = (np.concatenate(of_parts, axis=-1) for of_parts in zip(*parts, strict=True))
    return raw, valid, (f"{scene.name}: damaged; its brightness is scaled by the parts that can be read",)


def open_dataset(name: str, driver: str | None = None) -> DatasetReader:
    """GDAL's handle of a raster, of this driver only if one is named; UserError if it cannot be opened."""
    try:
        with gdal_for(name), warnings.catch_warnings():
            # read_georeference says so itself, with the file's name and the consequence
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(name, driver=driver)
    except (RasterioError, OSError) as error:
        raise UserError(f"{name}: cannot be opened as a raster ({_reason(name, error)})") from error


def _reason(name: str, error: Exception) -> str:
    """The innermost message, which is GDAL's own, on one line; and what to do where the network was closed to it."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    reason = " ".join(str(error).split())
    return reason + why_closed(name, reason)


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
