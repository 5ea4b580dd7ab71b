"""Whether a scene is like the examples that it is searched for, as far as their files tell; said before the search."""

from __future__ import annotations

from collections.abc import Sequence

from fsod.band_rule import BandRule
from fsod.geo.sampled_squares import sampled_squares
from fsod.geo.scene import Scene
from fsod.image_look import Look, look_of

OTHER_GSD = 1.5
"""Pixels that are this many times as large show another amount of detail."""


def misfit(
    scene: Scene, gsd_m: float | None, enlargement: float, shown: Sequence[BandRule], looks: Sequence[Look]
) -> list[str]:
    """One line on how a scene differs from the examples and what to do, or nothing.

    Args:
        scene: about to be searched.
        gsd_m: ground size of a pixel that scenes are searched at; None: not known.
        enlargement: how many times as large the examples were seen as their scenes show them.
        shown: what they were shown in.
        looks: of their scenes, at the size that they were seen at; like one of them is like the examples.
    """
    differences = [*_of_gsd(scene, gsd_m, enlargement), *_of_bands(scene, shown), *_of_look(scene, looks)]
    if not differences:
        return []
    return [f"{scene.name}: {'; '.join(differences)}; less may be found: add examples from a scene like this one"]


def _of_gsd(scene: Scene, gsd_m: float | None, enlargement: float) -> list[str]:
    own_m, seen_m = scene.georeference.gsd_m, scene.grid_gsd_m
    if own_m is None or seen_m is None or gsd_m is None:
        return []
    examples_m = gsd_m * enlargement
    sizes = f"its pixels are {own_m:.3g} m, those of the examples {examples_m:.3g} m"
    if own_m > OTHER_GSD * examples_m:
        return [f"{sizes}, so details are missing"]
    # finer ones lose nothing where they are resampled
    return [f"{sizes}, so objects are seen larger"] if gsd_m > OTHER_GSD * seen_m else []


def _of_bands(scene: Scene, shown: Sequence[BandRule]) -> list[str]:
    counts = sorted({rule.count for rule in shown})
    # where the bands of the examples are not there, the scene's own warning says so
    if not counts or scene.shown.count in counts or scene.shown.bands not in {rule.bands for rule in shown}:
        return []
    return [
        f"it has {scene.shown.count} band{'s' * (scene.shown.count > 1)}, the examples' {' or '.join(map(str, counts))}"
    ]


def _of_look(scene: Scene, looks: Sequence[Look]) -> list[str]:
    own = look_of(sampled_squares(scene)) if looks else None
    return [] if own is None else min((own.unlike(shown) for shown in looks), key=len)
