"""The demo: the whole road on synthetic scenes, from drawing them to a map layer, on a machine without any download."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.table import Table

import data_prep
from fsod.config_file import load_settings
from fsod.data.coco_folder import load_folder, read_ids, write_json
from fsod.progress import console
from fsod.steps.evaluate_detector import evaluate_run
from fsod.steps.predict_scenes import predict_files
from fsod.steps.train import prepare_data, run_finetune, run_meta_train
from fsod.tracking.run_paths import RunPaths

CONFIG = Path(__file__).with_name("demo.yaml")
"""Beside the step, so that it is in a wheel; ``configs/demo.yaml`` of a checkout is a link to it."""
SHOTS = 10
MARKS = 5


def demo(overrides: list[str]) -> dict[str, Any]:
    """Runs every step, writes ``summary.json`` into the run's folder and says where everything is."""
    started = time.perf_counter()
    settings = load_settings(CONFIG, [*scenes_outside_a_checkout(), *overrides])
    paths = RunPaths(settings.run_dir)
    console.rule("1/5 draw scenes")
    prepare_data(settings, None)
    console.rule("2/5 meta-train on base classes")
    run_meta_train(settings)
    console.rule(f"3/5 finetune on {SHOTS} boxes per class")
    tuned = run_finetune(settings, SHOTS, settings.seed)
    console.rule("4/5 evaluate on test scenes")
    scores = evaluate_run(settings, SHOTS, settings.seed, None)
    console.rule("5/5 find everything in a large scene")
    folder = load_folder(paths.data)
    scene = folder.select(read_ids(paths.id_list("scene"))).images[0].path
    marks = _write_marks(
        paths.data / f"{scene.stem}.geojson", settings.data.novel[-1], settings.run_dir / "marks.geojson"
    )
    layer = predict_files([str(scene)], None, Path(tuned["bank"]), settings.run_dir / "scene.geojson", settings.predict)
    summary = {
        "base_map50": scores["base_map50"],
        "novel_map50": scores["novel_map50"],
        "seconds": time.perf_counter() - started,
        "bank": tuned["bank"],
        "geojson": layer["layer"],
        "preview": layer["preview"],
        "marks": str(marks),
        "checkpoint": tuned["checkpoint"],
        "mlflow_database": str(paths.database),
        "per_class_ap50": scores["per_class_ap50"],
        "seed": settings.seed,
        "machine": scores["machine"],
    }
    write_json(settings.run_dir / "summary.json", summary)
    console.print(_table(scores["per_class_ap50"], settings.data.novel, summary))
    for key in ("bank", "geojson", "preview", "checkpoint", "mlflow_database", "marks"):
        console.print(f"{key:>16}: {summary[key]}")
    console.print(f"         summary: {settings.run_dir / 'summary.json'}")
    console.print(f"look at all runs with: fsod dashboard --database {paths.database}")
    tuned_file = settings.run_dir / "tuned.safetensors"
    console.print(
        f"learn from {MARKS} marks: fsod finetune --scene {scene} --examples {marks} --out {tuned_file}", soft_wrap=True
    )
    return summary


def scenes_outside_a_checkout() -> list[str]:
    """An override for the demo's settings: where fsod was installed to, the scenes' specification is a file of the package."""
    if (named := load_settings(CONFIG).data.scenes) is None or named.is_file():
        return []
    return [f"data.scenes={json.dumps(str(Path(data_prep.__file__).parent / 'scenes' / named.name))}"]


def _write_marks(labels: Path, class_name: str, out: Path) -> Path:
    """Writes the first few objects of a class as an analyst would mark them, unless marks are there: they may be the user's."""
    if out.exists():
        return out
    layer = json.loads(labels.read_text(encoding="utf-8"))
    objects = [feature for feature in layer["features"] if feature["properties"]["class"] == class_name]
    layer["features"] = [{**feature, "properties": {"class": class_name}} for feature in objects[:MARKS]]
    write_json(out, layer)
    return out


def _table(per_class: dict[str, float | None], novel: tuple[str, ...], summary: dict[str, Any]) -> Table:
    table = Table("class", "kind", "AP50", title=f"synthetic test scenes, {summary['seconds']:.0f} s in all")
    for name, ap in per_class.items():
        table.add_row(name, "novel" if name in novel else "base", "-" if ap is None else f"{ap:.3f}")
    table.add_section()
    table.add_row("mean", "base", f"{summary['base_map50']:.3f}")
    table.add_row("mean", "novel", f"{summary['novel_map50']:.3f}")
    return table
