"""What it costs to know what was searched, beside the search itself: all that is done for it, on a scene of 20,000 x 20,000 px.

Two runs of a search differ by more than this, so it is timed by itself and set against the seconds of a search
([bench_scenes](../bench_scenes): 1764 windows).

    python -m experiments.searched.cost --json experiments/searched/cost.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from experiments.geotiff import new_scene
from experiments.records import commit
from fsod.data.coco_folder import write_json
from fsod.draw import hatched
from fsod.geo.blank import gaps_in
from fsod.geo.scene_opening import open_scene
from fsod.geo.searched_area import STATUSES, searched_area
from fsod.geo.searched_layer import SearchedLayer, write_searched
from fsod.geo.windows import window_grid

SIDE_PX, WINDOW_PX, OVERLAP_PX, PICTURE_PX = 20_000, 640, 160, 2048
ROUNDS = 7


def median_s(action: Callable[[], object]) -> float:
    """Seconds that something takes."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def measure(folder: Path) -> dict[str, float]:
    """Seconds for the whole scene: one without gaps, and one whose windows all lack pixels in part, as under clouds."""
    new_scene(folder / "scene.tif", SIDE_PX, SIDE_PX).close()
    valid = np.ones((WINDOW_PX, WINDOW_PX), np.bool_)
    y, x = np.mgrid[:WINDOW_PX, :WINDOW_PX]
    cloudy = np.hypot(x - 300, y - 200) > 90
    grey, size_px = np.full((PICTURE_PX, PICTURE_PX, 3), 99, np.uint8), (SIDE_PX, SIDE_PX)
    with open_scene(folder / "scene.tif") as scene:
        grid = window_grid(*size_px, WINDOW_PX, OVERLAP_PX)
        statuses = np.zeros(len(grid), np.uint8)
        record: dict[str, float] = {"windows": len(grid)}
        for name, mask in (("plain", valid), ("cloudy", cloudy)):
            gaps = {i: cells for i in range(len(grid)) if (cells := gaps_in(mask))}
            area = searched_area(scene, grid, statuses, gaps, None)
            layer = SearchedLayer(area, scene.file_georeference, "scene.tif", {"weights": "a", "bank": "b"})
            record |= {
                f"{name}_windows_s": len(grid) * median_s(lambda mask=mask: gaps_in(mask)),  # type: ignore[misc]
                f"{name}_area_s": median_s(lambda gaps=gaps: searched_area(scene, grid, statuses, gaps, None)),  # type: ignore[misc]
                f"{name}_layer_s": median_s(
                    lambda layer=layer: write_searched(folder / "f.geojson", replace(layer))  # type: ignore[misc]
                ),
                f"{name}_picture_s": median_s(
                    lambda area=area: hatched(grey, area.drawn((PICTURE_PX, PICTURE_PX)), [(9, 9, 9)] * len(STATUSES))  # type: ignore[misc]
                ),
            }
    return record


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    out = parser.parse_args().json
    with TemporaryDirectory() as folder:
        record = measure(Path(folder))
    print(record)
    write_json(out, {"commit": commit(), **{key: round(value, 4) for key, value in record.items()}})


if __name__ == "__main__":
    main()
