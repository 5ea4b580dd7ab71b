"""What photographs look like as a whole: how bright, how rich in contrast, how sharp. Pure functions on arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

FAR = 3.0
"""So many times as bright, or so much less contrast, is another kind of picture, where a scene's tone has not mended it: from
there on detectors of ten examples find much less (measured: ``experiments/real_tasks``, "Tone")."""

BLURRED, GRAINY = 0.55, 1.8
"""Edges that are half as steep are blurred; steeper ones than any in the photographs of the same kind are noise."""

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue (ITU-R BT.601)."""

STEEP_PX, WIDE_PX = 1, 6
"""An edge is steep where most of what changes over six pixels changes over one."""

EDGES = 0.99
"""The part of all pixels that is not on the strongest edges."""

LOOK = "look"
"""Key of an origin of examples."""

LEAST_WINDOWS, MOST_WINDOWS = 3, 64
"""Of the examples' scenes. Fewer do not tell how sharp the rest is: a single mark may lie on nothing but lawn. More say no more."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Look(BaseModel):
    """The look of some photographs.

    Attributes:
        brightness: mean luminance, 0 to 255.
        contrast: standard deviation of the luminance in one window, mean over windows.
        sharpness: how much of the change over ``WIDE_PX`` is change over ``STEEP_PX``, on the strongest edges; None: of
            examples in too few windows to tell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    brightness: Positive
    contrast: Positive
    sharpness: Positive | None

    def unlike(self, shown: Look) -> list[str]:
        """How this differs from what a detector was shown, one phrase each; nothing where it hardly matters."""
        brighter = self.brightness / shown.brightness
        flatter = shown.contrast / self.contrast
        sharper = self.sharpness / shown.sharpness if self.sharpness and shown.sharpness else 1.0
        said: list[str] = []
        if brighter > FAR:
            said.append(f"it is {brighter:.1f} times as bright as the examples")
        if brighter < 1 / FAR:
            said.append(f"it is {1 / brighter:.1f} times as dark as the examples")
        if flatter > FAR:  # more contrast does no harm: land beside water has much more
            said.append(f"it has {flatter:.1f} times less contrast")
        if sharper < BLURRED:
            said.append(f"its edges are {1 / sharper:.1f} times less steep (blurred, or enlarged from larger pixels)")
        if sharper > GRAINY:
            said.append(f"its edges are {sharper:.1f} times as steep (noise, or sharpened)")
        return said


def look_of(windows: Iterable[tuple[NDArray[np.uint8], NDArray[np.bool_] | None]]) -> Look | None:
    """The look of windows, (H, W, 3) uint8 RGB, each with its validity (H, W) or None for all of it.

    Windows that are smaller than an edge is wide, mostly invalid, or of one colour say nothing; None if no other is there.
    """
    measured: list[tuple[float, float, float]] = []
    for rgb, valid in windows:
        if min(rgb.shape[:2]) <= WIDE_PX or (valid is not None and valid.mean() < 0.5):
            continue
        luminance = (rgb @ LUMINANCE).astype(np.int16)
        known = np.ones(luminance.shape, bool) if valid is None else valid
        wide = _steepness(luminance, known, WIDE_PX)
        if wide > 0:
            own = luminance[known]
            measured.append((float(own.mean()), float(own.std()), _steepness(luminance, known, STEEP_PX) / wide))
    if not measured:
        return None
    brightness, contrast, sharpness = np.mean(measured, axis=0).tolist()
    if min(brightness, contrast, sharpness) <= 0:
        return None
    return Look(brightness=round(brightness, 2), contrast=round(contrast, 2), sharpness=round(sharpness, 3))


def _steepness(luminance: NDArray[np.int16], known: NDArray[np.bool_], apart_px: int) -> float:
    """What the luminance changes over so many pixels, down or across, on the strongest edges between valid pixels."""
    changes = [
        np.abs(luminance[apart_px:] - luminance[:-apart_px])[known[apart_px:] & known[:-apart_px]],
        np.abs(luminance[:, apart_px:] - luminance[:, :-apart_px])[known[:, apart_px:] & known[:, :-apart_px]],
    ]
    every = np.concatenate(changes)
    return float(np.quantile(every, EDGES)) if len(every) else 0.0


def origin_of_look(windows: Iterable[tuple[NDArray[np.uint8], NDArray[np.bool_] | None]]) -> dict[str, Any]:
    """What a file is to say of the look of a class's examples."""
    looked_at = list(islice(windows, MOST_WINDOWS))
    look = look_of(looked_at)
    if look is None:
        return {}
    return {LOOK: look.model_dump() | ({"sharpness": None} if len(looked_at) < LEAST_WINDOWS else {})}


def looks_in(origins: Mapping[str, Mapping[str, Any]]) -> tuple[Look, ...]:
    """What files say of the looks of the examples of classes, each once."""
    known = [Look.model_validate(origin[LOOK]) for origin in origins.values() if origin.get(LOOK)]
    return tuple(dict.fromkeys(known))
