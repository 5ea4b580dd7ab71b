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
    """What makes a scene unlike the examples, and what to do, at most one line for options and one for the scene itself.

    Args:
        scene: about to be searched.
        gsd_m: ground size of a pixel that scenes are searched at; None: not known.
        enlargement: how many times as large the examples were seen as their scenes show them.
        shown: what they were shown in.
        looks: of their scenes, at the size that they were seen at; like one of them is like the examples.
    """
    otherwise = searched_otherwise(scene, gsd_m, enlargement)
    differences = [*_of_gsd(scene, gsd_m, enlargement), *_of_bands(scene, shown)]
    if not otherwise:  # at another size everything looks otherwise
        differences += _of_look(scene, looks)
    if not differences:
        return otherwise
    return [
        *otherwise,
        f"{scene.name}: {'; '.join(differences)}; less may be found: add examples from a scene like this one",
    ]


def _of_gsd(scene: Scene, gsd_m: float | None, enlargement: float) -> list[str]:
    """Pixels of the scene itself: finer ones than the examples' lose nothing where they are resampled."""
    own_m, examples_m = scene.georeference.gsd_m, None if gsd_m is None else gsd_m * enlargement
    if own_m is None or examples_m is None or own_m <= OTHER_GSD * examples_m:
        return []
    return [f"its pixels are {own_m:.3g} m, those of the examples {examples_m:.3g} m, so details are missing"]


def searched_otherwise(scene: Scene, gsd_m: float | None, enlargement: float) -> list[str]:
    """One line where an option has a scene searched at another size than its classes were learned at, or nothing."""
    seen_m, times = scene.grid_gsd_m, scene.grid_width_px / scene.width_px
    if seen_m is not None and gsd_m is not None:
        larger = gsd_m / seen_m
        sizes = f"at {seen_m:.3g} m per pixel, and the classes were learned at {gsd_m:.3g} m"
    elif seen_m is None and gsd_m is None:
        larger = times / enlargement
        sizes = f"{times:.3g} times as large as it is, and the examples were {enlargement:.3g} times"
    else:
        return []
    if 1 / OTHER_GSD <= larger <= OTHER_GSD:
        return []
    size = "larger" if larger > 1 else "smaller"
    so = f"so objects are seen {size}, and how many are missed is not known; leave out --native and --gsd-m"
    return [f"{scene.name}: is searched {sizes}, {so}"]


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
