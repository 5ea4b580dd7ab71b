"""How one scene is gone over: how its pixels are read, in which windows, and what counts as one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fsod.band_rule import BandRule
from fsod.config import WINDOW_PX, EvaluateSettings, PredictSettings
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene

_SEARCH, _SUPPRESSION = PredictSettings(), EvaluateSettings()


@dataclass(frozen=True)
class ScenePlan:
    """What ``predict_scene`` is told. The defaults are those of ``PredictSettings`` and ``EvaluateSettings``.

    Attributes:
        window_px: side of a window, a multiple of 32.
        overlap_px: what neighbours share at least, a multiple of 32: the size of the largest object that is sure to be
            whole in one window.
        scales: reductions for further passes that look for larger objects, see ``make_passes``.
        reductions: of each class, how many times coarser than the others it is seen, see ``make_passes``; none: all alike.
        batch: windows per call of the detector.
        gsd_m: ground GSD to resample the scene to, in metres.
        enlargement: see ``open_scene``.
        bands: band numbers to show as RGB, from 1.
        nodata: value that stands for nothing, see ``open_scene``.
        like: what examples were shown in, see ``open_scene``.
        toned: see ``open_scene``.
        suppression: from which overlap on boxes from two windows are one object.
        aoi: vector file of the area of interest; windows outside it are never run, detections whose centre lies outside
            are left out.
        aoi_layer: layer of that file, where it has several.
        skip_damaged: go on where pixels cannot be read, instead of stopping there; what the damaged window answers for
            is then missing, up to the seams with its neighbours.
        driver: the only one of GDAL's that may open the scene, see ``open_scene``.
    """

    window_px: int = WINDOW_PX
    overlap_px: int = _SEARCH.overlap_px
    scales: tuple[float, ...] = _SEARCH.scales
    reductions: tuple[float, ...] = ()
    batch: int = _SEARCH.batch
    gsd_m: float | None = None
    enlargement: float = 1.0
    bands: tuple[int, ...] | None = None
    nodata: float | None = None
    like: tuple[BandRule, ...] = ()
    toned: bool | None = None
    suppression: EvaluateSettings = _SUPPRESSION
    aoi: Path | None = None
    aoi_layer: str | None = None
    skip_damaged: bool = _SEARCH.skip_damaged
    driver: str | None = None

    def open(self, path: str | Path) -> Scene:
        """A scene as the plan reads it; UserError as ``open_scene``."""
        return open_scene(
            path,
            driver=self.driver,
            gsd_m=self.gsd_m,
            enlargement=self.enlargement,
            bands=self.bands,
            nodata=self.nodata,
            like=self.like,
            toned=self.toned,
            skip_damaged=self.skip_damaged,
        )


USUAL_PLAN = ScenePlan()
"""All as the settings have it."""
