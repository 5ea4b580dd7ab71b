"""Synthetic scenes: a prepared folder of drawn, georeferenced images, made from one frozen specification.

What a fresh machine runs on. The drawing itself is ``fsod.data.procedural``; here a specification decides which classes
go into which image, and the images get a place on the map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pydantic import ValidationError
from rich.progress import track

from data_prep.annotations import add_box, no_annotations
from data_prep.folder import count_classes, finished_card, folder_under_construction, write_folder
from data_prep.scene_spec import DRAWING, SceneSpec
from fsod.boxes import Detections
from fsod.data.procedural.drawn_scene import DrawnScene, draw_scene
from fsod.data.procedural.named import common_clutter, named_families
from fsod.errors import UserError, nearest
from fsod.geo.georeference import Georeference
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.progress import console
from fsod.yaml_file import read_yaml

SCENE = "scene_000"
_SPREAD = 6  # boxes by which a class may be ahead and still be drawn next: keeps the company of classes varied
_PLACES_A_ROW = 20


@dataclass(frozen=True)
class Plan:
    """One image to be drawn.

    Attributes:
        name: stem of its file.
        side_px: its side.
        part: the list it goes into: train, test or scene.
        corner_m: easting and northing of its top left corner.
        allowed: positions of the classes that may be in it.
    """

    name: str
    side_px: int
    part: str
    corner_m: tuple[float, float]
    allowed: tuple[int, ...]


def load_spec(path: Path) -> SceneSpec:
    """Reads a specification from YAML.

    Raises:
        UserError: no file, no YAML, a key that is unknown, missing or out of range; the message names file and key.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such specification of scenes")
    try:
        return SceneSpec.model_validate(read_yaml(path))
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"]) or "the specification"
        hint = nearest(key, tuple(SceneSpec.model_fields)) if problem["type"] == "extra_forbidden" else ""
        raise UserError(f"{path}: {key}: {problem['msg']}{hint}") from error


def make_scenes(spec: SceneSpec, out: Path) -> dict[str, Any]:
    """Draws all scenes of a specification into a prepared folder (see ``fsod.data.coco_folder``).

    The images are tiled GeoTIFFs, which serve training and windowed inference alike. ``scene_000.geojson`` holds the
    true boxes of the large scene (WGS84), in the form that detections are written in.

    Args:
        spec: what to draw.
        out: the folder; if it is there and was made from the same specification it is left as it is.

    Returns:
        The folder's card: specification, its hash, and how many boxes each class has in each list.

    Raises:
        UserError: ``out`` holds something else, or cannot be written.
    """
    card = finished_card(out, spec.fingerprint)
    if card is not None:
        return card
    tally = {part: np.zeros(len(spec.classes)) for part in ("train", "test", "scene")}
    coco = no_annotations(spec.classes)
    lists: dict[str, list[str]] = {part: [] for part in tally}
    with folder_under_construction(out) as folder:
        plans = list(plan_images(spec))
        for i, plan in enumerate(track(plans, "drawing scenes", console=console)):
            drawn = draw_image(spec, plan, np.random.default_rng([spec.seed, i]), tally[plan.part])
            tally[plan.part] += np.bincount(drawn.class_ids, minlength=len(spec.classes))
            transform = Affine(spec.gsd_m, 0.0, plan.corner_m[0], 0.0, -spec.gsd_m, plan.corner_m[1])
            _write_geotiff(folder / "images" / f"{plan.name}.tif", drawn.image, spec.crs, transform)
            _record(coco, spec, plan, drawn, i + 1)
            lists[plan.part].append(plan.name)
            if plan.part == "scene":
                _write_truth(folder / f"{plan.name}.geojson", spec, drawn, transform)
        card = {
            "reader": "synthetic",
            "fingerprint": spec.fingerprint,
            "drawing": DRAWING,
            "specification": spec.model_dump(mode="json"),
            "images": {part: len(names) for part, names in lists.items()},
            "boxes": {
                part: {name: int(n) for name, n in zip(spec.classes, counts, strict=True)}
                for part, counts in tally.items()
            },
            "classes": count_classes(coco),
        }
        write_folder(folder, coco, lists, card)
    return card


