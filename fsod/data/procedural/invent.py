"""Invented classes: families drawn from the grammar, thousands of them."""

from __future__ import annotations

import colorsys

import numpy as np

from fsod.data.procedural import shapes as s
from fsod.data.procedural.grammar import Arrangement, Colour, Family, Motif, Palette, Range, Shape

MATERIALS = 4
_ARRANGEMENTS: tuple[Arrangement, ...] = ("alone", "alone", "row", "cluster")
_PALETTES = (2, 3, 10)  # colours that a class comes in: with ten of them only its shape tells it
_COUNTS = frozenset({"sides", "points", "facets"})

# what gives each named class away: leave these out to keep invented classes from resembling it
TELLTALE: dict[str, frozenset[str]] = {
    "aircraft": frozenset({"swept_wing", "fuselage"}),
    "storage_tank": frozenset({"dome", "disc"}),
    "tennis_court": frozenset({"court"}),
    "basketball_court": frozenset({"key"}),
    "baseball_diamond": frozenset({"diamond"}),
    "ship": frozenset({"hull"}),
    "track_field": frozenset({"lane", "capsule"}),
    "wind_turbine": frozenset({"blade"}),
    "roundabout": frozenset({"ring"}),
    "helipad": frozenset({"ring"}),
}

# shapes that can be a whole object; the ranges are those of families, an object strays little from its family's value
_BODIES: tuple[tuple[Shape, dict[str, Range]], ...] = (
    (s.bar, {"length": (1, 1), "width": (0.15, 0.95), "taper": (0.35, 1)}),
    (s.disc, {"length": (1, 1), "width": (0.35, 1)}),
    (s.ring, {"length": (1, 1), "width": (0.5, 1), "thickness": (0.08, 0.18)}),
    (s.capsule, {"length": (1, 1), "width": (0.2, 0.7)}),
    (s.frame, {"length": (1, 1), "width": (0.45, 0.95), "thickness": (0.07, 0.16)}),
    (s.polygon, {"length": (1, 1), "width": (0.4, 1), "sides": (3, 8)}),
    (s.star, {"length": (1, 1), "points": (4, 9), "depth": (0.2, 0.6)}),
    (s.ell, {"length": (1, 1), "width": (0.5, 1), "arm": (0.18, 0.36)}),
    (s.horseshoe, {"length": (1, 1), "width": (0.5, 1), "arm": (0.12, 0.22)}),
    (s.hull, {"length": (1, 1), "beam": (0.15, 0.5), "bow": (0.15, 0.45), "stern": (0.4, 1)}),
    (s.fuselage, {"length": (1, 1), "width": (0.1, 0.3), "nose": (0.08, 0.3), "tail": (0.2, 0.5)}),
    (s.diamond, {"radius": (0.8, 1), "angle_deg": (50, 130)}),
    (s.gable, {"length": (1, 1), "width": (0.3, 0.9)}),
    (s.dome, {"length": (1, 1), "width": (0.6, 1), "facets": (6, 14)}),
    (s.lane, {"length": (1, 1), "width": (0.3, 0.7), "thickness": (0.06, 0.12)}),
)

_DECKS: tuple[tuple[Shape, dict[str, Range]], ...] = (
    (s.bar, {"length": (0.2, 0.6), "width": (0.08, 0.3)}),
    (s.disc, {"length": (0.15, 0.5), "width": (0.12, 0.4)}),
    (s.polygon, {"length": (0.2, 0.5), "width": (0.15, 0.4), "sides": (3, 8)}),
    (s.capsule, {"length": (0.3, 0.7), "width": (0.08, 0.2)}),
    (s.gable, {"length": (0.2, 0.6), "width": (0.12, 0.4)}),
    (s.dome, {"length": (0.2, 0.45), "width": (0.2, 0.45), "facets": (6, 12)}),
    (s.star, {"length": (0.2, 0.45), "points": (4, 7), "depth": (0.2, 0.6)}),
    (s.ell, {"length": (0.25, 0.5), "width": (0.2, 0.4), "arm": (0.07, 0.12)}),
)

