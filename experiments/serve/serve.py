"""What a served detector costs, and whether it answers what `fsod predict` writes, on real NWPU images.

    make data meta-train finetune CONFIG=configs/nwpu.yaml DATA=/path/to/nwpu_vhr10
    .venv/bin/python -m experiments.serve.serve

Writes results.json beside this file. Settings of the run can be changed: run_dir=runs/mine.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.finetuned import finetuned_run
from experiments.memory import resident_mb
from fsod.compute.device import choose_machine
from fsod.config import PredictSettings
from fsod.data.coco_folder import write_json
from fsod.steps.predict_scenes import predict_files

HERE = Path(__file__).parent
COMPARED, REPEATS = 20, 20
SIDE_PX = 1000


def main(overrides: list[str]) -> None:
    run = finetuned_run(overrides)
    bank, test = run.bank, run.test
    images = [image.path for image in test.images[:COMPARED]]
    typical = min(test.images, key=lambda image: abs(max(image.width_px, image.height_px) - SIDE_PX))
    with tempfile.TemporaryDirectory() as place, serving(bank, Path(place)) as (url, server):
        loaded_mib = resident_mb(server)
        differing = [path.name for path in images if ask(url, path) != predicted(path, bank, Path(place))]
        seconds, cpu_before_s = [], cpu_s(server)
        for _ in range(REPEATS):
            started = time.perf_counter()
            ask(url, typical.path)
            seconds.append(time.perf_counter() - started)
        results = {
            "machine": str(choose_machine()),
            "processor": platform.processor() or platform.machine(),
            "compared": len(images),
            "differing": differing,
            "image_px": [typical.width_px, typical.height_px],
            "load_average": os.getloadavg()[0],
            "cpu_s_a_request": (cpu_s(server) - cpu_before_s) / REPEATS,
            "latency_s": {"median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)},
            "resident_mib": {"before requests": loaded_mib, "after": resident_mb(server)},
        }
    print(json.dumps(results, indent=2))
    write_json(HERE / "results.json", results)


@contextmanager
def serving(bank: Path, place: Path) -> Iterator[tuple[str, int]]:
    """Address of a server that has been started for a bank, and the id of the process that answers."""
    fsod = [sys.executable, "-m", "fsod"]
    registry = ["--database", str(place / "mlflow.db")]
    subprocess.run([*fsod, "register", "--bank", bank, "--name", "nwpu", *registry], check=True)
    command = [*fsod, "serve", "nwpu", *registry]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        try:
            url = ""
            for line in server.stdout:
                url = next((word for word in line.split() if word.endswith("/invocations")), url)
                if "Uvicorn running" in line:
                    break
            yield url, int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text())
        finally:
            server.terminate()


def cpu_s(process: int) -> float:
    """Processor time that a process has used; it says what a request costs where the machine is not quiet (Linux)."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def ask(url: str, image: Path) -> list[tuple[Any, ...]]:
    """Class, score and box of what the server finds."""
    body = {"dataframe_records": [{"image": b64encode(image.read_bytes()).decode()}]}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        [prediction] = json.load(answer)["predictions"]
    return [(found["class"], found["score"], *found["box_xyxy_px"]) for found in prediction["detections"]]


def predicted(image: Path, bank: Path, place: Path) -> list[tuple[Any, ...]]:
    """The same of the layer that `fsod predict` writes."""
    out = place / "found.geojson"
    predict_files([str(image)], None, bank, out, PredictSettings())
    rows = [feature["properties"] for feature in json.loads(out.read_text(encoding="utf-8"))["features"]]
    return [(row["class"], row["score"], *(row[f"{side}_px"] for side in ("x1", "y1", "x2", "y2"))) for row in rows]


if __name__ == "__main__":
    main(sys.argv[1:])
