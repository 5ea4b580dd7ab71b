"""A small COCO data set of painted images, as the tests of its reader change it."""

import json
from pathlib import Path
from typing import Any

from tests.painted import BOTTOM, LEFT, RIGHT, TOP, write

BBOX = [LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP]  # COCO counts from 0: x and y are the edge of the first pixel inside


def coco(images: list[tuple[int, str]], first_annotation: int = 1) -> dict[str, Any]:
    """One painted box an image, of category 18, then 3, ..., with the gaps in the ids that COCO has."""
    return {
        "info": {"year": 2017},
        "licenses": [],
        "images": [{"id": i, "file_name": name, "width": 60, "height": 40} for i, name in images],
        "categories": [{"id": 18, "name": "ship", "supercategory": "x"}, {"id": 3, "name": "car"}],
        "annotations": [
            {
                "id": first_annotation + n,
                "image_id": i,
                "category_id": (18, 3)[n % 2],
                "bbox": BBOX,
                "area": 320.5,
                "iscrowd": 0,
                "segmentation": [[1, 1, 2, 2, 3, 3]],
            }
            for n, (i, _) in enumerate(images)
        ],
    }


def put(path: Path, content: object) -> Path:
    return write(path, json.dumps(content))