_LINES: tuple[tuple[Shape, dict[str, Range]], ...] = (
    (
        s.court,
        {
            "length": (0.55, 0.75),
            "width": (0.25, 0.4),
            "line": (0.014, 0.02),
            "service": (0.12, 0.22),
            "alley": (0.03, 0.06),
        },
    ),
    (
        s.key,
        {
            "length": (0.7, 0.9),
            "width": (0.35, 0.5),
            "line": (0.015, 0.02),
            "depth": (0.14, 0.22),
            "lane_width": (0.12, 0.2),
        },
    ),
    (s.ring, {"length": (0.25, 0.6), "width": (0.25, 0.5), "thickness": (0.02, 0.06)}),
    (s.frame, {"length": (0.3, 0.7), "width": (0.2, 0.45), "thickness": (0.02, 0.05)}),
    (s.lane, {"length": (0.4, 0.8), "width": (0.15, 0.4), "thickness": (0.02, 0.04)}),
    (s.arc, {"radius": (0.2, 0.45), "angle_deg": (60, 200), "thickness": (0.02, 0.05)}),
)


def random_family(rng: np.random.Generator, without: frozenset[str] = frozenset()) -> Family:
    """Invents a class: one design, two, three or ten palettes, a size and a way of standing together.

    Args:
        rng: source of every choice.
        without: names of motifs (functions of ``shapes``) that must not occur, for example a set of ``TELLTALE``.

    Raises:
        ValueError: a name is not a motif, or no body is left to build on.
    """
    known = motif_names()
    if without - known:
        raise ValueError(f"no motif {min(without - known)!r}; the motifs are {', '.join(sorted(known))}")
    design: list[Motif] = [_pick(rng, _BODIES, without, colour=0, top=_height(rng))]
    half = _half_width(design[0])
    for i in rng.permutation(len(_ADDITIONS))[: int(rng.integers(1, 5))]:
        design += _ADDITIONS[i](rng, half)
    design = [item for item in design if item.name not in without]
    low, stray = float(rng.uniform(14, 52)), float(rng.uniform(0.03, 0.15))
    return Family(
        name=f"invented-{rng.integers(1 << 48):012x}",
        designs=(tuple(design),),
        palettes=tuple(_palette(rng) for _ in range(int(rng.choice(_PALETTES)))),
        size_m=(low, low * float(rng.uniform(1.2, 1.7))),
        aspect=(1 - stray, 1 + stray),
        arrangement=_ARRANGEMENTS[int(rng.integers(len(_ARRANGEMENTS)))],
        pad=_colour(rng, 0.25) if rng.random() < 0.3 else None,
        opacity=1.0 if rng.random() < 0.6 else float(rng.uniform(0.5, 0.9)),
    )


def motif_names() -> frozenset[str]:
    """Names of all motifs that ``random_family`` builds with."""
    tables = (*_BODIES, *_DECKS, *_LINES)
    return frozenset(shape.__name__ for shape, _ in tables) | {"swept_wing", "blade"}


def _decks(rng: np.random.Generator, half_width: float) -> list[Motif]:
    """One or two smaller bodies on top, in the middle or along the axis."""
    count = int(rng.integers(1, 3))
    places = rng.uniform(-0.3, 0.3, count) * (rng.random(count) < 0.6)
    return [_pick(rng, _DECKS, frozenset(), colour=_material(rng), top=_height(rng), x=x) for x in places]


def _wings(rng: np.random.Generator, half_width: float) -> list[Motif]:
    ranges = {"span": (0.5, 1.4), "root": (0.12, 0.4), "tip": (0.04, 0.25), "sweep": (-0.15, 0.35), "x": (-0.4, 0.3)}
    return [Motif(s.swept_wing, _narrow(rng, ranges), _material(rng, 0), top=_height(rng))]


def _spokes(rng: np.random.Generator, half_width: float) -> list[Motif]:
    ranges = {"length": (0.4, 0.75), "width": (0.06, 0.2), "tip": (0.03, 0.16)}
    fold = int(rng.integers(3, 9))
    return [Motif(s.blade, _narrow(rng, ranges), _material(rng, 0), top=_height(rng), fold=fold)]


def _side_pieces(rng: np.random.Generator, half_width: float) -> list[Motif]:
    """Bars or discs that stick out on both sides."""
    place = (0.8 * half_width, 1.1 * half_width)
    ranges = {"length": (0.1, 0.5), "width": (0.08, 0.2), "x": (-0.2, 0.2), "y": place}
    return [Motif(_bar_or_disc(rng), _narrow(rng, ranges), _material(rng), top=_height(rng), mirror=True)]


