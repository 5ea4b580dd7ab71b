"""A scene: a raster of any size and kind, read window by window as 8-bit RGB at the GSD that is wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from fsod.band_rule import BandRule
from fsod.errors import UserError
from fsod.geo.georeference import Georeference
from fsod.geo.network import gdal_for
from fsod.geo.nodata import can_hold
from fsod.geo.pixels import PixelRule
from fsod.geo.raster_file import gdals_reason, open_dataset
from fsod.geo.tone import Tone
from fsod.geo.upright import Upright
from fsod.geo.windows import Window

CACHE_SLACK = 1.25
"""GDAL counts its own notes on each block, too. If but one of a row of windows did not fit, each would be decoded anew for
every window."""

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
        tone: what a network is to see it in; None: as people do.
        overview: (h, w, 3) uint8, the file as it is stored made small, its longer side at most ``OVERVIEW_PX``; None where
            opening did not take a look at all of it.
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
    tone: Tone | None
    overview: NDArray[np.uint8] | None
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
    def nodata_of_bands(self) -> tuple[float | None, ...]:
        """Of each band shown, the value that stands for nothing; a pixel is valid where any band is, so others may hold it."""
        return tuple(self._dataset.nodatavals[band - 1] for band in self.rule.bands)

    @property
    def is_8_bit(self) -> bool:
        """Whether the bands shown hold bytes."""
        return all(self._dataset.dtypes[band - 1] == "uint8" for band in self.rule.bands)

    @property
    def has_overviews(self) -> bool:
        """Whether the file holds smaller copies of the bands shown, so that a coarse look does not read all of it."""
        return all(self._dataset.overviews(band) for band in self.rule.bands)

    def row_bytes(self, window_px: int) -> int:
        """Size of all decoded blocks that a row of windows touches: what to keep so that each is decoded once."""
        # the axis of the file along which one row of windows follows another
        down = 0 if self.upright.transposed else 1
        blocks_px = 2 * max(block_hw[1 - down] for block_hw in self._dataset.block_shapes)
        thick_px = window_px * self.file_size_px[down] / self.grid_height_px + blocks_px
        bytes_read = (
            thick_px * self.file_size_px[1 - down] * sum(np.dtype(kind).itemsize for kind in self._dataset.dtypes)
        )
        return int(bytes_read * CACHE_SLACK)

    @property
    def pixels(self) -> str:
        """How raw pixels become what a network sees, in words."""
        return str(self.rule) if self.tone is None else f"{str(self.rule).removesuffix(' as they are')}, {self.tone}"

    def read_window(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels of a window of the grid, see ``read_rectangle``."""
        return self.read_rectangle(window.xyxy_px)

    def read_seen(self, xyxy_px: tuple[int, int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The same as ``read_rectangle``, in the scene's ``tone``."""
        rgb, valid = self.read_rectangle(xyxy_px)
        return self.in_tone(rgb, valid), valid

    def in_tone(self, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Pixels of ``read_rectangle`` as a network is to see them."""
        return rgb if self.tone is None else self.tone.of(rgb, valid)

    def read_rectangle(
        self, xyxy_px: tuple[int, int, int, int], shape_hw: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels of a rectangle inside the grid (left, top, right, bottom) as people see them.

        Returns:
            (h, w, 3) uint8 RGB, 0 where not valid, and validity (h, w); resampled to ``shape_hw`` if that is given.

        Raises:
            UserError: the pixels cannot be read; names the scene and the rectangle in scene pixels.
        """
        left, top, right, bottom = xyxy_px
        raw, valid = self.read_raw(xyxy_px, shape_hw or (bottom - top, right - left))
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
        factor = min(1.0, longest_px / max(self.grid_width_px, self.grid_height_px))
        shape = max(1, round(self.grid_height_px * factor)), max(1, round(self.grid_width_px * factor))
        raw, valid = self.read_raw((0, 0, self.grid_width_px, self.grid_height_px), shape)
        return self.rule.to_rgb(raw, valid), valid

    def with_nodata(self, nodata: float) -> Scene:
        """The scene as if its file declared a nodata value, by a new handle; with a warning where no pixel can hold it."""
        if not can_hold(self._dataset, nodata):
            kinds = ", ".join(sorted(set(self._dataset.dtypes)))
            remark = f"{self.name}: no pixel can be the nodata value {nodata:g}, as they are {kinds}; it has no effect"
            return replace(self, warnings=(*self.warnings, remark))
        dataset = open_dataset(self.name, self.driver, nodata)
        self._dataset.close()
        return replace(self, nodata=nodata, _dataset=dataset)

    def can_be_nodata(self, value: float) -> bool:
        """Whether pixels of the file can have this value."""
        return can_hold(self._dataset, value)

    def reopen(self) -> Scene:
        """The same scene by a handle of its own, for another thread; nothing is measured again."""
        return replace(self, _dataset=open_dataset(self.name, self.driver, self.nodata))

    def reduced(self, factor: float) -> Scene:
        """The same scene with a grid that is ``factor`` times coarser, by the same handle."""
        width, height = (max(1, round(n / factor)) for n in (self.grid_width_px, self.grid_height_px))
        return replace(self, grid_width_px=width, grid_height_px=height)

    def __getstate__(self) -> dict[str, Any]:
        """Travels to another process without its handle, which ``reopen`` gives it there, and without its overview."""
        return {name: value for name, value in self.__dict__.items() if name != "_dataset"} | {"overview": None}

    def close(self) -> None:
        """Gives the handle back."""
        self._dataset.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read_raw(
        self, grid_xyxy_px: tuple[int, int, int, int], shape: tuple[int, int]
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """A rectangle of the grid as raw pixels (bands, h, w) of ``shape`` (h, w), and validity (h, w)."""
        factor_x, factor_y = self.grid_to_scene
        left, right = (min(x * factor_x, self.width_px) for x in grid_xyxy_px[::2])
        top, bottom = (min(y * factor_y, self.height_px) for y in grid_xyxy_px[1::2])
        in_file = self.upright.rectangle_in_file((left, top, right, bottom))
        raw, valid = self.read_file_raw(in_file, self.upright.shape_in_file(shape))
        return self.upright.turned(raw), self.upright.turned(valid).astype(np.bool_, copy=False)

    def read_file_raw(
        self, xyxy_px: tuple[float, float, float, float], shape: tuple[int, int]
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """The same of the file as it is stored."""
        left, top, right, bottom = xyxy_px
        area, bands = RasterWindow(left, top, right - left, bottom - top), list(self.rule.bands)
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
        return raw, valid

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
