"""What enrolled classes lose on images that look unlike those of their examples, and from where on fsod says so.

    python -m experiments.real_tasks.unlike_scenes --json experiments/real_tasks/unlike_scenes.json

Ten scattered marks of draw 0 are enrolled; the test images are then darkened, flattened, blurred or made noisy. Options are those
of the other studies; see the README.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from numpy.typing import NDArray

import fsod
from experiments.real_tasks.tool import Task, corners_of, load_tool, open_tasks, options_of, scores_of
from experiments.records import Record, commit
from fsod.data.coco_folder import write_json
from fsod.geo.scene_opening import open_scene

Pixels = NDArray[np.float32]
FAINT = 0.005


def noisy(rgb: Pixels, deviation: float) -> Pixels:
    return rgb + np.random.default_rng(0).normal(0, deviation, rgb.shape).astype(np.float32)


def flat(rgb: Pixels, share: float) -> Pixels:
    return rgb.mean() + share * (rgb - rgb.mean())


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda rgb: rgb,
    "brightness x 0.5": lambda rgb: 0.5 * rgb,
    "brightness x 0.3": lambda rgb: 0.3 * rgb,
    "brightness x 0.15": lambda rgb: 0.15 * rgb,
    "brightness x 1.6": lambda rgb: 1.6 * rgb,
    "contrast x 0.5": lambda rgb: flat(rgb, 0.5),
    "contrast x 0.3": lambda rgb: flat(rgb, 0.3),
    "contrast x 0.15": lambda rgb: flat(rgb, 0.15),
    "blurred by 1 px": lambda rgb: np.asarray(cv2.GaussianBlur(rgb, (0, 0), 1), np.float32),
    "blurred by 2 px": lambda rgb: np.asarray(cv2.GaussianBlur(rgb, (0, 0), 2), np.float32),
    "blurred by 4 px": lambda rgb: np.asarray(cv2.GaussianBlur(rgb, (0, 0), 4), np.float32),
    "noise of 15": lambda rgb: noisy(rgb, 15),
    "noise of 30": lambda rgb: noisy(rgb, 30),
}


def main(arguments: list[str]) -> None:
    parser = options_of(__doc__)
    parser.add_argument("--json", type=Path, default=Path("runs/real_tasks/unlike_scenes.json"))
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    tool = load_tool(chosen.tool)
    records = [line for task in open_tasks(tool, chosen.tasks, chosen.only) for line in _of_task(tool, task)]
    write_json(chosen.json, {"commit": commit(), "records": records})


def _of_task(tool: ModuleType, task: Task) -> list[Record]:
    boxes, _ = task.marked("scattered", 10, 0)
    detector = fsod.load().enroll(_pixels(task, task.support), {"object": corners_of(boxes)})
    images = {name: _pixels(task, name) for name in task.test}
    lines = []
    for change, apply in CHANGES.items():
        found, shown, said = {}, {}, []
        for name, rgb in images.items():
            seen = apply(rgb.astype(np.float32)).clip(0, 255).astype(np.uint8)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                everything = detector.predict(seen, score=FAINT, turns=False)
            said.append(any("less may be found" in str(warning.message) for warning in caught))
            scores = everything.scores.astype(np.float64)
            found[name] = (everything.boxes_xyxy_px, scores)
            worth = scores >= detector.scores[0]
            shown[name] = (everything.boxes_xyxy_px[worth], scores[worth])
        lines.append({"task": task.name, "change": change, "said": sum(said), "images": len(said)})
        lines[-1] |= scores_of(tool, task, found, shown)
        print(lines[-1], flush=True)
    return lines


def _pixels(task: Task, name: str) -> NDArray[np.uint8]:
    with open_scene(task.folder / "images" / name) as scene:
        return scene.read_rectangle((0, 0, scene.grid_width_px, scene.grid_height_px))[0]


if __name__ == "__main__":
    main(sys.argv[1:])
