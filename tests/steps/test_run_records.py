from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fsod.config import RunSettings
from fsod.data.shots import draw_shots
from fsod.steps.records import experiment_name, hashes, log_folder, log_shots, observer, tracked
from fsod.tracking.run_paths import RunPaths
from fsod.tracking.studies import PARENT
from tests.made_folder import make_folder

SETTINGS = {
    "name": "small",
    "run_dir": "runs/a",
    "data": {"format": "nwpu", "novel": "S1"},
    "meta_train": {"steps": 1},
    "finetune": {"steps": 1},
}


def settings(**changes: object) -> RunSettings:
    return RunSettings.model_validate({**SETTINGS, **changes})


def test_an_experiment_is_a_data_set_and_a_split() -> None:
    assert experiment_name(settings()) == "nwpu S1"
    drawn = {"format": "synthetic", "scenes": "data_prep/scenes/demo.yaml", "novel": ["aircraft", "ship"]}
    assert experiment_name(settings(data=drawn)) == "synthetic demo aircraft, ship"
    assert experiment_name(settings(data={"format": "coco", "novel": []})) == "coco no novel class"


def test_a_split_of_many_classes_is_an_experiment_with_a_name_that_mlflow_takes(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(migrated, tmp_path / "mlflow.db")
    names = [f"long class {i}" for i in range(40)]
    two = [settings(run_dir=tmp_path / "a", data={"format": "coco", "novel": names[:n]}) for n in (39, 40)]
    short = [experiment_name(each) for each in two]
    assert short[0] != short[1]
    assert max(map(len, short)) < 256
    with tracked(two[1], "meta-train", None) as run:
        kept = run.client.get_run(run.id)
    assert kept.data.tags["split"] == ", ".join(names)


def test_a_finetuning_and_its_evaluation_are_one_run_of_the_configuration(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "runs").mkdir()
    shutil.copy(migrated, tmp_path / "runs" / "mlflow.db")
    folder = make_folder(tmp_path / "data")
    shots = draw_shots(folder, folder.class_names, 1, 3)
    shots.save(tmp_path / "shots.json")
    (tmp_path / "bank").write_bytes(b"bank")
    third = settings(run_dir=tmp_path / "runs" / "a", seed=3)
    file = RunPaths(third.run_dir).finetune_run(5, 3)
    with tracked(third, "finetune", file, shots=5) as run:
        log_folder(run, "query", folder)
        log_shots(run, shots, tmp_path / "shots.json")
        run.tag(hashes({"bank": tmp_path / "bank"}))
        told: list[str] = []
        observe = observer(run, lambda step, note: told.append(note), queries=8)
        observe(20, {"total": 2.0, "gradient": 9.0, "lr": 1e-3, "steps_per_s": 2.0, "data_wait_share": 0.25})
    with tracked(third, "evaluate", file, shots=5, reopen=True) as scored:
        scored.tag({"stage": "evaluate"})
    assert told == ["loss 2.00, 16 images/s"]
    assert scored.id == run.id
    kept = run.client.get_run(run.id)
    assert kept.info.run_name == "K=5/seed=3"
    assert {key: kept.data.tags[key] for key in ("stage", "split", "shots", "seed", "data_sha256")} == {
        "stage": "evaluate", "split": "S1", "shots": "5", "seed": "3", "data_sha256": folder.sha256,
    }  # fmt: skip
    assert len(kept.data.tags["bank_sha256"]) == 64
    assert {k: v for k, v in kept.data.metrics.items() if not k.startswith("system/")} == {
        "loss/total": 2.0, "optimizer/gradient_norm": 9.0, "optimizer/lr": 1e-3, "pace/images_per_s": 16.0,
        "pace/data_wait_share": 0.25,
    }  # fmt: skip
    assert {d.tags[0].value: d.dataset.name for d in kept.inputs.dataset_inputs} == {
        "query": f"{tmp_path.name}/data", "support": tmp_path.name,
    }  # fmt: skip
    with tracked(settings(run_dir=tmp_path / "runs" / "b", seed=4), "meta-train", None) as other:
        pass
    assert other.client.get_run(other.id).data.tags[PARENT] == kept.data.tags[PARENT]
    with tracked(settings(run_dir=tmp_path / "runs" / "b", loss={"box": 2.0}), "meta-train", None) as another:
        pass
    assert another.client.get_run(another.id).data.tags[PARENT] != kept.data.tags[PARENT]
