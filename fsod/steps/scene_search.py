"""One scene searched by a searcher, as the user planned it; nothing is written but the journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fsod.config import PredictSettings
from fsod.errors import UserError
from fsod.geo.resume import ResumeFrom
from fsod.geo.scene import Scene
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import OnOpen, OnProgress, SceneResult, predict_scene
from fsod.geo.window_order import Limit
from fsod.progress import progress_bar, warn
from fsod.steps.scene_fit import misfit, searched_otherwise
from fsod.steps.scene_sayings import announce
from fsod.steps.searcher import Searcher


def search_scene(
    scene: str,
    searcher: Searcher,
    plan: PredictSettings,
    *,
    journal: Path | None = None,
    on_open: OnOpen | None = None,
    on_progress: OnProgress | None = None,
    on_misfit: Callable[[list[str]], None] | None = None,
    driver: str | None = None,
    limit: Limit | None = None,
) -> SceneResult:
    """What a searcher finds in one scene, gone over as planned; nothing is written but the journal, see ``predict_scene``.

    ``on_misfit`` is told before the search how the scene differs from the examples; the result says so again.

    Raises:
        UserError: as ``predict_scene``; a journal that holds other classes than the searcher knows.
    """
    unlike: list[str] = []
    otherwise: list[str] = []

    def opened(own: Scene, resumed: int, windows: int) -> None:
        if on_open is not None:
            on_open(own, resumed, windows)
        otherwise.extend(searched_otherwise(own, searcher.gsd_m, searcher.enlargement))
        unlike.extend(misfit(own, searcher.gsd_m, searcher.enlargement, searcher.shown, searcher.looks))
        if on_misfit is not None:
            on_misfit(unlike)

    result = predict_scene(
        scene,
        searcher.detect,
        scene_plan(searcher, plan, driver),
        resume=None
        if journal is None
        else ResumeFrom(journal, _identity(searcher, plan), len(searcher.class_names), plan.restart),
        on_open=opened,
        on_progress=on_progress,
        search=searcher.search,
        limit=limit,
        glancer=searcher.glancer,
    )
    return replace(result, warnings=(*unlike, *result.warnings), unlike=tuple(unlike), as_learned=not otherwise)


def search_in_the_open(
    scene: str, searcher: Searcher, plan: PredictSettings, journal: Path, limit: Limit | None
) -> SceneResult:
    """``search_scene`` with a progress bar, which first says how the scene is read, and how it differs from the examples.

    Raises:
        UserError: besides, a scene without a CRS that is to be searched together with others; before any window is.
    """

    def opened(own: Scene, resumed: int, windows: int) -> None:
        if plan.together and own.georeference.crs is None:
            raise UserError(
                f"{scene}: has no coordinate system, so it cannot be searched --together with others; without it each "
                "scene has a layer of its own"
            )
        announce(own, resumed, windows)

    with progress_bar(f"{Path(scene).name}: windows", 0) as bar:
        return search_scene(
            scene, searcher, plan, journal=journal, on_open=opened, on_progress=bar.of, on_misfit=warn, limit=limit
        )


def scene_plan(searcher: Searcher, plan: PredictSettings, driver: str | None = None) -> ScenePlan:
    """How a scene is gone over: as the user says, else as the searcher's examples were seen."""
    return ScenePlan(
        window_px=searcher.window_px,
        overlap_px=plan.overlap_px,
        scales=plan.scales,
        reductions=searcher.reductions,
        batch=plan.batch,
        gsd_m=None if plan.native else plan.gsd_m or searcher.gsd_m,
        enlargement=1.0 if plan.native or plan.gsd_m else searcher.enlargement,
        bands=plan.bands,
        nodata=plan.nodata,
        like=searcher.shown,
        suppression=searcher.suppression,
        aoi=plan.aoi,
        aoi_layer=plan.aoi_layer,
        skip_damaged=plan.skip_damaged,
        driver=driver,
    )


def _identity(searcher: Searcher, plan: PredictSettings) -> dict[str, Any]:
    """What decides what is found in a window, for the journal; a run may go on with other threads or another device."""
    return {
        "weights": searcher.weights_sha256,
        "bank": searcher.bank_sha256,
        "score": plan.score,
        "suppression": searcher.suppression.model_dump(mode="json"),
        "precision": searcher.precision,
        "turns": plan.turns,
    }
