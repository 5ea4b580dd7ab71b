"""The outlines that families are made of: each function is one motif, and its name is the motif's name.

A shape lies in the object's own frame: x runs along the object's length, y across it, in object lengths, with the
origin in the middle. Every argument is a plain number, so that a family can give it a range.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


class Facet(NamedTuple):
    """One filled outline.

    Attributes:
        points: (n, 2) float64, closed, x and y in object lengths.
        facing_rad: direction in which a sloped facet looks down, in the object's frame; NaN for a flat one.
        sunk: how far the facet is moved along the shadows, in object lengths: the lit floor of a basin.
    """

    points: Points
    facing_rad: float = float("nan")
    sunk: float = 0.0


@lru_cache(maxsize=64)
def _circle(sides: int) -> Points:
    angle = np.arange(sides) * (2 * np.pi / sides)
    points = np.stack([np.cos(angle), np.sin(angle)], 1)
    points.setflags(write=False)
    return points


@lru_cache(maxsize=64)
def _unit_arc(start_rad: float, end_rad: float, steps: int) -> Points:
    angle = np.linspace(start_rad, end_rad, steps)
    points = np.stack([np.cos(angle), np.sin(angle)], 1)
    points.setflags(write=False)
    return points


def _arc(radius: float, start_rad: float, end_rad: float, steps: int = 10) -> Points:
    return radius * _unit_arc(start_rad, end_rad, steps)


def _shifted(points: Points, x: float, y: float = 0.0) -> Points:
    return points + np.array([x, y])


def _rectangle(length: float, width: float) -> Points:
    x, y = length / 2, width / 2
    return np.array([[-x, -y], [x, -y], [x, y], [-x, y]])


def _band(outer: Points, inner: Points) -> Points:
    # one outline out of two, joined by a seam of no width: filling by the even-odd rule leaves the inside open
    return np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])


def _stadium(length: float, width: float) -> Points:
    radius = width / 2
    middle = max(length / 2 - radius, 0.0)
    right, left = _arc(radius, -np.pi / 2, np.pi / 2), _arc(radius, np.pi / 2, 3 * np.pi / 2)
    return np.concatenate([_shifted(right, middle), _shifted(left, -middle)])


def bar(length: float, width: float, taper: float = 1.0) -> list[Facet]:
    """A rectangle; ``taper`` is the width of its front end over that of its back end."""
    points = _rectangle(length, width)
    points[1:3, 1] *= taper
    return [Facet(points)]


def disc(length: float, width: float, sunk: float = 0.0) -> list[Facet]:
    """An ellipse."""
    return [Facet(_circle(28) * (length / 2, width / 2), sunk=sunk)]


def ring(length: float, width: float, thickness: float) -> list[Facet]:
    """An elliptic ring."""
    outer = _circle(28) * (length / 2, width / 2)
    return [Facet(_band(outer, outer * (1 - 2 * thickness / length, 1 - 2 * thickness / width)))]


def capsule(length: float, width: float) -> list[Facet]:
    """A bar with round ends."""
    return [Facet(_stadium(length, width))]


def lane(length: float, width: float, thickness: float) -> list[Facet]:
    """A running lane: the outline of a bar with round ends."""
    return [Facet(_band(_stadium(length, width), _stadium(length - 2 * thickness, width - 2 * thickness)))]


def frame(length: float, width: float, thickness: float) -> list[Facet]:
    """The outline of a rectangle."""
    return [Facet(_band(_rectangle(length, width), _rectangle(length - 2 * thickness, width - 2 * thickness)))]


def polygon(length: float, width: float, sides: float) -> list[Facet]:
    """A regular polygon, stretched; ``sides`` is rounded."""
    return [Facet(_circle(round(sides)) * (length / 2, width / 2))]


def star(length: float, points: float, depth: float) -> list[Facet]:
    """A star; ``points`` is rounded, ``depth`` (0..1) is how far the notches reach to the middle."""
    outline = _circle(2 * round(points)) * (length / 2)
    outline[1::2] *= 1 - depth
    return [Facet(outline)]


def ell(length: float, width: float, arm: float) -> list[Facet]:
    """An L: two arms, each ``arm`` wide."""
    x, y = length / 2, width / 2
    return [Facet(np.array([[-x, -y], [x, -y], [x, arm - y], [arm - x, arm - y], [arm - x, y], [-x, y]]))]


def horseshoe(length: float, width: float, arm: float) -> list[Facet]:
    """A U, open to the front: three arms, each ``arm`` wide."""
    x, y = length / 2, width / 2
    inside = [[x, arm - y], [arm - x, arm - y], [arm - x, y - arm], [x, y - arm]]
    return [Facet(np.array([[-x, -y], [x, -y], *inside, [x, y], [-x, y]]))]


def hull(length: float, beam: float, bow: float, stern: float) -> list[Facet]:
    """A ship's outline: a pointed bow that takes the share ``bow`` of the length, a stern of ``stern`` beams."""
    x, y, shoulder = length / 2, beam / 2, length * (0.5 - bow)
    side = np.array(
        [[-x, y * stern], [-x + 0.1 * length, y], [shoulder, y], [(shoulder + x) / 2, 0.72 * y], [0.95 * x, 0.2 * y]]
    )
    return [Facet(np.concatenate([side, [[x, 0]], side[::-1] * (1, -1)]))]


def fuselage(length: float, width: float, nose: float, tail: float) -> list[Facet]:
    """A body with a round nose and a tapering tail; ``nose`` and ``tail`` are shares of the length."""
    x, y = length / 2, width / 2
    front = _shifted(_arc(1.0, 0, np.pi / 2, 6) * (nose * length, y), x - nose * length)
    side = np.concatenate([front, [[tail * length - x, y], [-x, 0.25 * y]]])
    return [Facet(np.concatenate([side, side[::-1] * (1, -1)]))]


