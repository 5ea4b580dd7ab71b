"""Steps on scenes: find a bank's classes in one scene or many."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fsod.config import PredictSettings
from fsod.draw import hatched, scene_preview, write_png
from fsod.errors import UserError
from fsod.geo.label_item import write_label_item
from fsod.geo.layer_files import ON_A_MAP, write_layer
from fsod.geo.qgis_style import write_style
from fsod.geo.scene import Scene
from fsod.geo.scene_list import kept_name, layer_paths, list_scenes, stac_sources
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_prediction import OnOpen, OnProgress, SceneResult, predict_scene
from fsod.geo.searched_area import STATUSES
from fsod.geo.searched_layer import PART_COLOURS, SearchedLayer, write_searched
from fsod.geo.stac_scenes import StacScene
from fsod.geo.window_order import Limit
from fsod.inference.infer import warm_up
from fsod.inference.ray_cluster import ray_cluster
from fsod.marks import class_colour
from fsod.progress import console, progress_bar, warn
from fsod.replacing import Output
from fsod.report.scene_report import write_overview
from fsod.steps.predict_outputs import (
    PICTURE_MARK,
    check_layers,
    check_together,
    journal_path,
    picture_path,
    together_paths,
)
from fsod.steps.predict_together import layer_of, write_together
from fsod.steps.scene_fit import misfit
from fsod.steps.scene_sayings import announce, how_far, nothing_found, what_was_missed
from fsod.steps.scene_turns import SceneTurns
from fsod.steps.searcher import Searcher, load_searcher, to_take_along

PREVIEW_PX = 2048


def predict_files(
    scenes: Sequence[str],
    checkpoint: Path | None,
    bank: Path,
    out: Path,
    plan: PredictSettings,
    others: Sequence[Output] = (),
) -> dict[str, Any]:
    """Finds a bank's classes in scenes with the bank's own weights; writes layers and, beside them, styles and pictures.

    What is there already is replaced only if fsod wrote it for the same output, see ``check_layers``.

    A scene that fails does not keep others from being searched. Beside an unfinished layer lies a journal (the layer's
    name with ``.journal``), from which the same command goes on. Journals of finished scenes stay until all are done,
    so that a command that was killed or failed on some does none of the others twice.

    Args:
        scenes: rasters, patterns or lists of them, see ``list_scenes``.
        checkpoint: the weights, where the bank says if None.
        bank: a class bank, or what ``fsod export`` made of one (.onnx).
        out: the layer to write, its extension says in which format; or a folder or a pattern, see ``layer_paths``.
        plan: how to go over the scenes.
        others: what else the command will write.

    Returns:
        Of one scene all about it; of several the sums, and as ``failed`` what went wrong with which.
    """
    if plan.minutes is not None and plan.budget is not None:
        raise UserError(
            f"--minutes {plan.minutes:g} and --budget {plan.budget:g} contradict each other; give one of them"
        )
    if plan.native and plan.gsd_m is not None:
        raise UserError(f"--native and --gsd-m {plan.gsd_m:g} contradict each other; give one of them")
    named = list_scenes(scenes, plan.asset)
    layers = together_paths(named, out) if plan.together else layer_paths(named, out)
    lists = [Path(scene.removeprefix("@")) for scene in scenes]
    inputs = [bank, checkpoint, plan.aoi, *lists]
    if plan.together:
        if plan.stac:
            raise UserError("--stac describes one scene; leave it out, or --together")
        check_together(layers, out, inputs, overwrite=plan.overwrite, others=others)
    else:
        check_layers(layers, inputs, overwrite=plan.overwrite, others=others, stac=plan.stac)
    sources = stac_sources(scenes, plan.asset) if plan.stac else {}
    searcher = load_searcher(bank, checkpoint, plan)
    if plan.engine == "ray":
        with ray_cluster(to_take_along(bank, checkpoint, searcher, plan)) as cluster:
            machine = f"Ray, {cluster.workers} workers, {searcher.precision}"
            searcher = replace(searcher, machine=machine, search=cluster.search)
            return _predict_all(layers, searcher, plan, sources, out, cluster.map, cluster.at_once)
    warm_up(searcher.detect, plan.batch, searcher.window_px)
    return _predict_all(layers, searcher, plan, sources, out)


def _predict_all(
    layers: dict[str, Path],
    searcher: Searcher,
    plan: PredictSettings,
    sources: Mapping[str, StacScene],
    out: Path,
    each: Callable[..., Iterator[Any]] = map,
    at_once: int = 1,
) -> dict[str, Any]:
    """The same for a searcher; ``sources`` are the items of scenes; ``each`` does as ``map``, with ``at_once`` scenes."""
    console.print(
        f"predict: {searcher.machine}, {len(searcher.class_names)} classes, windows of {searcher.window_px} px"
    )

    turns = None if plan.minutes is None else SceneTurns(time.monotonic() + 60 * plan.minutes, len(layers), at_once)

    def attempt(scene: str) -> dict[str, Any] | SceneResult | Exception:
        limit = None if plan.budget in (None, 1) else Limit(share=plan.budget)
        if turns is not None:
            limit = Limit(ends=turns.next())
        try:
            if plan.together:
                return _searched_scene(scene, searcher, layers[scene], plan, limit)
            return _predict_file(scene, searcher, layers[scene], plan, sources.get(scene), limit)
        except (UserError, OSError) as error:
            return error
        except Exception as error:  # noqa: BLE001, whatever a library makes of one scene, the others are searched
            reason = " ".join(str(error).split())[:200]
            return UserError(
                f"{scene}: cannot be searched, by an error that fsod does not know: {type(error).__name__}: {reason}"
            )

    done: dict[str, dict[str, Any]] = {}
    results: dict[str, SceneResult] = {}
    failed: dict[str, str] = {}
    for scene, outcome in zip(layers, each(attempt, layers), strict=True):
        if isinstance(outcome, dict):
            done[scene] = outcome
        elif isinstance(outcome, SceneResult):
            results[scene] = outcome
        elif len(layers) == 1:
            raise outcome
        else:
            failed[scene] = str(outcome)
            console.print(f"failed: {outcome}")
    if plan.together:
        if failed:
            raise UserError(
                f"{out}: not written, as {len(failed)} of {len(layers)} scenes failed: {', '.join(failed)}; leave them out, or "
                "mend them and give the same command again, which searches the others no second time"
            )
        joint = write_together(results, searcher, out)
    # a search of a part goes on from its journal when the same command may search more
    left = [result["windows_left"] for result in done.values()] + [result.windows_left for result in results.values()]
    if not failed and not any(left):
        for layer in layers.values():
            journal_path(layer).unlink(missing_ok=True)
    if plan.together:
        return joint
    return _sums(done, failed, searcher) if len(layers) > 1 else done[scene]


def _sums(done: dict[str, dict[str, Any]], failed: dict[str, str], searcher: Searcher) -> dict[str, Any]:
    found: Counter[str] = Counter(dict.fromkeys(searcher.class_names, 0))
    for result in done.values():
        found.update(result["found"])
    added = (
        "windows_run",
        "windows_blank",
        "windows_outside",
        "windows_resumed",
        "windows_left",
        "windows_glanced",
        "seconds",
        "seconds_detecting",
    )
    return {
        "layers": {scene: result["layer"] for scene, result in done.items()},
        "failed": failed,
        "searched": {scene: result["searched"] for scene, result in done.items()},
        "found": dict(found),
        **{key: sum(result[key] for result in done.values()) for key in added},
        "damaged": [window for result in done.values() for window in result["damaged"]],
        "warnings": [warning for result in done.values() for warning in result["warnings"]],
        "machine": searcher.machine,
    }


def _search_told(
    scene: str,
    searcher: Searcher,
    plan: PredictSettings,
    journal: Path,
    on_progress: OnProgress,
    limit: Limit | None,
) -> SceneResult:
    """``search_scene``, which first says how the scene is read, and how it differs from the examples."""
    told: list[str] = []

    def on_open(opened: Scene, resumed: int, windows: int) -> None:
        announce(opened, resumed, windows)
        told.extend(misfit(opened, searcher.gsd_m, searcher.enlargement, searcher.shown))
        warn(told)

    result = search_scene(scene, searcher, plan, journal, on_open, on_progress, limit=limit)
    return replace(result, warnings=(*told, *result.warnings), told=tuple(told))


def _searched_scene(
    scene: str, searcher: Searcher, layer: Path, plan: PredictSettings, limit: Limit | None
) -> SceneResult:
    """Searches one scene; the journal stays, by the name of a layer that is not written."""
    journal = journal_path(layer)
    if plan.restart:
        journal.unlink(missing_ok=True)
    with progress_bar(f"{Path(scene).name}: windows", 0) as bar:
        result = _search_told(scene, searcher, plan, journal, bar.of, limit)
    if result.georeference.crs is None:
        raise UserError(f"{scene}: has no place on the ground, so it cannot be searched --together with others")
    return result


def _predict_file(
    scene: str,
    searcher: Searcher,
    out: Path,
    plan: PredictSettings,
    source: StacScene | None,
    limit: Limit | None,
) -> dict[str, Any]:
    """Searches one scene and writes all that belongs to it; the journal stays."""
    names = searcher.class_names
    journal = journal_path(out)
    if plan.restart:
        journal.unlink(missing_ok=True)
    with progress_bar(f"{Path(scene).name}: windows", 0) as bar:
        result = _search_told(scene, searcher, plan, journal, bar.of, limit)
    layer = layer_of(result, searcher)
    write_layer(out, layer)
    if plan.stac:
        if source is None or not source.item:
            write_label_item(out, layer, kept_name(scene), None)
        else:
            write_label_item(out, layer, source.item, source.asset)
    found = [names[c] for c in result.detections.class_ids]
    counts = {name: found.count(name) for name in names}
    searched = SearchedLayer(result.area, result.georeference, layer.scene, layer.attributes)
    searched = replace(searched, attributes={**layer.attributes, **what_was_missed(searched.said, searcher, counts)})
    write_searched(out, searched)
    if out.suffix.lower() in ON_A_MAP:
        write_style(out.with_suffix(".qml"), {name: class_colour(i) for i, name in enumerate(names)})
    picture, unseen = _write_preview(result, plan, searcher, out, searched)
    warnings = [*result.warnings, *nothing_found(result, searcher), *unseen]
    warn([warning for warning in warnings if warning not in result.told])
    if result.windows_left:
        console.print(how_far(result))
    return {
        "layer": str(out),
        "preview": picture,
        "found": counts,
        "scores": {name: round(score, 4) for name, score in zip(names, searcher.scores, strict=True)},
        "searched": searched.attributes["summary"],
        "parts": {status: round(result.area.share(status), 6) for status in result.area.parts_px},
        "windows_run": result.windows_run,
        "windows_blank": result.windows_blank,
        "windows_outside": result.windows_outside,
        "windows_resumed": result.windows_resumed,
        "windows_left": result.windows_left,
        "windows_glanced": result.windows_glanced,
        "damaged": list(result.damaged),
        "warnings": warnings,
        "gsd_m": result.gsd_m,
        "seconds": result.seconds,
        "seconds_detecting": result.seconds_detecting,
        "machine": searcher.machine,
    }


def search_scene(
    scene: str,
    searcher: Searcher,
    plan: PredictSettings,
    journal: Path | None = None,
    on_open: OnOpen | None = None,
    on_progress: OnProgress | None = None,
    driver: str | None = None,
    limit: Limit | None = None,
) -> SceneResult:
    """What a searcher finds in one scene, gone over as planned; nothing is written but the journal, see ``predict_scene``.

    Raises:
        UserError: as ``predict_scene``; a journal that holds other classes than the searcher knows.
    """
    return predict_scene(
        scene,
        searcher.detect,
        driver=driver,
        window_px=searcher.window_px,
        overlap_px=plan.overlap_px,
        scales=plan.scales,
        batch=plan.batch,
        gsd_m=None if plan.native else plan.gsd_m or searcher.gsd_m,
        enlargement=1.0 if plan.native or plan.gsd_m else searcher.enlargement,
        bands=plan.bands,
        nodata=plan.nodata,
        like=searcher.shown,
        aoi=plan.aoi,
        aoi_layer=plan.aoi_layer,
        skip_damaged=plan.skip_damaged,
        iou_threshold=searcher.suppression.nms_iou,
        rival_iou=searcher.suppression.rival_iou,
        journal=journal,
        detector=_identity(searcher, plan),
        classes=len(searcher.class_names),
        on_open=on_open,
        on_progress=on_progress,
        search=searcher.search,
        limit=limit,
        glance_detect=searcher.glance_detect,
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


def _write_preview(
    result: SceneResult, plan: PredictSettings, searcher: Searcher, out: Path, searched: SearchedLayer
) -> tuple[str | None, list[str]]:
    """Draws what was found over the whole scene, and the scene without it for the report, beside the layer ``out``.

    What was not searched is hatched in both.

    A scene that is damaged may have no such pictures, and then says so.
    """
    try:
        with open_scene(
            result.scene, bands=plan.bands, nodata=plan.nodata, like=searcher.shown, north_up=False
        ) as scene:
            rgb, _ = scene.read_reduced(PREVIEW_PX)
    except UserError as error:
        return None, [f"no picture: {error}"]
    scale, names = rgb.shape[1] / result.width_px, list(searcher.class_names)
    rgb = hatched(rgb, result.area.drawn(rgb.shape[:2]), [PART_COLOURS[status] for status in STATUSES[1:]])
    parts = [
        (PART_COLOURS[status], f"{status} {result.area.share(status):.1%}")
        for status in result.area.parts_px
        if status in PART_COLOURS
    ]
    told = [
        (str(searched.attributes["summary"]), ""),
        *((text, "#{:02x}{:02x}{:02x}".format(*colour)) for colour, text in parts),
    ]
    write_overview(out, rgb, (result.width_px, result.height_px), names, told)
    path = picture_path(out)
    write_png(path, scene_preview(rgb, result.detections, scale, names, parts, searched.said), PICTURE_MARK)
    return str(path), []
