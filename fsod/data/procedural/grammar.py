"""What an object family is, and how one object of it is drawn by lot.

A family is a class: it says which motifs its objects are made of, within which ranges their measures lie, and what
colours, sizes and surroundings they have. An instance is one object with every measure fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fsod.data.procedural.shapes import Facet

Colour = tuple[int, int, int]
Palette = tuple[Colour, ...]
Range = tuple[float, float]
Shape = Callable[..., list[Facet]]

_MIRROR = np.array([1.0, -1.0])

Setting = Literal["land", "water", "shore", "stream"]
Arrangement = Literal["alone", "row", "cluster"]


@dataclass(frozen=True)
class Motif:
    """One motif of a family: a shape with ranges for its measures, and how it is repeated.

    Attributes:
        shape: a function of ``shapes``.
        ranges: the shape's arguments, each with its lowest and highest value. Beside the shape's own arguments, ``x``
            and ``y`` place it (object lengths), ``turn`` turns it (radians) and ``step_x``, ``step_y`` lie between
            repeated copies; each is 0 unless given.
        colour: position in the family's palettes.
        base: height of its underside above the ground, in object lengths; it only matters for the shadow.
        top: height of its upper side; 0 casts no shadow.
        mirror: draw it again on the other side of the x axis.
        copies: lowest and highest number of copies in a row, centred on the motif's place.
        fold: number of copies turned about the object's middle.
    """

    shape: Shape
    ranges: tuple[tuple[str, Range], ...]
    colour: int = 0
    base: float = 0.0
    top: float = 0.0
    mirror: bool = False
    copies: tuple[int, int] = (1, 1)
    fold: int = 1

    @property
    def name(self) -> str:
        """The shape's name, by which ``random_family`` leaves motifs out."""
        return self.shape.__name__


Design = tuple[Motif, ...]


@dataclass(frozen=True)
class Family:
    """A class of objects as seen from above. Hashable and picklable.

    Attributes:
        name: class name.
        designs: the types that the class comes in, each a tuple of motifs, the lowest first.
        palettes: colours (8-bit RGB) by position; an instance takes one palette and strays a little from it.
        size_m: length of the object frame's unit on the ground.
        aspect: factor on the width.
        setting: where its objects stand. "shore" ones start on land and reach into the water; "stream" ones span one.
        arrangement: how its objects stand together.
        pad: colour of the paved or bare patch under a group, if it has one.
        colour_spread: standard deviation of the 8-bit colours about the palette.
        opacity: share of its own colour; the rest is the ground it lies on, as with worn markings and bare soil.
    """

    name: str
    designs: tuple[Design, ...]
    palettes: tuple[Palette, ...]
    size_m: Range
    aspect: Range = (1.0, 1.0)
    setting: Setting = "land"
    arrangement: Arrangement = "alone"
    pad: Colour | None = None
    colour_spread: float = 9.0
    opacity: float = 1.0

    def motif_names(self) -> frozenset[str]:
        """Names of all motifs in any of its designs."""
        return frozenset(motif.name for design in self.designs for motif in design)


@dataclass(frozen=True)
class Style:
    """What objects of one group have in common: type, palette and size."""

    design: int
    palette: int
    size_m: float


@dataclass(frozen=True)
class Instance:
    """One object, in its own frame (object lengths), ready to be turned, scaled and painted.

    Attributes:
        points: (n, 2) float64, all outlines one after the other.
        counts: (facets,) int, how many points each outline has.
        colours: (facets, 3) float64, 8-bit RGB.
        facing_rad: (facets,) float64, see ``shapes.Facet``.
        sunk: (facets,) float64, see ``shapes.Facet``.
        heights: (facets, 2) float64, underside and upper side in object lengths.
        size_m: object length on the ground.
        opacity: see ``Family``.
    """

    points: NDArray[np.float64]
    counts: NDArray[np.intp]
    colours: NDArray[np.float64]
    facing_rad: NDArray[np.float64]
    sunk: NDArray[np.float64]
    heights: NDArray[np.float64]
    size_m: float
    opacity: float = 1.0


