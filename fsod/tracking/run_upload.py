"""Brings runs that were kept here, while their tracking server was away, to the server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fsod.errors import UserError
from fsod.tracking.studies import CONFIG, PARENT, Study, all_runs, log_params, study_run, summarise
from fsod.tracking.tracked_run import METRICS_A_CALL
from fsod.tracking.tracker import CONTINUES, UPLOADED_AS, WAITS_FOR
from fsod.tracking.tracking_store import (
    connect,
    experiment_id,
    is_server,
    local_uri,
    mlflow_errors,
    shown,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun


def upload_runs(database: Path) -> dict[str, Any]:
    """Copies all runs that wait in a local database to the server that ``MLFLOW_TRACKING_URI`` names.

    What a run's beginning has put on the server is continued there. After an interruption the same call goes on; what it
    sends twice counts once. Runs that have not ended are sent as far as they are and go on waiting.

    Returns:
        How many runs were uploaded, and how many of them still go on.

    Raises:
        UserError: no server is named, or one of the two stores fails.
    """
    uri = tracking_uri(database)
    if not is_server(uri):
        raise UserError("name the tracking server to upload to: MLFLOW_TRACKING_URI=http://...")
    if not database.is_file():
        raise UserError(f"{database}: no such database")
    with mlflow_errors(local_uri(database)):
        here = connect(local_uri(database))
        experiments = {e.experiment_id: e.name for e in here.search_experiments()}
        waiting = list(all_runs(here, list(experiments), f"tags.{WAITS_FOR} LIKE '%'"))
    studies: dict[str, str] = {}
    with mlflow_errors(uri):
        there = connect(uri)
        for run in waiting:
            experiment = experiment_id(there, uri, experiments[run.info.experiment_id])
            parent = run.data.tags.get(PARENT)
            if parent is not None and parent not in studies:
                studies[parent] = study_run(there, experiment, _study(here, parent))
            _copy(here, run, there, _place_for(here, run, there, experiment, studies.get(parent or "")))
        for study in studies.values():
            summarise(there, study)
    going_on = sum(run.info.status == "RUNNING" for run in waiting)
    return {"uploaded": len(waiting), "going_on": going_on, "server": shown(uri)}


def _study(here: MlflowClient, run_id: str) -> Study:
    """What a local study's run was made from."""
    run = here.get_run(run_id)
    settings = yaml.safe_load(Path(here.download_artifacts(run_id, CONFIG)).read_text(encoding="utf-8"))
    return Study(run.info.run_name, run.data.tags["configuration"], _marks(run), run.data.params, settings)


def _place_for(here: MlflowClient, run: MlflowRun, there: MlflowClient, experiment: str, study: str | None) -> str:
    """The id of the run on the server that takes up a local one: what it continues, or what an earlier call made."""
    for key in (CONTINUES, UPLOADED_AS):
        known = run.data.tags.get(key)
        if known is not None and _takes_up(there, known, run):
            return known
    tags = {**_marks(run), **({PARENT: study} if study else {})}
    made = there.create_run(experiment, run.info.start_time, tags, run.info.run_name)
    here.set_tag(run.info.run_id, UPLOADED_AS, made.info.run_id)
    return made.info.run_id


def _copy(here: MlflowClient, run: MlflowRun, there: MlflowClient, target: str) -> None:
    from mlflow.entities import RunTag

    log_params(there, target, run.data.params)
    there.log_batch(target, tags=[RunTag(key, value) for key, value in _marks(run).items()])
    for name in run.data.metrics:
        history = here.get_metric_history(run.info.run_id, name)
        for start in range(0, len(history), METRICS_A_CALL):
            there.log_batch(target, metrics=history[start : start + METRICS_A_CALL])
    if run.inputs.dataset_inputs:
        there.log_inputs(target, run.inputs.dataset_inputs)
    if here.list_artifacts(run.info.run_id):
        there.log_artifacts(target, here.download_artifacts(run.info.run_id, ""))
    if run.info.status == "RUNNING":
        return
    # it may have been started again, and ended, after the server came back
    if there.get_run(target).info.status == "RUNNING":
        there.set_terminated(target, run.info.status, run.info.end_time)
    here.delete_tag(run.info.run_id, WAITS_FOR)


def _marks(run: MlflowRun) -> dict[str, str]:
    """A run's tags, without those that only matter here."""
    return {
        key: value for key, value in run.data.tags.items() if key not in (WAITS_FOR, CONTINUES, UPLOADED_AS, PARENT)
    }


def _takes_up(there: MlflowClient, run_id: str, run: MlflowRun) -> bool:
    """Whether the server has a run of an id that is not deleted, and of these params."""
    from mlflow.exceptions import MlflowException

    try:
        known = there.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    same = all(run.data.params.get(key, value) == value for key, value in known.data.params.items())
    return known.info.lifecycle_stage == "active" and same