def _row(rng: np.random.Generator, half_width: float) -> list[Motif]:
    """Equal pieces in a row along the axis."""
    count = int(rng.integers(3, 7))
    step = 0.95 / count
    ranges = {"length": (0.4 * step, 0.8 * step), "width": (0.4 * half_width, 1.6 * half_width), "step_x": (step, step)}
    return [Motif(_bar_or_disc(rng), _narrow(rng, ranges), _material(rng), top=_height(rng), copies=(count, count))]


def _stripes(rng: np.random.Generator, half_width: float) -> list[Motif]:
    count = int(rng.integers(1, 5))
    turn = float(rng.choice([0.0, np.pi / 4, np.pi / 2]))
    ranges = {"length": (0.03, 0.1), "width": (half_width, 1.8 * half_width)}
    ranges |= {"x": (-0.2, 0.2), "step_x": (0.12, 0.2), "turn": (turn, turn)}
    return [Motif(s.bar, _narrow(rng, ranges), _material(rng), copies=(count, count))]


def _dots(rng: np.random.Generator, half_width: float) -> list[Motif]:
    """Dots on a circle."""
    size = float(rng.uniform(0.06, 0.13))
    ranges = {"length": (size, size), "width": (size, size), "x": (0.5 * half_width, 0.8 * half_width)}
    return [Motif(s.disc, _narrow(rng, ranges), _material(rng), fold=int(rng.integers(3, 8)))]


def _half_width(body: Motif) -> float:
    measures = {name: low for name, (low, _) in body.ranges}
    return 0.5 * measures.get("width", measures.get("beam", 0.6))


def _bar_or_disc(rng: np.random.Generator) -> Shape:
    return s.bar if rng.random() < 0.6 else s.disc


def _material(rng: np.random.Generator, lowest: int = 1) -> int:
    return int(rng.integers(lowest, MATERIALS))


def _markings(rng: np.random.Generator, half_width: float) -> list[Motif]:
    return [_pick(rng, _LINES, frozenset(), colour=MATERIALS - 1)]


_ADDITIONS = (_decks, _wings, _spokes, _side_pieces, _row, _stripes, _dots, _markings)


def _pick(
    rng: np.random.Generator,
    table: tuple[tuple[Shape, dict[str, Range]], ...],
    without: frozenset[str],
    *,
    colour: int,
    top: float = 0.0,
    x: float = 0.0,
) -> Motif:
    allowed = [entry for entry in table if entry[0].__name__ not in without]
    if not allowed:
        raise ValueError(f"every body is left out by {sorted(without)}")
    shape, ranges = allowed[int(rng.integers(len(allowed)))]
    return Motif(shape, (*_narrow(rng, ranges), ("x", (x, x))), colour, top=top)


def _narrow(rng: np.random.Generator, ranges: dict[str, Range]) -> tuple[tuple[str, Range], ...]:
    """A family's own ranges: a value drawn from the grammar's range, and five per cent either way."""
    chosen: list[tuple[str, Range]] = []
    for name, (low, high) in ranges.items():
        value = float(rng.uniform(low, high))
        if name in _COUNTS:
            value = float(round(value))
        stray = 0.0 if low == high or name in _COUNTS else 0.05 * abs(value)
        chosen.append((name, (round(value - stray, 4), round(value + stray, 4))))
    return tuple(chosen)


def _height(rng: np.random.Generator) -> float:
    return round(float(rng.uniform(0.05, 0.4)), 2) if rng.random() < 0.5 else 0.0


def _palette(rng: np.random.Generator) -> Palette:
    """A body colour, and others that stand out from it by brightness, much or little."""
    body, contrast = _colour(rng, 0.5), rng.uniform(50, 140)
    others: list[Colour] = []
    while len(others) < MATERIALS - 1:
        other = _colour(rng, 0.6)
        if abs(sum(other) - sum(body)) > contrast:
            others.append(other)
    return (body, *others)


def _colour(rng: np.random.Generator, most_saturated: float) -> Colour:
    hue, saturation, value = rng.random(), rng.random() ** 2.5 * most_saturated, rng.uniform(0.15, 0.97)
    red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue
