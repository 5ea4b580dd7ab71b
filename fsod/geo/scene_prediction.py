"""Runs a detector over a scene, window by window, and merges what it finds.

Windows are read ahead of the network. At no time are more than a few windows in memory. What a detector is, this file
does not know: a function from a batch of windows to boxes.

With a journal a killed run goes on. Finished windows are left out, the rest come in the same order, and so in the same
batches as in an undisturbed run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from fsod.boxes import Detections
from fsod.geo.area import Area, read_area
from fsod.geo.georeference import Georeference
from fsod.geo.glance import Glancer, glance
from fsod.geo.journal import Glance, Journal, files_fingerprint
from fsod.geo.passes import make_passes
from fsod.geo.read_ahead import Reading
from fsod.geo.resume import ResumeFrom
from fsod.geo.scene import Scene
from fsod.geo.scene_plan import USUAL_PLAN, ScenePlan
from fsod.geo.search import Detect, Search, search_windows
from fsod.geo.search_tally import Tally
from fsod.geo.searched_area import SearchedArea, searched_area
from fsod.geo.upright import Upright
from fsod.geo.window_order import Limit, all_windows, likeliest_windows

OnProgress = Callable[[int, int], None]
"""Called with windows done and windows in all."""

OnOpen = Callable[[Scene, int, int], None]
"""Called before the first window with the open scene, windows that an earlier run has finished, and windows in all."""

NO_GLANCE = "too little time or budget for a look at the whole scene; windows were taken evenly spread over it, not likeliest first"

MAX_CACHE_BYTES = 512 * 2**20
"""The most that GDAL may keep of decoded blocks, enough for a row of windows of a scene 250,000 px wide; GDAL's own limit
is a share of the machine's memory, whatever that is. In bytes: rasterio does not know GDAL's MB."""


@dataclass(frozen=True)
class SceneResult:
    """What came out of a scene.

    Attributes:
        scene: its path.
        started: when its search began (UTC, ISO 8601): of a run that was killed and went on, the first time.
        width_px: columns of the file.
        height_px: rows of the file.
        detections: boxes in the file's own pixels, float64.
        georeference: where these pixels lie.
        upright: the way to these pixels from those of the scene as it was seen.
        gsd_m: ground size of the pixels that the network saw, None when unknown.
        pixels: how raw pixels became what the network saw, in words.
        windows_run: windows the network saw.
        windows_blank: windows skipped because they show nothing.
        windows_outside: windows skipped because they lie outside the area of interest.
        windows_resumed: windows run or blank that an earlier, killed run had finished.
        windows_left: windows that were not reached when the search ended.
        windows_glanced: windows that the first look took, of an earlier run or this one; 0 where there was none.
        damaged: windows skipped because they could not be read, one message each.
        warnings: what the user should know, one line each.
        seconds: wall time of everything.
        seconds_detecting: of it, waiting for the detector.
        area: what became of every part of the scene.
        missed: the best score of windows in which nothing was found, and its class id; None where the detector does not say.
        unlike: those of ``warnings`` that say how it differs from the examples.
        as_learned: it was searched at the size that the classes were learned at; else nobody knows how many are missed.
        overview: see ``Scene``.
    """

    scene: str
    started: str
    width_px: int
    height_px: int
    detections: Detections
    georeference: Georeference
    upright: Upright
    gsd_m: float | None
    pixels: str
    windows_run: int
    windows_blank: int
    windows_outside: int
    windows_resumed: int
    windows_left: int
    windows_glanced: int
    damaged: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float
    seconds_detecting: float
    area: SearchedArea
    missed: tuple[float, int] | None = None
    unlike: tuple[str, ...] = ()
    as_learned: bool = True
    overview: NDArray[np.uint8] | None = None

    @property
    def windows_asked(self) -> int:
        """Those that were to be looked at, whatever became of them."""
        return self.windows_run + self.windows_blank + self.windows_left + len(self.damaged)


def predict_scene(
    path: str | Path,
    detect: Detect,
    plan: ScenePlan = USUAL_PLAN,
    *,
    resume: ResumeFrom | None = None,
    on_open: OnOpen | None = None,
    on_progress: OnProgress | None = None,
    search: Search = search_windows,
    limit: Limit | None = None,
    glancer: Glancer | None = None,
) -> SceneResult:
    """Detections of a whole scene, each object once.

    Args:
        path: anything that ``open_scene`` opens.
        detect: the detector; called with up to ``plan.batch`` windows of ``plan.window_px`` squared. Those of a smaller scene
            are as large as it, padded with 0 at the right and bottom to multiples of 32.
        plan: how the scene is gone over.
        resume: where what is finished is kept, and gone on from if it is there.
        on_open: told before the first window.
        on_progress: told after each batch.
        search: where and how windows are looked at; here, if not told otherwise.
        limit: how much of the scene may be looked at, likeliest windows first; all of it row by row, if not told otherwise.
        glancer: makes the first look that says which are likely, see ``glance``; ``detect`` if None.

    Raises:
        UserError: the scene cannot be read, or a setting does not fit; see ``open_scene`` and ``make_passes``; a journal
            of another run.
    """
    clock, now = time.perf_counter(), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    with ExitStack() as stack, rasterio.Env(GDAL_CACHEMAX=MAX_CACHE_BYTES), plan.open(path) as scene:
        passes = make_passes(scene, plan.window_px, plan.overlap_px, plan.scales, plan.reductions)
        area = None if plan.aoi is None else read_area(plan.aoi, scene, plan.aoi_layer)
        todo = np.concatenate(
            [np.ones(len(p.grid), np.bool_) if area is None else area.reached(p.grid, p.scene) for p in passes]
        )
        asked = todo.copy()
        total = int(todo.sum())
        remarks = [] if total or area is None else [f"{scene.name}: lies outside {plan.aoi}{area.doubt}"]
        made = sum(one.class_ids == passes[0].class_ids for one in passes[1:])  # others are for some classes alone
        if made < len(plan.scales):
            unused = ",".join(f"{factor:g}" for factor in plan.scales[made:])
            remarks.append(f"{scene.name}: --scales {unused} has no effect, as a single window sees all of it before")
        tally, kept = Tally.at_first(passes, todo), None
        if resume is not None:
            settings = {**_what_is_searched(scene, plan, area), **resume.detector}
            kept = Journal(resume.journal, settings, now)
            stack.enter_context(kept.held())
            resume.take_up(kept, passes, tally, todo)
        resumed = tally.done
        if on_open is not None:
            on_open(scene, resumed, total)
        seen = None
        if limit is None:
            turns = all_windows(passes, todo)
        else:
            first = passes[0]
            at_full = Reading(
                scene, first.grid, (), plan.batch, plan.window_px, plan.skip_damaged, class_ids=first.class_ids or None
            )
            if todo.any():
                seen = _first_look(kept, lambda: glance(at_full, glancer or Glancer(detect), area, limit, total))
            turns = likeliest_windows(passes, asked, todo, limit, seen)
        for turn in turns:
            one = turn.one
            ends = None if limit is None else limit.ends
            reading = Reading(
                one.scene, one.grid, turn.indices, plan.batch, plan.window_px, plan.skip_damaged, ends, one.class_ids
            )
            row_bytes = one.scene.row_bytes(plan.window_px)
            with (
                # windows that come row by row find the blocks of the row; others profit from whatever is there
                rasterio.Env(GDAL_CACHEMAX=min(MAX_CACHE_BYTES, row_bytes) if limit is None else MAX_CACHE_BYTES),
                closing(search(reading, detect)) as searches,
            ):
                for searched in map(one.numbered, searches):
                    tally.take(searched)
                    if kept is not None:
                        kept.append(searched.finished)
                    if on_progress is not None:
                        on_progress(tally.done, total)
        if limit is not None and seen is None and tally.done < total and todo.any():
            remarks.append(f"{scene.name}: {NO_GLANCE}")
        merged = tally.merged(plan.suppression.nms_iou, plan.suppression.rival_iou)
        detections = merged.scaled(*scene.grid_to_scene)
        if area is not None:
            detections = detections.select(area.holds(detections, scene))
        return SceneResult(
            scene=scene.name,
            started=now if kept is None else kept.started,
            width_px=scene.file_size_px[0],
            height_px=scene.file_size_px[1],
            detections=_in_file(detections, scene),
            georeference=scene.file_georeference,
            upright=scene.upright,
            gsd_m=scene.grid_gsd_m,
            pixels=scene.pixels,
            windows_run=tally.windows_run,
            windows_blank=tally.windows_blank,
            windows_outside=len(todo) - total,
            windows_resumed=resumed,
            windows_left=total - tally.done,
            windows_glanced=0 if seen is None else seen.windows,
            damaged=tuple(tally.damaged),
            warnings=(*scene.warnings, *remarks),
            seconds=time.perf_counter() - clock,
            seconds_detecting=tally.seconds_detecting,
            area=searched_area(
                scene,
                passes[0].grid,
                tally.statuses,
                tally.gaps,
                None if area is None else area.in_pixels(scene),
            ),
            missed=tally.missed,
            overview=scene.overview,
        )


def _what_is_searched(scene: Scene, plan: ScenePlan, area: Area | None) -> dict[str, Any]:
    """What a journal must be about to be gone on with.

    Neither batch nor skip_damaged: who ran out of memory or into a damaged block may go on with another.
    """
    return {
        "scene": files_fingerprint(scene.files),
        "gsd_m": scene.grid_gsd_m,
        "grid_px": [scene.grid_width_px, scene.grid_height_px],
        "pixels": str(scene.rule),
        "nodata": scene.nodata,
        "window_px": plan.window_px,
        "overlap_px": plan.overlap_px,
        "scales": plan.scales,
        "reductions": plan.reductions,
        "iou_threshold": plan.suppression.nms_iou,
        "rival_iou": plan.suppression.rival_iou,
        "aoi": None if area is None else area.sha256,
    }


def _first_look(kept: Journal | None, look: Callable[[], Glance | None]) -> Glance | None:
    """What an earlier run's look said, or one that is made, and noted, now."""
    if kept is None:
        return look()
    if kept.glance is None and (seen := look()) is not None:
        kept.append_glance(seen)
        kept.glance = seen
    return kept.glance


def _in_file(detections: Detections, scene: Scene) -> Detections:
    return Detections(scene.upright.boxes_in_file(detections.boxes_xyxy_px), detections.scores, detections.class_ids)
