"""fsod beside SAHI on one scene, or on small pictures, with one network, window, overlap and threshold.

SAHI cuts the same windows, sees them in the same batches and merges by class-wise NMS at the same IoU; its pass over the
full image is off. Neither writes anything. SAHI is imported where it is used: nothing else of the project knows it. On a
CPU it imports neither torchvision nor ultralytics.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from experiments.bench_scenes.detector import BATCH, OVERLAP_PX, WINDOW_PX, Clocked, Weights, warm_detector
from experiments.memory import forget_peak, peak_mb, resident_mb
from fsod.boxes import Detections
from fsod.config import Precision
from fsod.geo.scene_plan import ScenePlan
from fsod.geo.scene_prediction import predict_scene

System = Literal["fsod", "sahi"]
SAHI_BATCH = 1  # its default
RUNS: dict[str, tuple[System, Precision, int]] = {
    "fsod": ("fsod", "auto", BATCH),
    "sahi": ("sahi", "auto", BATCH),
    "sahi_float32": ("sahi", "float32", SAHI_BATCH),
}


def measure(scene: Path, weights: Weights, rounds: int) -> dict[str, Any]:
    """Ratios of fsod to SAHI.

    Returns:
        overhead_ratio_sahi: time outside the calls of the wrapped model, same precision and batch, median over rounds
            that take turns. A call makes tensors of pixels, runs the network and suppresses boxes within a window; both
            make the same calls.
            memory_ratio_sahi: peak resident memory above that of the loaded and warm model, each in a process of its own.
            time_ratio_sahi: whole run of fsod with its default precision and batch over SAHI's in
            float32 with its default batch of 1. time_ratio_sahi_same: the same in fsod's precision and batch.
    """
    whole, overhead, boxes = take_turns([scene], weights, rounds)
    memory: dict[str, float] = {}
    for system in ("fsod", "sahi"):
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            memory[system] = process.submit(memory_mb, system, scene, weights).result()
    return {
        "overhead_ratio_sahi": overhead["fsod"] / overhead["sahi"],
        "memory_ratio_sahi": memory["fsod"] / memory["sahi"],
        "time_ratio_sahi": whole["fsod"] / whole["sahi_float32"],
        "time_ratio_sahi_same": whole["fsod"] / whole["sahi"],
        "sahi": {
            "seconds": whole,
            "seconds_outside": overhead,
            "memory_mb": memory,
            "boxes": boxes,
        },
    }


def measure_small(tiles: Sequence[Path], weights: Weights, rounds: int) -> dict[str, Any]:
    """The same for pictures that are smaller than a window.

    Returns:
        time_ratio_sahi_small: as ``time_ratio_sahi_same``, over all pictures, one after the other.
    """
    whole, overhead, boxes = take_turns(tiles, weights, rounds)
    found = {"seconds": whole, "seconds_outside": overhead, "boxes": boxes, "pictures": len(tiles)}
    return {"time_ratio_sahi_small": whole["fsod"] / whole["sahi"], "sahi_small": found}


def take_turns(
    scenes: Sequence[Path], weights: Weights, rounds: int
) -> tuple[dict[str, float], dict[str, float], dict[str, int]]:
    """Of each of ``RUNS`` the seconds over all scenes, those of them outside the model, medians of rounds; and its boxes."""
    searches = {name: search(*run, weights) for name, run in RUNS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in RUNS}
    outside: dict[str, list[float]] = {name: [] for name in RUNS}
    boxes: dict[str, int] = {}
    for _ in range(rounds):
        for name, (run, detector) in searches.items():
            detector.seconds = 0.0
            started = time.perf_counter()
            boxes[name] = sum(map(run, scenes))
            seconds[name].append(time.perf_counter() - started)
            outside[name].append(seconds[name][-1] - detector.seconds)
    whole = {name: statistics.median(values) for name, values in seconds.items()}
    overhead = {name: statistics.median(values) for name, values in outside.items()}
    return whole, overhead, boxes


def search(system: System, precision: Precision, batch: int, weights: Weights) -> tuple[Callable[[Path], int], Clocked]:
    """A run over a scene that returns how many boxes it found, and the clock of its detector."""
    detect, names = warm_detector(weights, precision, batch)
    clocked = Clocked(detect)
    if system == "sahi":
        return sahi_search(clocked, names, batch), clocked

    def run(scene: Path) -> int:
        result = predict_scene(
            scene,
            clocked,
            ScenePlan(
                window_px=WINDOW_PX,
                overlap_px=OVERLAP_PX,
                batch=batch,
                suppression=detect.settings,
            ),
        )
        return len(result.detections)

    return run, clocked


def sahi_search(clocked: Clocked, names: tuple[str, ...], batch: int) -> Callable[[Path], int]:
    """The same through SAHI."""
    from sahi.models.base import DetectionModel
    from sahi.predict import get_sliced_prediction
    from sahi.prediction import ObjectPrediction

    class Wrapped(DetectionModel):
        """fsod's network as SAHI wants one; batches reach it whole, and boxes leave it as SAHI's own wrappers make them."""

        def set_model(self, model: Clocked) -> None:
            self.model = model

        def perform_batch_inference(self, images: list[NDArray[np.uint8]]) -> None:
            self._original_predictions = self.model(np.stack(images))

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: list[list[int]], full_shape_list: list[list[int]]
        ) -> None:
            found: list[Detections] = self._original_predictions
            self._object_prediction_list_per_image = [
                [
                    ObjectPrediction(box, int(c), names[c], None, float(s), shift, shape)
                    for box, s, c in zip(d.boxes_xyxy_px.tolist(), d.scores, d.class_ids, strict=True)
                ]
                for d, shift, shape in zip(found, shift_amount_list, full_shape_list, strict=True)
            ]

    detect = clocked.detect
    model = Wrapped(model=clocked, confidence_threshold=detect.score_floor, device=str(detect.machine.device))

    def run(scene: Path) -> int:
        result = get_sliced_prediction(
            str(scene),
            model,
            slice_height=WINDOW_PX,
            slice_width=WINDOW_PX,
            overlap_height_ratio=OVERLAP_PX / WINDOW_PX,
            overlap_width_ratio=OVERLAP_PX / WINDOW_PX,
            perform_standard_pred=False,
            postprocess_type="NMS",
            postprocess_match_metric="IOU",
            postprocess_match_threshold=detect.settings.nms_iou,
            batch_size=batch,
            verbose=0,
        )
        return len(result.object_prediction_list)

    return run


def memory_mb(system: System, scene: Path, weights: Weights) -> float:
    """Peak resident memory of a run above that of the warm model."""
    run, _ = search(system, "auto", BATCH, weights)
    forget_peak()
    before = resident_mb()
    run(scene)
    return peak_mb() - before
