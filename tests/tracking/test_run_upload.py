from __future__ import annotations

import errno
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fsod.errors import UserError
from fsod.tracking.run_upload import upload_runs
from fsod.tracking.studies import PARENT
from fsod.tracking.tracker import CONTINUES, UPLOADED_AS, WAITS_FOR
from fsod.tracking.tracking_store import connect, is_away, local_uri
from tests.seed_run import seed_run


@pytest.fixture
def port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def server_store(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database of a server, which MLflow's application finds by its environment, once in a process."""
    from mlflow.server import handlers

    monkeypatch.setattr(handlers, "_tracking_store", None)
    monkeypatch.setattr(handlers, "_artifact_repo", None)
    folder = tmp_path / "server"
    folder.mkdir()
    path = Path(shutil.copy(migrated, folder))
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", local_uri(path))
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", str(folder / "artifacts"))
    monkeypatch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
    return path


@contextmanager
def serving(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """MLflow's own server, in a thread."""
    import uvicorn
    from mlflow.server.fastapi_app import app

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield
    finally:
        server.force_exit = server.should_exit = True
        thread.join()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")  # the server has set it for itself


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_outlives_its_server_and_the_records_follow(
    database: Path, server_store: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    picture = database.parent / "found.png"
    picture.write_bytes(b"png")
    said: list[str] = []
    with serving(port, monkeypatch):
        up = seed_run(database, 0, say=said.append)
        first = up.__enter__()
        first.log_metrics({"loss/total": 3.0}, 10)
        first.flush()
        assert not said
        on_server = first.id
    for step in (20, 30):
        first.log_metrics({"loss/total": 30 / step, "AP/novel_map50": 0.5}, step)
    first.log_image(picture)
    first.log_data("test", "nwpu/data", "0" * 64, "runs/nwpu/data", {"images": 2})
    up.__exit__(None, None, None)
    assert len(said) == 1
    assert "fsod runs upload" in said[0]
    assert first.id != on_server

    with seed_run(database, 1, say=said.append) as second:  # the server was away from the start
        second.log_metrics({"AP/novel_map50": 0.7}, 0)
        second.summarise()
    assert len(said) == 2
    with pytest.raises(UserError, match=f"127.0.0.1:{port}: cannot keep runs there"):
        upload_runs(database)

    with serving(port, monkeypatch):
        assert upload_runs(database) == {"uploaded": 2, "going_on": 0, "server": f"http://127.0.0.1:{port}"}
        assert upload_runs(database)["uploaded"] == 0
    there, here = connect(local_uri(server_store)), connect(local_uri(database))
    assert here.get_run(first.id).data.tags[CONTINUES] == on_server
    assert WAITS_FOR not in here.get_run(first.id).data.tags

    run = there.get_run(on_server)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "K=5/seed=0")
    history = there.get_metric_history(on_server, "loss/total")
    assert [(m.step, m.value) for m in history] == [(10, 3.0), (20, 1.5), (30, 1.0)]
    assert [d.dataset.name for d in run.inputs.dataset_inputs] == ["nwpu/data"]
    assert (
        server_store.parent / "artifacts" / run.info.experiment_id / on_server / "artifacts/pictures/found.png"
    ).is_file()
    study = there.get_run(run.data.tags[PARENT])
    assert study.data.metrics["K5/novel_map50_mean"] == pytest.approx(0.6)
    assert study.data.metrics["K5/seeds"] == 2
    runs = there.search_runs([run.info.experiment_id])
    assert sorted(r.info.run_name for r in runs) == ["K=5/seed=0", "K=5/seed=1", "nwpu"]
    assert not any(WAITS_FOR in r.data.tags for r in runs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_and_scores_stay_one_run_whenever_the_server_is_away(
    database: Path, server_store: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")

    def scored(seed: int, value: float) -> None:
        with seed_run(database, seed, reopen=True) as run:
            run.log_metrics({"AP/novel_map50": value}, 0)

    with serving(port, monkeypatch), seed_run(database, 10) as run:
        run.log_metrics({"loss/total": 3.0}, 10)
    with seed_run(database, 11) as run:  # this one begins without it
        run.log_metrics({"loss/total": 2.0}, 10)
    scored(10, 0.5)
    scored(11, 0.5)
    with serving(port, monkeypatch):
        upload_runs(database)
        scored(10, 0.6)
        scored(11, 0.6)
        there = connect(f"http://127.0.0.1:{port}")
        runs = there.search_runs([e.experiment_id for e in there.search_experiments()])
    found = [(run.info.run_name, dict(run.data.metrics)) for run in runs if "seed=1" in run.info.run_name]
    assert sorted(found)[-2:] == [
        ("K=5/seed=10", {"loss/total": 3.0, "AP/novel_map50": 0.6}),
        ("K=5/seed=11", {"loss/total": 2.0, "AP/novel_map50": 0.6}),
    ]
    assert sum(name in ("K=5/seed=10", "K=5/seed=11") for name, _ in found) == 2
    scored(11, 0.7)  # away again, though the run was uploaded before
    with serving(port, monkeypatch):
        assert upload_runs(database)["uploaded"] == 1
        there = connect(f"http://127.0.0.1:{port}")
        (known,) = [run.info.run_id for run in runs if run.info.run_name == "K=5/seed=11"]
        assert 0.7 in [m.value for m in there.get_metric_history(known, "AP/novel_map50")]
    # what was deleted on the server is made anew, and keeps nothing else from being brought there
    with seed_run(database, 12) as run:
        local = run.id
    with serving(port, monkeypatch):
        gone = next(run.info.run_id for run in runs if run.info.run_name == "K=5/seed=10")
        connect(f"http://127.0.0.1:{port}").delete_run(gone)
        connect(local_uri(database)).set_tag(local, UPLOADED_AS, gone)
        assert upload_runs(database)["uploaded"] == 1
    assert connect(local_uri(database)).get_run(local).data.tags[UPLOADED_AS] != gone


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_goes_on_at_the_server_before_an_upload_is_one_run(
    database: Path, server_store: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that ended while the server was away, and one that was interrupted then."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with seed_run(database, 13) as run:
        run.log_metrics({"loss/total": 2.0}, 10)

    def interrupted() -> None:
        with seed_run(database, 14) as run:
            run.log_metrics({"loss/total": 3.0}, 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with serving(port, monkeypatch):
        with seed_run(database, 13, reopen=True) as run:
            run.log_metrics({"AP/novel_map50": 0.5}, 0)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")  # the server has set it for itself
        with seed_run(database, 14) as run:
            run.log_metrics({"loss/total": 2.0}, 20)
        assert upload_runs(database)["uploaded"] == 2
        there = connect(f"http://127.0.0.1:{port}")
        runs = there.search_runs([e.experiment_id for e in there.search_experiments()])
        found = {run.info.run_name: run for run in runs if "seed=1" in run.info.run_name}
        assert len(found) == sum("seed=1" in run.info.run_name for run in runs) == 2
        assert found["K=5/seed=13"].data.metrics == {"loss/total": 2.0, "AP/novel_map50": 0.5}
        both = there.get_metric_history(found["K=5/seed=14"].info.run_id, "loss/total")
        assert sorted((m.step, m.value) for m in both) == [(10, 3.0), (20, 2.0)]


def test_addresses_are_shown_without_their_passwords(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://alice:s3c@ret@127.0.0.1:9")
    said: list[str] = []
    with seed_run(database, 0, say=said.append) as run:
        pass
    assert "ret" not in " ".join(said).replace("retries", "")
    assert connect(local_uri(database)).get_run(run.id).data.tags[WAITS_FOR] == "http://127.0.0.1:9"
    with pytest.raises(UserError) as error:
        upload_runs(database)
    assert "ret@" not in str(error.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_error_of_this_machine_moves_no_run(
    database: Path, server_store: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is missing here, a full disk, what the server refuses: another store would not mend them."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    said: list[str] = []

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(port, monkeypatch):
        with seed_run(database, 0, say=said.append) as run:
            on_server = run.id
            with pytest.raises(UserError, match=r"gone\.png"):
                run.log_image(database.parent / "gone.png")
            with monkeypatch.context() as patch:
                patch.setattr(run.client, "log_artifact", full_disk)
                with pytest.raises(UserError, match="No space left"):
                    run.log_image(database)
            with pytest.raises(UserError, match="cannot keep runs there"):
                run.tag({"x" * 600: "a name that no server takes"})
            run.log_metrics({"loss/total": 3.0}, 10)
            run.flush()
            assert (said, run.id) == ([], on_server)
        (database.parent / "1.mlflow").mkdir()  # where the run's id is to be written
        with pytest.raises(UserError, match=r"1\.mlflow"), seed_run(database, 1, say=said.append):
            pass
        assert not said
        kept = run.client.get_run(on_server)
        assert (kept.info.status, kept.data.metrics["loss/total"]) == ("FINISHED", 3.0)
    assert [e.name for e in connect(local_uri(database)).search_experiments()] == ["Default"], "nothing is kept here"


def errors_of_a_store() -> list[tuple[Exception, bool]]:
    """What may be raised while something is kept, and whether the server is away then."""
    from mlflow.exceptions import MlflowException, RestException
    from requests.exceptions import ConnectionError as NoConnection

    beneath = MlflowException("API request failed")
    beneath.__cause__ = NoConnection("refused")
    return [
        (FileNotFoundError("found.png"), False),
        (PermissionError("found.png"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (IsADirectoryError("pictures"), False),
        (MlflowException("bad value", error_code=1000), False),  # INVALID_PARAMETER_VALUE
        (RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}), False),
        (RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}), True),
        (NoConnection("refused"), True),
        (ConnectionResetError("by peer"), True),
        (TimeoutError(), True),
        (beneath, True),
    ]


@pytest.mark.parametrize("number", range(11))
def test_who_is_away_and_who_is_not(number: int) -> None:
    error, away = errors_of_a_store()[number]
    assert is_away(error) is away, repr(error)


def test_a_server_that_never_answers_is_given_up(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said: list[str] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with seed_run(database, 0, say=said.append) as run:
            run.log_metrics({"loss/total": 1.0}, 1)
    kept = connect(local_uri(database)).get_run(run.id)
    assert kept.data.tags[WAITS_FOR] == address
    assert kept.data.metrics["loss/total"] == 1.0
    assert len(said) == 1
    assert "\n" not in said[0]


def test_uploading_needs_a_server_and_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI"):
        upload_runs(tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="no such database"):
        upload_runs(tmp_path / "mlflow.db")
