"""Where runs are kept: one SQLite database, or the store that ``MLFLOW_TRACKING_URI`` names.

Artifacts lie beside the database in ``mlartifacts/``, and move with it. MLflow takes seconds to import, so that happens when a store is
opened, not with this module.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from filelock import FileLock

from fsod.errors import UserError
from fsod.files import shortened

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
ARTIFACTS = "mlartifacts"
"""The folder of artifacts, beside the database."""
_NAMING_THEM = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Tables of MLflow's database, and the column of each that names a folder of artifacts by its whole path."""
_MLFLOW = {
    # its own patience with a server that does not answer is many minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def local_uri(database: Path) -> str:
    """The SQLite file, as MLflow writes it."""
    # in an address %20 is a code and ? the end of the path; all else stands for itself
    name = re.sub(r"%(?=[0-9a-fA-F]{2})", "%25", str(database.absolute())).replace("?", "%3F")
    return f"{_SQLITE}{name}"


def tracking_uri(database: Path) -> str:
    """Where runs are kept: ``MLFLOW_TRACKING_URI`` if it is set, else the SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri(database)


def is_server(uri: str) -> bool:
    """Whether a store is reached over the network, and may be away."""
    return uri.startswith(("http://", "https://"))


def is_away(error: Exception) -> bool:
    """Whether an error says that a server does not answer, or not as one that is well; else it is of this machine's making.

    A file that is missing here, a full disk, or what the server refuses (status 4xx) does not go away with another store.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    if isinstance(error, RequestException):  # of a connection; an OSError, too
        return True
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
        return status >= 500 or any(isinstance(cause, RequestException) for cause in _causes(error))
    return isinstance(error, ConnectionError | TimeoutError)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def create_store(database: Path) -> None:
    """Makes the database, if it is missing; processes that do so at the same moment wait for each other.

    Raises:
        UserError: the store cannot be used.
    """
    uri = tracking_uri(database)
    file = _sqlite_file(uri)
    if file is None or not _has_tables(file):
        with mlflow_errors(uri):
            connect(uri)
    else:
        _follow(file)


def connect(uri: str) -> MlflowClient:
    """A client of a store, which exists and is migrated when this returns; a server gets seconds to answer.

    Raises:
        MlflowException, OSError: the store cannot be used.
        UserError: the file is no database.
    """
    for key, value in _MLFLOW.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient

    # a hundred lines about migrations on the first run, and about what is raised too; every attempt to reach a server
    for name in ("alembic", "mlflow.store.db.utils", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    database = _sqlite_file(uri)
    if database is not None and _has_tables(database):
        _follow(database)
    elif database is not None:
        _create(database)
    client = MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)  # tells whether the store answers
    return client


_LONGEST = 80
"""Characters of an experiment's folder."""


def experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    """The experiment of a name, made if missing. Under ``store_lock``, if others may ask for it at the same moment."""
    found = client.get_experiment_by_name(name)
    if found:
        if found.lifecycle_stage != "active":
            raise UserError(
                f"{shown(uri)}: the experiment {name!r} was deleted there; restore it (mlflow experiments restore "
                f"--experiment-id {found.experiment_id}), or give the configuration another name"
            )
        return found.experiment_id
    database = _sqlite_file(uri)
    if database is None:
        return client.create_experiment(name)
    # MLflow's own choice would be the folder that the command happens to run in
    folder = database.parent / ARTIFACTS / shortened(re.sub(r"[^\w-]+", "_", name), _LONGEST)
    return client.create_experiment(name, artifact_location=folder.as_uri())


def store_lock(uri: str, database: Path) -> FileLock:
    """Held by the one process of this machine that makes what others may be making too.

    Args:
        uri: of the store.
        database: beside it lies the lock of a store that is no file.
    """
    return _lock(_sqlite_file(uri) or database)


@contextmanager
def mlflow_errors(uri: str, what: str = "cannot keep runs there") -> Iterator[None]:
    """Turns what MLflow raises into a UserError that says ``what`` could not be done."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, OSError) as error:
        raise UserError(f"{shown(uri)}: {what}: {in_short(error)}") from error
    except SQLAlchemyError as error:  # of making or upgrading the tables; MLflow wraps all others
        raise UserError(
            f"{shown(uri)}: {what}: {in_short(error)}; was MLflow ended while it changed the tables? Move the database "
            "away to begin a new one, or put a copy of it back"
        ) from error


def shown(text: str) -> str:
    """A text without the names and passwords that addresses in it hold."""
    return re.sub(r"//[^/\s]*@", "//", text)


def in_short(error: Exception) -> str:
    """What an error says, in one line of bearable length, without passwords."""
    return shown(" ".join(str(error).split()))[:300]


def _has_tables(database: Path) -> bool:
    """Whether MLflow has been here. Asked without it: it tries a file that is no database again and again."""
    try:
        with _lock(database):
            names = _tables(database)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{database}: cannot keep runs there: {error}") from error
    if names and not names & {"experiments", "alembic_version"}:  # the second comes first
        raise UserError(f"{database}: holds something else than runs; name another database")
    return "experiments" in names


def _tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _create(database: Path) -> None:
    """Makes the tables, all or none of them.

    MLflow makes them in dozens of steps, for seconds, and never again opens a database in which it was ended between two.
    """
    from mlflow import MlflowClient

    try:
        with _lock(database), TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            if _tables(database):
                return  # another process was faster
            elsewhere = Path(folder) / "mlflow.db"
            MlflowClient(tracking_uri=local_uri(elsewhere)).search_experiments(
                max_results=1
            )  # the first call makes them
            with closing(sqlite3.connect(elsewhere)) as whole, closing(sqlite3.connect(database)) as connection:
                whole.backup(connection)
    except sqlite3.Error as error:
        raise UserError(f"{database}: cannot keep runs there: {error}") from error


def _follow(database: Path) -> None:
    """Where the database was moved or copied with its artifacts, has it name those beside it, not those at the old place.

    MLflow keeps whole paths: else the old folder is made again, or the runs of a copy end up among those it was copied from.
    """
    beside = database.parent / ARTIFACTS
    if not beside.is_dir():
        return
    try:
        with _lock(database), closing(sqlite3.connect(database)) as connection, connection:
            for table, column in _NAMING_THEM:
                if column not in {about[1] for about in connection.execute(f"PRAGMA table_info({table})")}:
                    continue  # of an older MLflow
                named = f"SELECT DISTINCT {column} FROM {table} WHERE {column} LIKE 'file:///%/{ARTIFACTS}/%'"
                for (uri,) in connection.execute(named).fetchall():
                    folder, _, rest = uri.rpartition(f"/{ARTIFACTS}/")
                    old = Path(url2pathname(urlsplit(folder).path)) / ARTIFACTS
                    # other programs may have kept theirs elsewhere
                    came_along = (beside / unquote(rest.partition("/")[0])).is_dir()
                    if came_along and old != beside and not (old.is_dir() and old.samefile(beside)):
                        new = f"{beside.as_uri()}/{rest}"
                        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, uri))
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{database}: cannot keep runs there: {error}") from error


def _lock(database: Path) -> FileLock:
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(database.with_name(database.name + ".lock"))


def _sqlite_file(uri: str) -> Path | None:
    if not uri.startswith(_SQLITE):
        return None
    return Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0])).absolute()
