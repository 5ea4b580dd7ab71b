"""Opens runs in MLflow: a step's run, and the study that it belongs to.

Where they are kept, ``tracking_store`` tells. A tracking server that does not answer holds nothing up: the run goes on in
the local database, marked for ``run_upload``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsod.files import write_text
from fsod.progress import say as say_line
from fsod.tracking.origin import origin
from fsod.tracking.studies import PARENT, Study, log_params, study_run
from fsod.tracking.tracked_run import Place, Run, Say
from fsod.tracking.tracking_store import (
    connect,
    experiment_id,
    in_short,
    is_away,
    is_server,
    local_uri,
    mlflow_errors,
    shown,
    store_lock,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

WAITS_FOR = "waits_for_server"
"""Tag of a run that is kept here and belongs on the server that the tag names."""
CONTINUES = "continues_run"
"""Tag of such a run whose beginning is on the server already: its id there."""
UPLOADED_AS = "uploaded_as"
"""Tag of a run that has been brought to the server: its id there."""
_PARAM_LENGTH = 6000  # as long as MLflow takes


@dataclass(frozen=True)
class _Plan:
    """What a run shall be; see ``open_run``."""

    database: Path
    experiment: str
    run_name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    study: Study | None
    run_id_file: Path | None
    reopen: bool


@contextmanager
def open_run(
    *,
    database: Path,
    experiment: str,
    run_name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    run_id_file: Path | None = None,
    study: Study | None = None,
    reopen: bool = False,
    say: Say = say_line,
) -> Iterator[Run]:
    """A run that ends FINISHED, or FAILED where the body raises, or KILLED by Ctrl-C.

    Args:
        database: the SQLite file, made if missing; where ``MLFLOW_TRACKING_URI`` is set, only used while the server that
            it names does not answer.
        experiment: made if missing.
        run_name: shown in the list of runs.
        params: settings, nested ones become ``section.key``.
        tags: further marks; command line and git commit are added.
        run_id_file: keeps the run's id. An interrupted run that it names goes on, if its params are the same.
        study: the configuration that the run belongs to.
        reopen: a finished run goes on too.
        say: told when the server does not answer.

    Raises:
        UserError: the store cannot be used.
    """
    texts = flat_params(params)
    plan = _Plan(database, experiment, run_name, texts, {**origin(), **tags}, study, run_id_file, reopen)
    run = Run(_first_place(plan, say), lambda lost, error: _stand_in(plan, lost, error, say), say)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        run.end(status)


def flat_params(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as MLflow keeps them: texts of bearable length, nested ones under ``section.key``."""
    return {key: str(value)[:_PARAM_LENGTH] for key, value in _flat(settings)}


def _first_place(plan: _Plan, say: Say) -> Place:
    from mlflow.exceptions import MlflowException

    uri = tracking_uri(plan.database)
    with mlflow_errors(uri):
        try:
            return _open(plan, uri)
        except (MlflowException, OSError) as error:
            if not (is_server(uri) and is_away(error)):
                raise
            say(_kept_here(uri, plan.database, error))
    here = local_uri(plan.database)
    with mlflow_errors(here):
        tags, named = {**plan.tags, WAITS_FOR: shown(uri)}, _named(plan)
        if plan.reopen and named is not None and _run(connect(here), named) is None:
            # it is on the server, and what is added to it now will go there; the file goes on naming it
            return _open(replace(plan, tags={**tags, CONTINUES: named}, run_id_file=None), here)
        place = _open(replace(plan, tags=tags), here)
        place.client.set_tag(place.run_id, WAITS_FOR, shown(uri))  # what was uploaded before waits again
        return place


def _stand_in(plan: _Plan, lost: Place, error: Exception, say: Say) -> Place:
    """A run in the local database, for the rest of one whose server is gone."""
    say(_kept_here(lost.uri, plan.database, error))
    # the file goes on naming the run on the server: a command that is started again goes on there, if it can
    tags = {**plan.tags, WAITS_FOR: shown(lost.uri), CONTINUES: lost.run_id}
    return _open(replace(plan, tags=tags, run_id_file=None), local_uri(plan.database))


def _kept_here(uri: str, database: Path, error: Exception) -> str:
    return (
        f"tracking server {shown(uri)} cannot be used ({in_short(error)}); going on without it, records are kept in {database}. "
        f"Bring them there later with: fsod runs upload --database {database}"
    )


def _open(plan: _Plan, uri: str) -> Place:
    """The run of a plan: one that was begun, or a new one."""
    client = connect(uri)
    with store_lock(uri, plan.database):
        experiment = experiment_id(client, uri, plan.experiment)
        study = study_run(client, experiment, plan.study) if plan.study else None
    run = _begun(client, plan, _named(plan))
    if run is None and is_server(uri) and plan.database.is_file():
        run = _begun(client, plan, _uploaded_as(plan))
    if run is None:
        tags = {**plan.tags, **({PARENT: study} if study else {})}
        run = client.create_run(experiment, tags=tags, run_name=plan.run_name)
        log_params(client, run.info.run_id, plan.params)
        if is_server(uri) and plan.database.is_file():
            _joins(run.info.run_id, plan)
        if plan.run_id_file is not None:
            write_text(plan.run_id_file, run.info.run_id + "\n")
    return Place(uri, client, run.info.run_id, study, run.info.start_time / 1000)


def _begun(client: MlflowClient, plan: _Plan, run_id: str | None) -> MlflowRun | None:
    """The run of an id, if it is one of this store that may go on and has these params."""
    run = None if run_id is None else _run(client, run_id)
    if run is None or not _may_go_on(run, plan):
        return None
    client.update_run(run.info.run_id, status="RUNNING")
    return run


def _may_go_on(run: MlflowRun, plan: _Plan) -> bool:
    finished = run.info.status == "FINISHED" and not plan.reopen
    return not finished and run.info.lifecycle_stage == "active" and run.data.params == dict(plan.params)


def _named(plan: _Plan) -> str | None:
    """The id in the file of a plan."""
    if plan.run_id_file is None or not plan.run_id_file.is_file():
        return None
    return plan.run_id_file.read_text(encoding="utf-8").strip()


def _joins(run_id: str, plan: _Plan) -> None:
    """Has what was begun here, and waits for the server, brought into the run that goes on with it there."""
    here, named = connect(local_uri(plan.database)), _named(plan)
    begun = None if named is None else _run(here, named)
    if begun is not None and WAITS_FOR in begun.data.tags and _may_go_on(begun, plan):
        here.set_tag(begun.info.run_id, UPLOADED_AS, run_id)


def _uploaded_as(plan: _Plan) -> str | None:
    """The id on the server of a run that was begun here, where the file names one that was brought there."""
    named = _named(plan)
    run = None if named is None else _run(connect(local_uri(plan.database)), named)
    return None if run is None else run.data.tags.get(UPLOADED_AS)


def _run(client: MlflowClient, run_id: str) -> MlflowRun | None:
    """The run of an id; None where the store has none: it was deleted, or is another one."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
