"""Steps on scenes: find a bank's classes in one scene or many."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fsod.config import PredictSettings
from fsod.errors import UserError
from fsod.geo.scene_list import layer_paths, list_scenes, stac_sources
from fsod.geo.scene_prediction import SceneResult
from fsod.geo.stac_scenes import StacScene
from fsod.geo.window_order import Limit
from fsod.inference.infer import warm_up
from fsod.inference.ray_cluster import ray_cluster
from fsod.progress import console
from fsod.replacing import Output
from fsod.steps.predict_alone import write_alone
from fsod.steps.predict_outputs import check_layers, check_together, journal_path, together_paths
from fsod.steps.predict_together import write_together
from fsod.steps.scene_search import search_in_the_open
from fsod.steps.scene_turns import SceneTurns
from fsod.steps.searcher import Searcher, load_searcher, to_take_along


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
            return predict_all(layers, searcher, plan, sources, out, cluster.map, cluster.at_once)
    warm_up(searcher.detect, plan.batch, searcher.window_px)
    return predict_all(layers, searcher, plan, sources, out)


def predict_all(
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
            result = search_in_the_open(scene, searcher, plan, journal_path(layers[scene]), limit)
            if len(layers) == 1 and plan.aoi is not None and not result.windows_asked:
                journal_path(layers[scene]).unlink(missing_ok=True)
                raise UserError(f"{'; '.join(result.warnings)}; nothing was searched or written")
            if not plan.together:
                return write_alone(result, searcher, layers[scene], plan, sources.get(scene))
            return result
        except (UserError, OSError) as error:
            return error
        except Exception as error:  # noqa: BLE001, whatever a library makes of one scene, the others are searched
            reason = " ".join(str(error).split())[:200]
            return UserError(
                f"{scene}: cannot be searched, because of an unexpected error: {type(error).__name__}: {reason}"
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
                "fix them and run the same command again; the others are not searched twice"
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
