"""Invented classes without corners: crowns, bushes, boulders, animals, craters."""

from __future__ import annotations

import colorsys

import numpy as np

from fsod.data.procedural import shapes as s
from fsod.data.procedural.grammar import Design, Family, Palette, motif

_ANY = (0.0, 2 * np.pi)


def natural_family(rng: np.random.Generator) -> Family:
    """Invents a class of soft outline, every object of which is shaped a little differently.

    Args:
        rng: source of every choice.
    """
    kind = rng.integers(3)
    design = (_crown, _boulder, _crater)[kind](rng)
    low = float(rng.uniform(8, 40))
    return Family(
        name=f"natural-{rng.integers(1 << 48):012x}",
        designs=(design,),
        palettes=tuple(_palette(rng) for _ in range(int(rng.integers(1, 4)))),
        size_m=(low, low * float(rng.uniform(1.2, 2.2))),
        aspect=(0.85, 1.15),
        arrangement=("alone", "cluster", "cluster")[int(rng.integers(3))],
        colour_spread=12.0,
        opacity=float(rng.uniform(0.55, 0.95)) if kind == 2 or rng.random() < 0.3 else 1.0,
    )


def _crown(rng: np.random.Generator) -> Design:
    """A body of leaves in two tones, lit from one side, with a long shadow."""
    width, lobes, depth = float(rng.uniform(0.7, 1)), float(rng.integers(3, 8)), float(rng.uniform(0.05, 0.22))
    count = int(rng.integers(5, 24))
    height = float(rng.uniform(0.15, 0.9))
    body = motif(s.blob, 0, top=height, length=1.0, width=width, lobes=lobes, depth=depth, phase=_ANY)
    light = motif(s.tufts, 1, length=0.9, width=0.9 * width, count=(count, count + 3), phase=_ANY)
    tip = motif(s.blob, 2, length=0.3, width=0.3, lobes=4, depth=0.2, phase=_ANY, x=(-0.1, 0.1), y=(-0.1, 0.1))
    return (body, light, tip)[: int(rng.integers(2, 4))]


def _boulder(rng: np.random.Generator) -> Design:
    """A lump with a lit and a dark side; drawn long it is an animal, with a head."""
    width, height = float(rng.uniform(0.3, 1)), float(rng.uniform(0.1, 0.5))
    body = motif(s.blob, 0, top=height, length=1.0, width=width, lobes=3, depth=(0.04, 0.14), phase=_ANY)
    ridge = motif(s.dome, 0, length=0.8, width=0.8 * width, facets=(5, 8), turn=(0.0, 1.0))
    head = motif(s.blob, 1, top=height, length=0.28, width=0.5 * width, lobes=3, depth=0.1, phase=_ANY, x=0.52)
    return (body, ridge, head) if width < 0.6 else (body, ridge)


def _crater(rng: np.random.Generator) -> Design:
    rim, floor = float(rng.uniform(0.08, 0.3)), float(rng.uniform(0.1, 0.6))
    hollow = motif(s.basin, 0, length=1.0, width=(0.85, 1.0), rim=rim, floor=floor, facets=(12, 16))
    heap = motif(s.dome, 1, length=0.2, width=0.2, facets=6)
    return (hollow, heap) if rng.random() < 0.25 else (hollow,)


def _palette(rng: np.random.Generator) -> Palette:
    """Three tones of one hue, as leaves, fur or rock have."""
    hue, saturation, value = rng.random(), float(rng.uniform(0, 0.55)), float(rng.uniform(0.15, 0.9))
    if rng.random() < 0.5:
        hue = rng.uniform(0.08, 0.4)  # soil to leaves
    step = float(rng.uniform(0.06, 0.3)) * (1 if value < 0.5 else -1)
    tones = []
    for i in range(3):
        red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, float(np.clip(value + i * step / 2, 0.05, 1)))
        tones.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(tones)