def swept_wing(span: float, root: float, tip: float, sweep: float) -> list[Facet]:
    """A pair of wings: chords ``root`` and ``tip``, the tips ``sweep`` behind the root."""
    side = np.array([[root / 2, 0], [tip / 2 - sweep, span / 2], [-tip / 2 - sweep, span / 2], [-root / 2, 0]])
    return [Facet(np.concatenate([side, side[1:3][::-1] * (1, -1)]))]


def blade(length: float, width: float, tip: float) -> list[Facet]:
    """A spoke that leaves the middle along x and narrows from ``width`` to ``tip``."""
    swell = [[0.2 * length, width / 2], [length, tip / 2], [length, -tip / 2], [0.2 * length, -width / 2]]
    return [Facet(np.array([[0, width / 4], *swell, [0, -width / 4]]))]


def diamond(radius: float, angle_deg: float) -> list[Facet]:
    """A wedge of a ball field: its point at the left end, opening to the right."""
    half = np.deg2rad(angle_deg) / 2
    return [Facet(_shifted(np.concatenate([[[0.0, 0.0]], _arc(radius, -half, half, 12)]), -radius / 2))]


def arc(radius: float, angle_deg: float, thickness: float) -> list[Facet]:
    """A bent line, symmetric about x."""
    half = np.deg2rad(angle_deg) / 2
    outer, inner = _arc(radius, -half, half), _arc(radius - thickness, half, -half)
    return [Facet(np.concatenate([outer, inner]))]


def court(length: float, width: float, line: float, service: float, alley: float) -> list[Facet]:
    """Tennis lines: outline, single side lines ``alley`` inside it, service lines, centre line and net."""
    inner = width - 2 * alley
    lines = [_shifted(_rectangle(length, line), 0, y) for y in (inner / 2, -inner / 2)]
    lines += [_shifted(_rectangle(line, inner), x) for x in (service, -service)]
    lines += [_rectangle(2 * service, line), _rectangle(line, width * 1.06)]
    return [*frame(length, width, line), *(Facet(points) for points in lines)]


def key(length: float, width: float, line: float, depth: float, lane_width: float) -> list[Facet]:
    """Basketball lines: outline, halfway line and circle, a key and a three-point arc at both ends."""
    lines = [*frame(length, width, line), Facet(_rectangle(line, width)), *ring(0.2 * width, 0.2 * width, line)]
    ends = [_shifted(part.points, depth / 2) for part in frame(depth, lane_width, line)]
    ends += [part.points for part in arc(0.44 * width, 180, line)]
    return lines + [Facet(_shifted(points, -length / 2) * (side, 1)) for points in ends for side in (1, -1)]


def dome(length: float, width: float, facets: float) -> list[Facet]:
    """A cone or dome seen from above: slices that look outwards, so that one side is lit."""
    n = round(facets)
    rim = _circle(n) * (length / 2, width / 2)
    return [
        Facet(np.array([[0.0, 0.0], rim[i], rim[(i + 1) % n]]), facing_rad=(i + 0.5) * 2 * np.pi / n) for i in range(n)
    ]


def gable(length: float, width: float) -> list[Facet]:
    """A pitched roof: two halves that look to either side of the ridge."""
    half = _rectangle(length, width / 2)
    return [Facet(_shifted(half, 0, width / 4), np.pi / 2), Facet(_shifted(half, 0, -width / 4), -np.pi / 2)]


def blob(length: float, width: float, lobes: float, depth: float, phase: float) -> list[Facet]:
    """A soft, irregular outline; ``phase`` (radians) makes another one of the same kind."""
    return [Facet(_lobed(lobes, depth, phase) * (length / 2, width / 2))]


def tufts(length: float, width: float, count: float, phase: float) -> list[Facet]:
    """Small mounds spread over a round body, each lit as the slope that it stands on: leaves of a crown."""
    n = round(count)
    facets = []
    for i in range(n):
        # a sunflower's seeds: even, and in no rows
        angle, reach = i * 2.39996 + phase, np.sqrt((i + 0.5) / n) * 0.8
        place = reach * np.array([np.cos(angle), np.sin(angle)])
        size = 0.75 / np.sqrt(n) * (1 + 0.4 * np.sin(5 * angle + 3 * phase))
        facets.append(Facet((size * _circle(7) + place) * (length / 2, width / 2), float(angle)))
    return facets


def basin(length: float, width: float, rim: float, floor: float, facets: float) -> list[Facet]:
    """A crater: a rim of width ``rim`` that falls off outwards, walls that fall off inwards, a flat floor."""
    n = round(facets)
    scale = np.array([length / 2, width / 2])
    outer, crest, inner = (_circle(n) * (k * scale) for k in (1.0, 1 - rim, floor))
    sides = []
    for high, low, inwards in ((outer, crest, 0.0), (crest, inner, np.pi)):
        for i in range(n):
            j = (i + 1) % n
            sides.append(Facet(np.array([high[i], high[j], low[j], low[i]]), (i + 0.5) * 2 * np.pi / n + inwards))
    return [*sides, Facet(inner)]


def _lobed(lobes: float, depth: float, phase: float) -> Points:
    angle = np.arange(36) * (2 * np.pi / 36)
    n = round(lobes)
    waves = np.sin(n * angle + phase) + 0.7 * np.sin((n + 2) * angle + 2.3 * phase) + 0.6 * np.sin(2 * angle - phase)
    radius = 1 + depth * waves / 2.3
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
