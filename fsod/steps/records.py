"""What the steps of a run leave in the tracking store: runs, metrics, hashes, and which data they used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from fsod.class_splits import split_title
from fsod.config import CommonSettings, RunSettings
from fsod.data.coco_folder import CocoFolder
from fsod.data.shots import ShotList
from fsod.evaluation.average_precision import Scores
from fsod.files import sha256_of, shortened
from fsod.progress import console
from fsod.tracking.run_paths import RunPaths
from fsod.tracking.studies import MEASURED, Study
from fsod.tracking.tracked_run import Run
from fsod.tracking.tracker import flat_params, open_run

_NOT_LOSS = {"lr": "optimizer/lr", "gradient": "optimizer/gradient_norm", "data_wait_share": "pace/data_wait_share"}

_LONGEST_NAME = 240  # of an experiment, less a hash: MLflow refuses more than 500 characters, and its databases 256


def tracked(
    settings: CommonSettings,
    stage: str,
    id_file: Path | None,
    *,
    shots: int | None = None,
    label: str = "",
    reopen: bool = False,
) -> AbstractContextManager[Run]:
    """A run in the tracking store, a child of the configuration's own.

    Args:
        settings: of the run; their seed is the run's.
        stage: pretrain, meta-train, finetune or evaluate.
        id_file: lets an interrupted step go on in the same run.
        shots: K, of a run that has one. Such a run is named ``K=5/seed=3`` and holds training and evaluation.
        label: stands behind the stage in the name of a run without K.
        reopen: a finished run goes on too.
    """
    if find_spec("mlflow") is None:
        console.print("not tracked, as MLflow is not installed: pip install 'fsod[track]'")
        return nullcontext(cast(Run, Untracked()))
    dumped = settings.model_dump(mode="json")
    tags = {"split": _split(settings)}
    # the same settings are the same study, whichever folder and seed they run in; what scenes are searched with is not part
    part = settings.model_dump_json(exclude={"run_dir", "seed", "predict"})
    study = Study(settings.name, hashlib.sha256(part.encode()).hexdigest(), tags, flat_params(dumped), dumped)
    own = {"stage": stage, "seed": str(settings.seed)} | ({} if shots is None else {"shots": str(shots)})
    return open_run(
        database=RunPaths(settings.run_dir).database,
        experiment=experiment_name(settings),
        run_name=f"{stage} {label}".strip() if shots is None else f"K={shots}/seed={settings.seed}",
        params=dumped if shots is None else {**dumped, "shots": shots},
        tags={**tags, **own},
        run_id_file=id_file,
        study=study,
        reopen=reopen,
        say=console.print,
    )


class Untracked:
    """Stands in for a run where there is no MLflow: takes all that a run takes, and keeps none of it."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not hasattr(Run, name):
            raise AttributeError(name)
        return lambda *_, **__: None


def experiment_name(settings: CommonSettings) -> str:
    """Data set and split, as ``nwpu S1``."""
    if not isinstance(settings, RunSettings):
        return _split(settings)
    data = settings.data
    name = data.format if data.scenes is None else f"{data.format} {data.scenes.stem}"
    return shortened(f"{name} {_split(settings)}", _LONGEST_NAME)


def _split(settings: CommonSettings) -> str:
    if not isinstance(settings, RunSettings):
        return "invented classes"
    return split_title(settings.data.format, settings.data.novel)


def observer(run: Run, advance_to: Callable[[int, str], None], queries: int) -> Callable[[int, dict[str, float]], None]:
    """Tells screen and tracking store how training goes; ``queries`` is the number of images per step."""

    def observe(step: int, values: dict[str, float]) -> None:
        rate = values["steps_per_s"] * queries
        advance_to(step, f"loss {values['total']:.2f}, {rate:.0f} images/s")
        named = {_NOT_LOSS.get(name, f"loss/{name}"): v for name, v in values.items() if name != "steps_per_s"}
        run.log_metrics({**named, "pace/images_per_s": rate}, step)

    return observe


def unobserved(step: int, values: dict[str, float]) -> None:
    """What the other processes of a training tell: nothing."""


def flat_metrics(scores: Scores) -> dict[str, float]:
    """Scores as metrics of the tracking store."""
    metrics = {f"{MEASURED}{key}": value for key, value in scores.as_dict().items() if isinstance(value, float)}
    return metrics | {f"AP50/{name}": ap for name, ap in scores.per_class_ap50.items() if ap is not None}


def log_folder(run: Run, context: str, folder: CocoFolder) -> None:
    """Says that a run uses a prepared folder, or a selection of its images, for ``context``."""
    ids = "\n".join(str(image.id) for image in folder.images)
    digest = hashlib.sha256(f"{folder.sha256}\n{ids}".encode()).hexdigest()
    boxes = sum(len(image.class_ids) for image in folder.images)
    profile = {"images": len(folder.images), "boxes": boxes, "classes": list(folder.class_names)}
    run.tag({"data_sha256": folder.sha256})
    run.log_data(context, f"{folder.root.parent.name}/{folder.root.name}", digest, str(folder.root), profile)


def log_shots(run: Run, shots: ShotList, path: Path) -> None:
    """Says that a run's classes are learned from a shot list."""
    profile = {"shots": shots.k, "seed": shots.seed, "boxes": {name: list(ids) for name, ids in shots.box_ids.items()}}
    run.log_data("support", path.parent.name, sha256_of(path), str(path), profile)


def hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Tags that say by hash which files a run made or used: ``checkpoint`` -> ``checkpoint_sha256``."""
    return {f"{name}_sha256": sha256_of(path) for name, path in files.items()}