def plan_images(spec: SceneSpec) -> Iterator[Plan]:
    """The images in order: training, test, then the large scene south of them; no two overlap on the map."""
    everything = tuple(range(len(spec.classes)))
    base = tuple(i for i in everything if spec.classes[i] not in spec.novel)
    with_novel = round(spec.novel_image_share * spec.train_images) if base else spec.train_images
    east, north = spec.origin_m
    step_m = (spec.image_px + 16) * spec.gsd_m
    small = [("train", i) for i in range(spec.train_images)] + [("test", i) for i in range(spec.test_images)]
    for place, (part, i) in enumerate(small):
        row, column = divmod(place, _PLACES_A_ROW)
        corner = (east + column * step_m, north - row * step_m)
        # spread evenly over the list, so that any stretch of it has some
        shows_novel = part == "test" or (i + 1) * with_novel // spec.train_images > i * with_novel // spec.train_images
        yield Plan(f"{part}_{i:03d}", spec.image_px, part, corner, everything if shows_novel else base)
    rows = -(-len(small) // _PLACES_A_ROW)
    yield Plan(SCENE, spec.scene_px, "scene", (east, north - rows * step_m), everything)


def draw_image(spec: SceneSpec, plan: Plan, rng: np.random.Generator, tally: NDArray[np.float64]) -> DrawnScene:
    """Draws the picture of a plan; ``tally`` says how many boxes each class has in its list so far, (classes,)."""
    families = [named_families()[name] for name in spec.classes]
    area = (plan.side_px / spec.image_px) ** 2
    wanted = round(area * rng.integers(spec.objects_per_image[0], spec.objects_per_image[1] + 1))
    clutter_count = round(area * rng.integers(spec.clutter_per_image[0], spec.clutter_per_image[1] + 1))
    sizes_px = [family.size_m[1] / spec.gsd_m for family in families]
    return draw_scene(
        rng,
        (plan.side_px, plan.side_px),
        families,
        _counts(rng, wanted, sizes_px, tally, plan.allowed),
        clutter=(*common_clutter() * 2, *(named_families()[name] for name in spec.distractors)),
        clutter_count=clutter_count,
        gsd_m=spec.gsd_m,
    )


def _counts(
    rng: np.random.Generator,
    wanted: int,
    sizes_px: Sequence[float],
    tally: NDArray[np.float64],
    allowed: tuple[int, ...],
) -> list[int]:
    """How many objects of each class an image asks for: a few classes, those with fewest boxes so far before others."""
    counts = np.zeros(len(sizes_px), int)
    behind = np.array([tally[i] + rng.uniform(0, _SPREAD) for i in range(len(sizes_px))])
    while counts.sum() < wanted:
        chosen = min(allowed, key=lambda i: behind[i])
        # large objects come one or two at a time, small ones in handfuls
        handful = int(rng.integers(1, 2 + min(4, int(150 / sizes_px[chosen]))))
        counts[chosen] += min(handful, wanted - counts.sum())
        behind[chosen] += handful
    return [int(count) for count in counts]


def _write_geotiff(path: Path, rgb: NDArray[np.uint8], crs: str, transform: Affine) -> None:
    height, width, bands = rgb.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=bands,
        dtype="uint8",
        crs=crs,
        transform=transform,
        photometric="RGB",
        interleave="pixel",  # Pillow reads no other
        tiled=True,
        blockxsize=256,
        blockysize=256,
        compress="deflate",
        predictor=2,
        zlevel=1,  # noise does not compress better for more work
    ) as file:
        file.write(np.moveaxis(rgb, 2, 0))


def _record(coco: dict[str, Any], spec: SceneSpec, plan: Plan, drawn: DrawnScene, image_id: int) -> None:
    coco["images"].append(
        {
            "id": image_id,
            "file_name": f"{plan.name}.tif",
            "width": plan.side_px,
            "height": plan.side_px,
            "source": plan.name,
            "gsd_m": spec.gsd_m,
            "crs": spec.crs,
        }
    )
    for box, class_id in zip(drawn.boxes_xyxy_px.tolist(), drawn.class_ids.tolist(), strict=True):
        add_box(coco, box, class_id)


def _write_truth(path: Path, spec: SceneSpec, drawn: DrawnScene, transform: Affine) -> None:
    truth = Detections(drawn.boxes_xyxy_px, np.ones(len(drawn.class_ids), np.float32), drawn.class_ids)
    georeference = Georeference(pyproj.CRS(spec.crs), transform, (spec.gsd_m, spec.gsd_m))
    height, width = drawn.image.shape[:2]
    write_layer(path, Layer(truth, spec.classes, georeference, path.stem, (width, height), {"truth": True}))
