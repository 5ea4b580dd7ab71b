"""Runs a detector over a scene, window by window, and merges what it finds.

Windows are read ahead of the network. At no time are more than a few windows in memory. What a detector is, this file
does not know: a function from a batch of windows to boxes.

With a journal a killed run goes on. Finished windows are left out, the rest come in the same order, and so in the same
batches as in an undisturbed run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from fsod.boxes import Detections, area_px
from fsod.geo.area import read_area
from fsod.geo.blank import shows_something
from fsod.geo.georeference import Georeference
from fsod.geo.journal import Finished, Journal, files_fingerprint
from fsod.geo.merge import SeamMerger
from fsod.geo.read_ahead import WindowRead, read_ahead
from fsod.geo.scene import Scene, open_scene
from fsod.geo.windows import Grid, Window, window_grid

Detect = Callable[[NDArray[np.uint8]], list[Detections]]
"""A batch of windows (B, H, W, 3) uint8 RGB, always of one shape, to one Detections per window in its pixel frame."""

OnProgress = Callable[[int, int], None]
"""Called with windows done and windows in all."""

OnOpen = Callable[[Scene, int, int], None]
"""Called before the first window with the open scene, windows that an earlier run has finished, and windows in all."""

BLANKS_A_LINE = 1000
"""Blank windows that the journal takes note of at once: in an empty part of a scene no batch ever fills."""

MAX_CACHE_BYTES = 512 * 2**20
"""The most that GDAL may keep of decoded blocks, enough for a row of windows of a scene 250,000 px wide; GDAL's own limit
is a share of the machine's memory, whatever that is. In bytes: rasterio does not know GDAL's MB."""


@dataclass(frozen=True)
class SceneResult:
    """What came out of a scene.

    Attributes:
        scene: its path.
        width_px: columns of the file.
        height_px: rows of the file.
        detections: boxes in the scene's own pixels, float64.
        georeference: where these pixels lie.
        gsd_m: ground size of the pixels that the network saw, None when unknown.
        pixels: how raw pixels became RGB, in words.
        windows_run: windows the network saw.
        windows_blank: windows skipped because they show nothing.
        windows_outside: windows skipped because they lie outside the area of interest.
        windows_resumed: windows run or blank that an earlier, killed run had finished.
        damaged: windows skipped because they could not be read, one message each.
        warnings: what the user should know, one line each.
        seconds: wall time of everything.
        seconds_detecting: of it, inside the detector.
    """

    scene: str
    width_px: int
    height_px: int
    detections: Detections
    georeference: Georeference
    gsd_m: float | None
    pixels: str
    windows_run: int
    windows_blank: int
    windows_outside: int
    windows_resumed: int
    damaged: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float
    seconds_detecting: float


def predict_scene(
    path: str | Path,
    detect: Detect,
    *,
    window_px: int = 640,
    overlap_px: int = 128,
    batch: int = 4,
    gsd_m: float | None = None,
    bands: tuple[int, ...] | None = None,
    stretch: bool = False,
    iou_threshold: float = 0.5,
    rival_iou: float = 0.9,
    aoi: Path | None = None,
    skip_damaged: bool = False,
    journal: Path | None = None,
    detector: Mapping[str, Any] | None = None,
    on_open: OnOpen | None = None,
    on_progress: OnProgress | None = None,
) -> SceneResult:
    """Detections of a whole scene, each object once.

    Args:
        path: anything that ``open_scene`` opens.
        detect: the detector; always called with ``batch`` windows of ``window_px`` squared, padded with 0 at the right
            and bottom where the scene is smaller, and with empty windows where the last batch is not full.
        window_px: side of a window, a multiple of 32.
        overlap_px: what neighbours share at least, a multiple of 32: the size of the largest object that is sure to be
            whole in one window.
        batch: windows per call of the detector.
        gsd_m: ground GSD to resample the scene to, in metres.
        bands: band numbers to show as RGB, from 1.
        stretch: scale 8-bit too.
        iou_threshold: boxes of one class from two windows that overlap more are one object.
        rival_iou: boxes of different classes from two windows that overlap more are one object.
        aoi: vector file of the area of interest; windows outside it are never run, detections whose centre lies outside
            are left out.
        skip_damaged: go on where pixels cannot be read, instead of stopping there; what the damaged window answers for
            is then missing, up to the seams with its neighbours.
        journal: file to keep what is finished in, and to go on from if it is there. It stays: who has written the result
            removes it.
        detector: what decides what ``detect`` finds (weights, classes, thresholds), as JSON values for the journal.
        on_open: told before the first window.
        on_progress: told after each window.

    Raises:
        UserError: the scene cannot be read, or a setting does not fit; see ``open_scene`` and ``window_grid``; a journal
            of another run.
    """
    started = time.perf_counter()
    with (
        rasterio.Env(GDAL_CACHEMAX=MAX_CACHE_BYTES),
        open_scene(path, gsd_m=gsd_m, bands=bands, stretch=stretch) as scene,
        rasterio.Env(GDAL_CACHEMAX=min(MAX_CACHE_BYTES, scene.row_bytes(window_px))),
    ):
        grid = window_grid(scene.grid_width_px, scene.grid_height_px, window_px, overlap_px)
        area = None if aoi is None else read_area(aoi, scene)
        todo = np.ones(len(grid), np.bool_) if area is None else area.reached(grid, scene)
        total = int(todo.sum())
        # neither batch nor skip_damaged: who ran out of memory or into a damaged block may go on with another
        settings = {
            "scene": files_fingerprint(scene.files),
            "gsd_m": scene.grid_gsd_m,
            "pixels": str(scene.rule),
            "window_px": window_px,
            "overlap_px": overlap_px,
            "iou_threshold": iou_threshold,
            "rival_iou": rival_iou,
            "aoi": None if area is None else area.sha256,
        }
        kept = None if journal is None else Journal(journal, {**settings, **(detector or {})})
        run = _Run(detect, SeamMerger(iou_threshold, rival_iou), (batch, window_px, window_px, 3), kept)
        if kept is not None:
            for finished in kept.read():
                run.resume(grid, finished)
                todo[[*finished.found, *finished.blank]] = False
        resumed = run.windows_run + run.windows_blank
        if on_open is not None:
            on_open(scene, resumed, total)
        with closing(read_ahead(scene, grid, todo, 2 * batch, skip_damaged)) as reads:
            for done, read in enumerate(reads, start=1 + resumed):
                run.take(read)
                if on_progress is not None:
                    on_progress(done, total)
        run.finish()
        detections = _to_scene(run.merger.result(), scene.grid_to_scene)
        return SceneResult(
            scene=scene.name,
            width_px=scene.width_px,
            height_px=scene.height_px,
            detections=detections if area is None else detections.select(area.holds(detections, scene)),
            georeference=scene.georeference,
            gsd_m=scene.grid_gsd_m,
            pixels=str(scene.rule),
            windows_run=run.windows_run,
            windows_blank=run.windows_blank,
            windows_outside=len(grid) - total,
            windows_resumed=resumed,
            damaged=tuple(run.damaged),
            warnings=scene.warnings if total else (*scene.warnings, f"{scene.name}: lies outside {aoi}"),
            seconds=time.perf_counter() - started,
            seconds_detecting=run.seconds_detecting,
        )


class _Run:
    """Gathers windows into batches of one shape, has them looked at, and hands the boxes to merger and journal."""

    def __init__(
        self, detect: Detect, merger: SeamMerger, shape: tuple[int, int, int, int], journal: Journal | None
    ) -> None:
        self.merger = merger
        self.windows_run = self.windows_blank = 0
        self.damaged: list[str] = []
        self.seconds_detecting = 0.0
        self._detect = detect
        self._shape = shape
        self._journal = journal
        self._waiting: list[tuple[int, Window, NDArray[np.uint8], NDArray[np.bool_]]] = []
        self._blank: list[int] = []

    def resume(self, grid: Grid, finished: Finished) -> None:
        """Takes what an earlier run has finished, instead of running it."""
        for index, detections in finished.found.items():
            self.merger.add(grid[index], detections)
        self.windows_run += len(finished.found)
        self.windows_blank += len(finished.blank)

    def take(self, read: WindowRead) -> None:
        """Takes one window; the detector runs whenever a batch is full."""
        if read.damage is not None:
            self.damaged.append(read.damage)
        elif read.pixels is None:
            self.windows_blank += 1
            self._blank.append(read.index)
            if len(self._blank) == BLANKS_A_LINE:
                self._record({})
        else:
            self._waiting.append((read.index, read.window, *read.pixels))
            if len(self._waiting) == self._shape[0]:
                self._flush()

    def finish(self) -> None:
        """Runs the detector on what is waiting."""
        if self._waiting:
            self._flush()
        elif self._blank:
            self._record({})

    def _flush(self) -> None:
        images = np.zeros(self._shape, np.uint8)
        for image, (_, window, rgb, _) in zip(images, self._waiting, strict=False):
            image[: window.height_px, : window.width_px] = rgb
        started = time.perf_counter()
        found = self._detect(images)
        self.seconds_detecting += time.perf_counter() - started
        if len(found) != len(images):
            raise ValueError(f"the detector gave {len(found)} results for {len(images)} windows")
        kept: dict[int, Detections] = {}
        for (index, window, rgb, valid), detections in zip(self._waiting, found, strict=False):
            kept[index] = _visible(detections, rgb, valid)
            self.merger.add(window, kept[index])
        self.windows_run += len(kept)
        self._waiting.clear()
        self._record(kept)

    def _record(self, found: dict[int, Detections]) -> None:
        if self._journal is not None:
            self._journal.append(Finished(found, self._blank))
        self._blank = []


def _visible(detections: Detections, rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> Detections:
    """Boxes clipped to the window, less those that have no area there, lie in nodata or show one value only."""
    height, width = valid.shape
    boxes = np.clip(detections.boxes_xyxy_px.astype(np.float64), 0, [width, height, width, height])
    clipped = Detections(boxes, detections.scores, detections.class_ids)
    clipped = clipped.select(area_px(boxes) > 0)
    return clipped.select(shows_something(rgb, valid, clipped.boxes_xyxy_px)) if len(clipped) else clipped


def _to_scene(detections: Detections, grid_to_scene: tuple[float, float]) -> Detections:
    scale = np.tile(np.array(grid_to_scene, dtype=np.float64), 2)
    return Detections(detections.boxes_xyxy_px * scale, detections.scores, detections.class_ids)
