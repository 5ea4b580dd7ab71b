"""Runs a detector over a scene, window by window, and merges what it finds.

Windows are read ahead of the network by one thread with a handle of its own. At no time are more than a few windows in
memory. What a detector is, this file does not know: a function from a batch of windows to boxes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from fsod.boxes import Detections, area_px
from fsod.errors import UserError
from fsod.geo.blank import is_blank, shows_something
from fsod.geo.georeference import Georeference
from fsod.geo.merge import SeamMerger
from fsod.geo.scene import Scene, open_scene
from fsod.geo.windows import Grid, Window, window_grid

Detect = Callable[[NDArray[np.uint8]], list[Detections]]
"""A batch of windows (B, H, W, 3) uint8 RGB, always of one shape, to one Detections per window in its pixel frame."""

OnProgress = Callable[[int, int], None]
"""Called with windows done and windows in all."""

CACHE_BYTES = 512 * 2**20
"""GDAL's cache of decoded blocks. It holds a row of windows of a scene 250,000 px wide, so that strips are decoded once;
GDAL's own default is a share of the machine's memory, whatever that is. In bytes: rasterio does not know GDAL's MB."""


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
    damaged: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float
    seconds_detecting: float


@dataclass(frozen=True)
class _Read:
    """A window's pixels, (h, w, 3) and (h, w); none where it is blank, or damaged, which then says how."""

    window: Window
    pixels: tuple[NDArray[np.uint8], NDArray[np.bool_]] | None
    damage: str | None = None


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
    skip_damaged: bool = False,
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
        skip_damaged: go on where pixels cannot be read, instead of stopping there; what the damaged window answers for
            is then missing, up to the seams with its neighbours.
        on_progress: told after each window.

    Raises:
        UserError: the scene cannot be read, or a setting does not fit; see ``open_scene`` and ``window_grid``.
    """
    started = time.perf_counter()
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), open_scene(path, gsd_m=gsd_m, bands=bands, stretch=stretch) as scene:
        grid = window_grid(scene.grid_width_px, scene.grid_height_px, window_px, overlap_px)
        run = _Run(detect, SeamMerger(iou_threshold), (batch, window_px, window_px, 3))
        with closing(_read_ahead(scene, grid, 2 * batch, skip_damaged)) as reads:
            for done, read in enumerate(reads, start=1):
                run.take(read)
                if on_progress is not None:
                    on_progress(done, len(grid))
        run.flush()
        return SceneResult(
            scene=scene.name,
            width_px=scene.width_px,
            height_px=scene.height_px,
            detections=_to_scene(run.merger.result(), scene.grid_to_scene),
            georeference=scene.georeference,
            gsd_m=scene.grid_gsd_m,
            pixels=str(scene.rule),
            windows_run=run.windows_run,
            windows_blank=run.windows_blank,
            damaged=tuple(run.damaged),
            warnings=scene.warnings,
            seconds=time.perf_counter() - started,
            seconds_detecting=run.seconds_detecting,
        )


class _Run:
    """Gathers windows into batches of one shape, has them looked at, and hands the boxes to the merger."""

    def __init__(self, detect: Detect, merger: SeamMerger, shape: tuple[int, int, int, int]) -> None:
        self.merger = merger
        self.windows_run = self.windows_blank = 0
        self.damaged: list[str] = []
        self.seconds_detecting = 0.0
        self._detect = detect
        self._shape = shape
        self._waiting: list[tuple[Window, NDArray[np.uint8], NDArray[np.bool_]]] = []

    def take(self, read: _Read) -> None:
        """Takes one window; the detector runs whenever a batch is full."""
        if read.damage is not None:
            self.damaged.append(read.damage)
        elif read.pixels is None:
            self.windows_blank += 1
        else:
            self._waiting.append((read.window, *read.pixels))
            if len(self._waiting) == self._shape[0]:
                self.flush()

    def flush(self) -> None:
        """Runs the detector on what is waiting."""
        if not self._waiting:
            return
        images = np.zeros(self._shape, np.uint8)
        for image, (window, rgb, _) in zip(images, self._waiting, strict=False):
            image[: window.height_px, : window.width_px] = rgb
        started = time.perf_counter()
        found = self._detect(images)
        self.seconds_detecting += time.perf_counter() - started
        if len(found) != len(images):
            raise ValueError(f"the detector gave {len(found)} results for {len(images)} windows")
        for (window, rgb, valid), detections in zip(self._waiting, found, strict=False):
            self.merger.add(window, _visible(detections, rgb, valid))
        self.windows_run += len(self._waiting)
        self._waiting.clear()


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


def _read_ahead(scene: Scene, grid: Grid, depth: int, skip_damaged: bool) -> Generator[_Read, None, None]:
    """The windows in order, ``depth`` of them read or being read while the caller is busy with an earlier one."""
    with scene.reopen() as own, ThreadPoolExecutor(1, "fsod-read") as thread:

        def read(window: Window) -> _Read:
            try:
                rgb, valid = own.read_window(window)
            except UserError as error:
                if not skip_damaged:
                    raise
                return _Read(window, None, str(error))
            return _Read(window, None if is_blank(rgb, valid) else (rgb, valid))

        pending: deque[Future[_Read]] = deque()
        try:
            for window in grid:
                pending.append(thread.submit(read, window))
                if len(pending) > depth:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)
