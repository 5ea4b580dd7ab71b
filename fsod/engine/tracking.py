"""Runs in MLflow: settings, metrics, pictures and files of every step, in one SQLite database.

The database lies where the caller says, artifacts beside it in ``mlartifacts/``; ``MLFLOW_TRACKING_URI``, where it is
set, names another store. MLflow takes seconds to import, so that happens when a run is opened, not with this module.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

import fsod
from fsod.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

# what MLflow takes in one call
_METRICS_A_CALL, _PARAMS_A_CALL, _PARAM_LENGTH = 1000, 100, 6000


@dataclass(frozen=True)
class Run:
    """An open run.

    Attributes:
        id: MLflow's run id.
        client: MLflow's client of the store that the run is in.
    """

    id: str
    client: MlflowClient

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Records values at a step, all in one call: a call a value would slow training down.

        Args:
            values: metric name -> value. Names may hold letters, digits, and ``_ - . : /`` and spaces; what else
                they hold is written ``_``, since names of classes are part of them.
            step: of the training.

        Raises:
            ValueError: two names become the same.
        """
        from mlflow.entities import Metric

        now_ms = time.time_ns() // 1_000_000
        metrics = {metric_name(name): float(value) for name, value in values.items()}
        if len(metrics) < len(values):
            raise ValueError(f"metric names become the same: {', '.join(values)}")
        batch = [Metric(name, value, now_ms, step) for name, value in metrics.items()]
        for start in range(0, len(batch), _METRICS_A_CALL):
            self.client.log_batch(self.id, metrics=batch[start : start + _METRICS_A_CALL])

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copies a file into the run, into one of its folders if one is named."""
        self.client.log_artifact(self.id, str(path), folder)

    def log_image(self, path: Path) -> None:
        """Copies a picture into the run's ``pictures/``."""
        self.log_artifact(path, "pictures")

    def log_dict(self, content: Mapping[str, Any], name: str) -> None:
        """Writes a dictionary into the run, as JSON or YAML according to the ending of its name."""
        self.client.log_dict(self.id, dict(content), name)


@contextmanager
def open_run(
    *,
    database: Path,
    experiment: str,
    run_name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    run_id_file: Path | None = None,
) -> Iterator[Run]:
    """A run that ends FINISHED, or FAILED where the body raises, or KILLED by Ctrl-C.

    Args:
        database: the SQLite file, made if missing; not used where ``MLFLOW_TRACKING_URI`` is set.
        experiment: made if missing.
        run_name: shown in the list of runs.
        params: settings, nested ones become ``section.key``.
        tags: further marks; command line and git commit are added.
        run_id_file: keeps the run's id. An interrupted run that it names goes on, if its params are the same.

    Raises:
        UserError: the store cannot be used.
    """
    uri = tracking_uri(database)
    with mlflow_errors(uri):
        client = _connect(uri)
        texts = {key: str(value)[:_PARAM_LENGTH] for key, value in _flat(params)}
        run_id = _unfinished(client, run_id_file, texts)
        if run_id is None:
            run_id = _create(client, uri, experiment, run_name, texts, {**_origin(), **tags})
            if run_id_file is not None:
                _write_text(run_id_file, run_id + "\n")
    status = "FAILED"
    try:
        yield Run(run_id, client)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        client.set_terminated(run_id, status)


def tracking_uri(database: Path) -> str:
    """Where runs are kept: ``MLFLOW_TRACKING_URI`` if it is set, else the SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database.absolute()}"


def create_store(database: Path) -> None:
    """Makes the database, if it is missing; processes that do so at the same moment wait for each other.

    Raises:
        UserError: the store cannot be used.
    """
    uri = tracking_uri(database)
    file = _sqlite_file(uri)
    if file is None or not _has_tables(file):
        with mlflow_errors(uri):
            _connect(uri)


def metric_name(text: str) -> str:
    """The nearest name that MLflow takes: other characters become ``_``, and so do path parts that lead nowhere."""
    parts = re.sub(r"[^/\w.\- :]", "_", text).split("/")
    return "/".join(part if part.strip(".") else "_" for part in parts)[:250]


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """MLflow's errors as a UserError that names the store."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        raise UserError(f"{uri}: cannot keep runs there: {' '.join(str(error).split())}") from error


def _connect(uri: str) -> MlflowClient:
    """A client of the store, which exists and is migrated when this returns."""
    from mlflow import MlflowClient

    # a hundred lines about migrations on the first run
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    database = _sqlite_file(uri)
    fresh = database is not None and not _has_tables(database)
    with _lock(database) if database and fresh else nullcontext():
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)  # the first call makes the tables, and tells whether the store answers
    return client


def _has_tables(database: Path) -> bool:
    """Whether MLflow has been here. Asked without it: it tries a file that is no database again and again."""
    try:
        with _lock(database), closing(sqlite3.connect(database)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'experiments'").fetchone()
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{database}: cannot keep runs there: {error}") from error
    return bool(tables[0])


def _sqlite_file(uri: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)).absolute() if uri.startswith(prefix) else None


def _lock(database: Path) -> FileLock:
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(database.with_name(database.name + ".lock"))


def _unfinished(client: MlflowClient, run_id_file: Path | None, params: dict[str, str]) -> str | None:
    """The id in the file, if it names a run of this store that was interrupted and has these params."""
    from mlflow.exceptions import MlflowException

    if run_id_file is None or not run_id_file.is_file():
        return None
    run_id = run_id_file.read_text(encoding="utf-8").strip()
    try:
        run: MlflowRun = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None  # the database was deleted, or is another one
        raise
    if run.info.status == "FINISHED" or run.info.lifecycle_stage != "active" or run.data.params != params:
        return None
    client.update_run(run_id, status="RUNNING")
    return run_id


def _create(
    client: MlflowClient, uri: str, experiment: str, run_name: str, params: dict[str, str], tags: dict[str, str]
) -> str:
    from mlflow.entities import Param

    run_id: str = client.create_run(_experiment_id(client, uri, experiment), tags=tags, run_name=run_name).info.run_id
    batch = [Param(key, value) for key, value in params.items()]
    for start in range(0, len(batch), _PARAMS_A_CALL):
        client.log_batch(run_id, params=batch[start : start + _PARAMS_A_CALL])
    return run_id


def _experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    database = _sqlite_file(uri)
    if database is None:
        found = client.get_experiment_by_name(name)
        return found.experiment_id if found else client.create_experiment(name)
    with _lock(database):
        found = client.get_experiment_by_name(name)
        if found:
            return found.experiment_id
        # MLflow's own choice would be the folder that the command happens to run in
        folder = database.parent / "mlartifacts" / (re.sub(r"[^\w-]+", "_", name))
        return client.create_experiment(name, artifact_location=folder.as_uri())


def _origin() -> dict[str, str]:
    """Tags that say what made a run: the command, and the commit where fsod runs from a git checkout."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    tags = {"mlflow.source.name": command, "mlflow.source.type": "LOCAL"}
    checkout = Path(fsod.__file__).parents[1]
    # not the commit of some other repository that the package is installed in
    if (checkout / ".git").exists():
        try:
            commit = _git(checkout, "rev-parse", "HEAD")
            changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
        except (OSError, subprocess.SubprocessError):
            return tags  # git is not installed, or refuses a checkout of somebody else
        tags |= {"mlflow.source.git.commit": commit, "git_changed": str(bool(changed)).lower()}
    return tags


def _git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
