"""Milliseconds per window, and mean average precision, of torch, onnxruntime and OpenVINO in float32 and int8.

    pip install openvino
    .venv/bin/python -m experiments.engines.engines --data PREPARED_NWPU [--threads 2] [--rounds 15] [--images 60]

Windows of 640 px in batches of four, networks in turn within every round, without suppression. Accuracy is that of the
detector that was finetuned on ten boxes per class of NWPU VHR-10, on the third of the training images that
``nwpu_fewshot.validate`` sets aside or (``--judged test``) on the test images, all gone over by windows; ranges of int8 are
taken from windows of other images, as ``fsod export --int8`` does.
Writes results.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.engines.networks import Network, by_onnxruntime, by_openvino, by_torch, write_float32
from experiments.nwpu_fewshot.validate import SAME_GROUND, set_aside
from fsod.boxes import Detections
from fsod.compute.device import choose_machine
from fsod.config import EvaluateSettings
from fsod.data.coco_folder import CocoFolder, load_folder, read_ids, read_image, write_json
from fsod.evaluation import shown_images
from fsod.evaluation.average_precision import average_precision
from fsod.evaluation.shown_images import detect_folder
from fsod.inference.infer import postprocess, to_batch
from fsod.inference.onnx_int8 import in_batches, quantize
from fsod.model.baked import BakedDetector, bake
from fsod.model.detector import Detector
from fsod.store.checkpoint import load_checkpoint

HERE = Path(__file__).parent
WEIGHTS = HERE.parent / "nwpu_fewshot" / "weights" / "all-k10-seed0.safetensors"
SIDE_PX, BATCH = 640, 4
CALIBRATING = 32
"""Windows that ranges are taken from."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--sizes", nargs="+", default=["nano", "yolov7-tiny"])
    parser.add_argument("--judged", choices=["aside", "test"], default="aside")
    parser.add_argument("--part", choices=["speed", "accuracy", "both"], default="both")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    asked = parser.parse_args()
    choose_machine()
    torch.set_num_threads(asked.threads)
    folder = load_folder(asked.data)
    train = folder.select(read_ids(asked.data / "splits" / "train.txt"))
    ids = [image.path.stem for image in train.images]
    aside = set_aside(ids, json.loads(SAME_GROUND.read_text(encoding="utf-8"))["groups"])
    windows = windows_of(train.select([name for name in ids if name not in aside]))
    found: dict[str, Any] = {"threads": asked.threads, "batch": BATCH, "side_px": SIDE_PX}
    with TemporaryDirectory() as place:
        for size in asked.sizes:
            trained = size == "nano"
            engines = make_engines(network_of(size), windows, Path(place), asked.threads)
            if asked.part != "accuracy":
                found[size] = speed(engines, windows[:BATCH], asked.rounds)
                print(size, json.dumps(found[size], indent=1), flush=True)
            if trained and asked.part != "speed":
                judged = sorted(aside) if asked.judged == "aside" else read_ids(asked.data / "splits" / "test.txt")
                found["map50"] = accuracy(engines, folder.select(judged[: asked.images]))
                print(json.dumps(found["map50"], indent=1), flush=True)
    write_json(asked.out, found)


def network_of(size: str) -> BakedDetector:
    """The finetuned nano, or another size with weights of chance and as many classes."""
    torch.manual_seed(0)
    detector = load_checkpoint(WEIGHTS).detector if size == "nano" else Detector(size, 10)
    return bake(detector.eval(), detector.learned_rows().detach())


def windows_of(folder: CocoFolder) -> NDArray[np.float32]:
    """A window of each image, (n, 3, 640, 640) in 0..1."""
    cut = []
    for image in folder.images[:: max(len(folder.images) // CALIBRATING, 1)][:CALIBRATING]:
        window = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
        rgb = read_image(image)[:SIDE_PX, :SIDE_PX]
        window[: rgb.shape[0], : rgb.shape[1]] = rgb
        cut.append(window)
    return to_batch(np.stack(cut), torch.device("cpu")).numpy()


def make_engines(network: BakedDetector, windows: NDArray[np.float32], place: Path, threads: int) -> dict[str, Network]:
    """By what they are called."""
    float32, int8 = place / "float32.onnx", place / "int8.onnx"
    write_float32(network, BATCH, SIDE_PX, float32)
    quantize(float32, in_batches(windows, BATCH), int8)
    return {
        "torch float32": by_torch(network),
        "onnxruntime float32": by_onnxruntime(float32, threads),
        "openvino float32": by_openvino(float32, threads),
        "openvino int8": by_openvino(int8, threads),
    }


def speed(engines: dict[str, Network], images: NDArray[np.float32], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds per window: median and fastest wall time, and median CPU time of all threads."""
    images = np.ascontiguousarray(images)
    wall: dict[str, list[float]] = {name: [] for name in engines}
    cpu: dict[str, list[float]] = {name: [] for name in engines}
    for done in range(rounds + 1):
        for name, run in engines.items():
            started, worked = time.perf_counter(), time.process_time()
            run(images)
            if done:  # the first one warms up
                wall[name].append(1000 * (time.perf_counter() - started) / len(images))
                cpu[name].append(1000 * (time.process_time() - worked) / len(images))
    return {
        name: {
            "wall_ms": statistics.median(wall[name]),
            "fastest_ms": min(wall[name]),
            "cpu_ms": statistics.median(cpu[name]),
        }
        for name in engines
    }


def accuracy(engines: dict[str, Network], folder: CocoFolder) -> dict[str, float | None]:
    """mAP50 over all ten classes."""
    shown_images.WHOLE_PX = 0  # all by windows, whose one shape the exported networks take
    settings = EvaluateSettings()

    def detect_by(run: Network, images: NDArray[np.uint8]) -> list[Detections]:
        boxes, scores = run(to_batch(images, torch.device("cpu")).contiguous().numpy())
        tensors = torch.from_numpy(np.array(boxes)), torch.from_numpy(np.array(scores))
        return postprocess(*tensors, (SIDE_PX, SIDE_PX), settings.score_floor, settings)

    names = list(load_checkpoint(WEIGHTS).class_names)
    # float32 is the same in all, see onnx_parity
    judged = {name: run for name, run in engines.items() if name.startswith("torch") or name.endswith("int8")}
    return {
        name: average_precision(folder, detect_folder(folder, partial(detect_by, run)), names, ()).all_map50
        for name, run in judged.items()
    }


if __name__ == "__main__":
    main()
