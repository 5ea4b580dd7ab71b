"""Scenes, examples and areas as a program hands them over: files, or arrays, pictures, boxes and polygons in pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fsod.band_rule import BandRule
from fsod.errors import UserError
from fsod.geo.raster_in_memory import IN_MEMORY, Pixels, raster_in_memory
from fsod.geo.scene_opening import open_scene
from fsod.steps.example_files import ExampleFiles, examples_among, examples_on_scenes
from fsod.steps.given_boxes import marks_given
from fsod.steps.mark_files import MarkFiles, Seen, marks_on_scenes
from fsod.steps.scene_marks import SceneMarks

File = str | Path
Scene = File | Pixels
"""A raster's path, URL or name of GDAL's own; an array; a picture of Pillow's."""


@contextmanager
def named(scene: Scene) -> Iterator[str]:
    """The name by which a scene can be opened, while the block runs; errors in it call an array an array."""
    if isinstance(scene, str | Path):
        yield str(scene)
    elif isinstance(scene, np.ndarray | Image.Image):
        with raster_in_memory(scene) as name:
            try:
                yield name
            except UserError as error:
                raise UserError(str(error).replace(name, IN_MEMORY)) from error
    else:
        raise UserError(f"a scene is a path, an array or a picture, not {type(scene).__name__}")


def examples_of(scene: Any, examples: Any, attribute: str, stack: ExitStack) -> ExampleFiles:  # noqa: ANN401, see Detector.enroll
    """Examples in files, or boxes in pixels, on one scene or several; these stay open until the stack ends."""
    names, given = _names(scene, stack), _listed(examples)
    if _are_files(given):
        return examples_on_scenes(names, MarkFiles(given, attribute=attribute))
    opened = [stack.enter_context(open_scene(name, toned=True)) for name in names]
    pairs = zip(opened, _for_each(given, names), strict=True)
    return examples_among([marks_given(*pair) for pair in pairs], opened)


def marks_of(
    scene: Any,  # noqa: ANN401, see Detector.finetune
    examples: Any,  # noqa: ANN401
    area: Any,  # noqa: ANN401
    attribute: str,
    stack: ExitStack,
    like: tuple[BandRule, ...],
) -> list[SceneMarks]:
    """What files, or boxes and polygons in pixels, say of one scene or several; these stay open until the stack ends.

    Scenes are seen ``like`` earlier examples, see ``Seen``.
    """
    names, given = _names(scene, stack), _listed(examples)
    areas = [] if area is None else _listed(area)
    if _are_files([*given, *areas]):
        return marks_on_scenes(names, MarkFiles(given, areas=areas, attribute=attribute), Seen(like=like))
    opened = [stack.enter_context(open_scene(name, like=like, toned=True)) for name in names]
    shapes = _for_each(areas or [None] * len(names), names)
    return [marks_given(*of_one) for of_one in zip(opened, _for_each(given, names), shapes, strict=True)]


def _names(scene: Any, stack: ExitStack) -> list[str]:  # noqa: ANN401, one or several
    if not _listed(scene):
        raise UserError("no scene was given")
    return [stack.enter_context(named(one)) for one in _listed(scene)]


def _listed(given: Any) -> list[Any]:  # noqa: ANN401, one of a kind or several
    return list(given) if isinstance(given, list | tuple) else [given]


def _are_files(given: Sequence[Any]) -> bool:
    """Whether what was given are vector files; UserError for files and boxes together, or nothing."""
    if not given:
        raise UserError("no examples were given; name a vector file, or give boxes for each scene")
    files = [isinstance(one, str | Path) for one in given]
    if any(files) and not all(files):
        raise UserError("give either vector files, or boxes and polygons in pixels for each scene; not both")
    return all(files)


def _for_each(given: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """What was given of each scene; UserError where it is not as many, or no boxes."""
    if len(given) != len(names):
        raise UserError(
            f"boxes or polygons of {len(given)} scenes were given for {len(names)}; give one of each, in their order"
        )
    return list(given)