def motif(
    shape: Shape,
    colour: int = 0,
    *,
    base: float = 0.0,
    top: float = 0.0,
    mirror: bool = False,
    copies: int | tuple[int, int] = 1,
    fold: int = 1,
    **ranges: float | Range,
) -> Motif:
    """A motif whose ranges are written as keyword arguments; a plain number is a range of one value."""
    spans = tuple((key, value if isinstance(value, tuple) else (value, value)) for key, value in ranges.items())
    several = copies if isinstance(copies, tuple) else (copies, copies)
    return Motif(shape, spans, colour, base, top, mirror, several, fold)


def sample_style(rng: np.random.Generator, family: Family) -> Style:
    """Draws what a group of objects has in common."""
    return Style(
        design=int(rng.integers(len(family.designs))),
        palette=int(rng.integers(len(family.palettes))),
        size_m=float(rng.uniform(*family.size_m)),
    )


def sample_instance(rng: np.random.Generator, family: Family, style: Style | None = None) -> Instance:
    """Draws one object of a family, of the given style or of one drawn for it alone."""
    style = style or sample_style(rng, family)
    design = family.designs[style.design]
    palette = np.array(family.palettes[style.palette], dtype=np.float64)
    # paint fades and dirties as a whole; hues of one material stray less than its brightness
    palette = palette + family.colour_spread * rng.standard_normal((len(palette), 1))
    palette = palette + 0.4 * family.colour_spread * rng.standard_normal(palette.shape)

    outlines: list[NDArray[np.float64]] = []
    facets: list[tuple[float, float, float, float, int]] = []
    for item in design:
        for facet in build_motif(rng, item):
            outlines.append(facet.points)
            facets.append((facet.facing_rad, facet.sunk, item.base, item.top, item.colour))
    table = np.array(facets)
    return Instance(
        points=np.concatenate(outlines) * (1.0, float(rng.uniform(*family.aspect))),
        counts=np.array([len(outline) for outline in outlines]),
        colours=np.clip(palette[table[:, 4].astype(np.intp)], 0, 255),
        facing_rad=table[:, 0],
        sunk=table[:, 1],
        heights=table[:, 2:4],
        size_m=style.size_m * float(rng.uniform(0.95, 1.05)),
        opacity=family.opacity,
    )


def build_motif(rng: np.random.Generator, item: Motif) -> list[Facet]:
    """Draws the facets of one motif: shaped, turned, placed, then repeated along a row, mirrored and folded."""
    draws = rng.random(len(item.ranges))
    values = {key: low + (high - low) * float(u) for (key, (low, high)), u in zip(item.ranges, draws, strict=True)}
    turn, x, y = values.pop("turn", 0.0), values.pop("x", 0.0), values.pop("y", 0.0)
    step_x, step_y = values.pop("step_x", 0.0), values.pop("step_y", 0.0)
    facets = item.shape(**values)
    if turn:
        facets = _turned(facets, turn)
    low, high = item.copies
    count = low if low == high else int(rng.integers(low, high + 1))
    if count > 1 or x or y:
        places = [np.array([x + step_x * i, y + step_y * i]) for i in np.arange(count) - (count - 1) / 2]
        facets = [Facet(points + place, facing, sunk) for place in places for points, facing, sunk in facets]
    if item.mirror:
        facets = facets + [Facet(points * _MIRROR, -facing, sunk) for points, facing, sunk in facets]
    if item.fold > 1:
        facets = [facet for i in range(item.fold) for facet in _turned(facets, i * 2 * np.pi / item.fold)]
    return facets


def _turned(facets: list[Facet], angle_rad: float) -> list[Facet]:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    matrix = np.array([[cos, sin], [-sin, cos]])
    return [Facet(points @ matrix, facing + angle_rad, sunk) for points, facing, sunk in facets]
