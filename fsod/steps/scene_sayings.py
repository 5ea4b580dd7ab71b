"""What ``fsod predict`` says of a scene, before it is searched and after."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from math import floor

from fsod.config import PredictSettings
from fsod.evidence import Evidence
from fsod.geo.georeference import PIXELS_ONLY
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import GSD_UNKNOWN
from fsod.geo.scene_prediction import SceneResult
from fsod.progress import console
from fsod.steps.searcher import Searcher

LEAST_SCORE = 0.005
"""The least one that --score takes."""

NOT_AS_LEARNED = (
    "what would have been missed is unknown, as objects were not seen at the size that they were learned at"
)


def announce(scene: Scene, resumed: int, windows: int) -> None:
    """One line on how a scene is read, before the work begins."""
    own_m, gsd_m = scene.file_georeference.gsd_m, scene.grid_gsd_m
    width, height = scene.file_size_px
    parts = [f"{width}x{height} px"]
    resampled = {scene.grid_width_px, scene.grid_height_px} != {width, height}
    if own_m is not None and gsd_m is not None:
        parts.append(f"of {own_m:.3g} m resampled to {gsd_m:.3g} m" if resampled else f"of {own_m:.3g} m")
    elif resampled:
        parts.append(f"seen {scene.grid_width_px / scene.width_px:.3g} times as large")
    parts.append(scene.pixels)
    parts.append(f"goes on after {resumed} of {windows} windows" if resumed else f"{windows} windows")
    console.print(f"{scene.name}: {', '.join(parts)}")


def of_pixels(said: Iterable[str], plan: PredictSettings) -> list[str]:
    """What to know of pixels without a file: that they have no coordinate system goes without saying, and so does what follows."""
    obvious = (PIXELS_ONLY,) if plan.gsd_m else (PIXELS_ONLY, GSD_UNKNOWN)
    return [one for one in said if not any(part in one for part in obvious)]


def how_far(result: SceneResult) -> str:
    """How much of a scene was searched, where that is not all."""
    done = result.windows_run + result.windows_blank + len(result.damaged)
    order = "likeliest first" if result.windows_glanced else "evenly spread"
    return f"{result.scene}: searched {done / (done + result.windows_left):.0%} of the windows, {order}"


def say_how_far(result: SceneResult) -> None:
    """The same, and how the command goes on."""
    if result.windows_left:
        more = "With more of --minutes or --budget the same command goes on"
        console.print(f"{how_far(result)}; the rest is 'not reached' in the layer. {more}")


def what_was_missed(
    searched: str, searcher: Searcher, counts: dict[str, int], results: Collection[SceneResult]
) -> dict[str, str]:
    """What was searched and found, and what would have been missed: in words, and as JSON for programs.

    Where nothing was searched, everything would have been, unless there is nothing to be seen. What is known of a search at
    the size that the classes were learned at says nothing of another one.
    """
    areas = [result.area for result in results]
    any_searched = any(area.any_searched for area in areas)
    as_learned = all(result.as_learned for result in results)
    known = {
        name: searcher.known.get(name, Evidence()) if any_searched and as_learned else Evidence()
        for name in searcher.class_names
    }
    scores = dict(zip(searcher.class_names, searcher.scores, strict=True))
    numbers = {name: {"found": counts[name], **own.numbers(scores[name])} for name, own in known.items()}
    alike: dict[str, list[str]] = {}  # what is said of a class -> how many were found of each that it holds for
    for name, own in known.items():
        count = f"{f'{name}: ' if len(known) > 1 else ''}{counts[name]}"
        alike.setdefault(own.said(scores[name]) if as_learned else NOT_AS_LEARNED, []).append(count)
    words = [f"{', '.join(found)} found; {said}" for said, found in alike.items()]
    if not any_searched:
        empty = all(area.is_empty for area in areas)
        words = ["there is nothing to be seen" if empty else "so whatever is there was missed"]
    return {"summary": "; ".join([searched, *words]), "classes": json.dumps(numbers, ensure_ascii=False)}


def nothing_found(result: SceneResult, searcher: Searcher) -> list[str]:
    """What a user should know of a scene in which nothing was found."""
    looked_at = result.windows_run
    if len(result.detections) or not looked_at + result.windows_blank:
        return []
    if not looked_at:
        return [f"{result.scene}: nothing found, as all of its {result.windows_blank} windows are empty"]
    said = f"{result.scene}: nothing found in {looked_at} window{'s' if looked_at > 1 else ''}"
    if result.missed is None:
        return [said]
    score, class_id = result.missed
    name, least = searcher.class_names[class_id], searcher.scores[class_id]
    said += f"; the best score is {score:.3g}, of {name}, which is shown from {least:.3g} on"
    # a window's best may be a part of what another window sees whole, with a lower score
    return [f"{said} (try --score {lower:g})" if (lower := floor(90 * score) / 100) >= LEAST_SCORE else said]
