"""Opens a scene: settles which bands, which grid and which brightness a raster is seen in, and warns of what is odd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from fsod.band_rule import BandRule, are_toned
from fsod.errors import UserError
from fsod.geo.brightness import scaled
from fsod.geo.georeference import Georeference, read_georeference
from fsod.geo.network import gdal_for
from fsod.geo.pixels import PixelRule, alpha_band, choose_bands, fewer_bits, read_palette
from fsod.geo.raster_file import open_dataset
from fsod.geo.sampled_squares import sampled_squares
from fsod.geo.scene import Scene
from fsod.geo.tone import tone_of
from fsod.geo.upright import as_stored, make_upright

SAME_GSD = 1.05
"""A GSD that differs by less than this factor is left alone: resampling would cost time and sharpness for nothing."""

MAX_ENLARGEMENT = 8.0
"""Nothing is seen in pixels invented beyond this."""

GSD_UNKNOWN = "its ground GSD is unknown"
"""Said of a scene that cannot be resampled to a GSD."""

MAX_REDUCTION = 64.0
"""Beyond this a single window is made of billions of pixels."""


def open_scene(
    path: str | Path,
    *,
    driver: str | None = None,
    gsd_m: float | None = None,
    enlargement: float = 1.0,
    bands: tuple[int, ...] | None = None,
    nodata: float | None = None,
    like: Sequence[BandRule] = (),
    toned: bool | None = None,
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
            ``undeclared``; NaN: what the file declares, and nothing else. One that no pixel can hold is as None, with a
            warning.
        like: what examples were shown in. Their bands are followed where the raster has them, else a warning says so; their
            nodata value where the file declares none and can hold it. Whether they were toned says so of the scene, too.
        toned: show it to the network in the tone that it is used to, see ``fsod.geo.tone``. True: if ``like`` does not say
            otherwise; False: never, as for pictures; None: as ``like`` says.
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
            tone=None,
            overview=None,
            _dataset=dataset,
        )
        if nodata is None:
            nodata = _nodata_of_examples(scene, like)
        only_declared = nodata is not None and bool(np.isnan(nodata))
        if nodata is not None and (only_declared or scene.can_be_nodata(nodata)):
            scene = replace(scene, shown=chosen.rule.model_copy(update={"nodata": nodata}))
        if nodata is not None and not only_declared:
            scene = scene.with_nodata(nodata)
        if rule.palette is None and set(kinds) != {"uint8"}:
            scene = scaled(scene, skip_damaged, recognise=not only_declared)
        if toned is not False and (are_toned(like) if like else toned):
            scene = _toned(scene)
    except BaseException:
        dataset.close()
        raise
    return scene


def _toned(scene: Scene) -> Scene:
    """The scene in a tone that does not depend on its grid; it says so where it is remembered."""
    whole = replace(scene, grid_width_px=scene.width_px, grid_height_px=scene.height_px)
    shown = scene.shown.model_copy(update={"toned": True})
    return replace(scene, tone=tone_of(sampled_squares(whole)), shown=shown)


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
    if dataset.tags().get("EXIF_Orientation", "1").strip() not in ("", "1"):
        elsewhere = "marks drawn on the turned picture lie elsewhere; save it turned, without the tag"
        odd += (
            f"{name}: its EXIF tag has other programs turn it, but fsod and QGIS see it as it is stored; {elsewhere}",
        )
    if pages := dataset.subdatasets:
        odd += (f"{name}: holds {len(pages)} images, of which the first is read; another one is called {pages[-1]}",)
    return odd


def _nodata_of_examples(scene: Scene, like: Sequence[BandRule]) -> float | None:
    """The value that stood for nothing where examples were shown, if a scene leaves it open."""
    said = next((shown.nodata for shown in like if shown.nodata is not None), None)
    if said is None or not np.isfinite(said):
        return said
    return None if scene.declares_nodata or not scene.can_be_nodata(said) else said


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
        return (width, height), (f"{name}: {GSD_UNKNOWN}, so it is read at {own}, not at {gsd_m:g} m",)
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
