from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fsod.errors import UserError
from fsod.tracking import origin as origins
from fsod.tracking.origin import origin
from fsod.tracking.tracked_run import Run, metric_name
from fsod.tracking.tracker import open_run
from fsod.tracking.tracking_store import create_store

SETTINGS = {"name": "a study", "loss": {"box": 3.0}, "novel": ["ship"]}


def opened(
    database: Path,
    id_file: Path | None = None,
    params: Mapping[str, object] = SETTINGS,
    experiment: str = "a study: 1/2",
) -> AbstractContextManager[Run]:
    return open_run(
        database=database,
        experiment=experiment,
        run_name="meta-train",
        params=params,
        tags={"stage": "meta-train"},
        run_id_file=id_file,
    )


def test_a_run_keeps_params_tags_metrics_and_files(database: Path, tmp_path: Path) -> None:
    picture = tmp_path / "found.png"
    picture.write_bytes(b"png")
    with opened(database) as run:
        run.log_metrics({"loss/total": 2.0, "AP50/storage tank": 0.5}, 10)
        run.log_metrics({"loss/total": 1.0}, 20)
        run.log_image(picture)
        run.log_dict({"seed": 3}, "scores.json")
    kept = run.client.get_run(run.id)
    assert kept.info.status == "FINISHED"
    assert kept.info.run_name == "meta-train"
    assert kept.data.params == {"name": "a study", "loss.box": "3.0", "novel": "['ship']"}
    assert kept.data.tags["stage"] == "meta-train"
    assert kept.data.metrics == {"loss/total": 1.0, "AP50/storage tank": 0.5}
    assert [(m.step, m.value) for m in run.client.get_metric_history(run.id, "loss/total")] == [(10, 2.0), (20, 1.0)]
    assert [f.path for f in run.client.list_artifacts(run.id, "pictures")] == ["pictures/found.png"]
    assert run.client.list_artifacts(run.id)[1].path == "scores.json"


def test_artifacts_lie_beside_the_database_wherever_the_command_runs(database: Path, tmp_path: Path) -> None:
    with opened(database) as run:
        run.log_dict({}, "a.json")
    assert [p.name for p in (database.parent / "mlartifacts").rglob("*.json")] == ["a.json"]
    assert [p.name for p in tmp_path.iterdir()] == [database.parent.name]


def test_artifacts_move_with_the_database(database: Path, tmp_path: Path) -> None:
    with opened(database) as run:
        run.log_dict({}, "a.json")
    copied = tmp_path / "copied, ü" / database.name
    shutil.copytree(database.parent, copied.parent)
    with opened(copied) as second:
        second.log_dict({}, "b.json")
    assert {p.name for p in (copied.parent / "mlartifacts").rglob("*.json")} == {"a.json", "b.json"}
    assert {p.name for p in (database.parent / "mlartifacts").rglob("*.json")} == {"a.json"}
    assert second.client.get_run(run.id).info.artifact_uri.startswith(copied.parent.as_uri())


def test_artifacts_elsewhere_stay_there(database: Path, tmp_path: Path) -> None:
    with opened(database) as run:
        run.log_dict({}, "a.json")
    foreign = run.client.create_experiment("of another program", f"{tmp_path.as_uri()}/theirs/mlartifacts/7")
    alone = tmp_path / "alone" / database.name
    alone.parent.mkdir()
    shutil.copy(database, alone)  # without its artifacts
    linked = tmp_path / "linked"
    linked.symlink_to(database.parent)
    for other in (alone, linked / database.name):
        with opened(other) as second:
            assert second.client.get_run(run.id).info.artifact_uri.startswith(database.parent.as_uri())
            assert "/theirs/" in second.client.get_experiment(foreign).artifact_location


@pytest.mark.parametrize("folder", ["a%20b", "50%", "a?b", "a#b ü"])
def test_any_folder_may_hold_the_database(database: Path, tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "mlflow.db"
    path.parent.mkdir()
    database.rename(path)
    with opened(path) as run:
        run.log_dict({"seed": 3}, "scores.json")
    with closing(sqlite3.connect(path)) as kept:
        assert kept.execute("SELECT run_uuid FROM runs WHERE run_uuid = ?", (run.id,)).fetchone()
    assert (path.parent / "mlartifacts").is_dir()
    assert not [p for p in tmp_path.iterdir() if p.is_file()], (
        "MLflow may leave an empty folder, but keeps nothing there"
    )


def test_many_metrics_and_params_fit(database: Path) -> None:
    params = {"loss": {f"key{i}": "x" * 7000 if i == 0 else i for i in range(250)}}
    with opened(database, params=params) as run:
        run.log_metrics({f"AP50/class {i}": i / 2500 for i in range(2500)}, 0)
    kept = run.client.get_run(run.id)
    assert len(kept.data.metrics) == 2500
    assert len(kept.data.params) == 250


@pytest.mark.parametrize(
    "name", ["AP@50", "AP50/tank (small)", "AP50/../x", "/a//b/", "", "AP50/飞机", "a\nb", "a:b c-d_e.f"]
)
def test_every_name_of_a_class_makes_a_metric(database: Path, name: str) -> None:
    with opened(database) as run:
        run.log_metrics({name: 0.5}, 0)
    assert run.client.get_run(run.id).data.metrics == {metric_name(name): 0.5}


def test_names_that_mlflow_takes_stay_and_names_that_collide_are_numbered(database: Path) -> None:
    assert metric_name("AP50/tennis court: a-b_c.d") == "AP50/tennis court: a-b_c.d"
    with opened(database) as run:
        run.log_metrics({"a(b": 1.0, "a)b": 2.0, "a[b": 3.0}, 0)
    name = metric_name("a(b")
    assert run.client.get_run(run.id).data.metrics == {name: 1.0, f"{name}_2": 2.0, f"{name}_3": 3.0}


def test_an_experiment_of_many_classes_has_a_folder_of_a_name_that_fits(database: Path) -> None:
    names = [f"dior ({', '.join(f'{kind} class {i}' for i in range(30))})" for kind in ("one", "other")]
    for name in names:
        with opened(database, experiment=name) as run:
            run.log_dict({}, "a.json")
    folders = [path.name for path in (database.parent / "mlartifacts").iterdir()]
    assert len(folders) == 2
    assert max(map(len, folders)) < 100


def fail(database: Path, error: type[BaseException], id_file: Path | None = None) -> Run:
    with pytest.raises(error), opened(database, id_file) as run:
        raise error
    return run


def test_a_run_that_raises_has_failed_and_one_interrupted_was_killed(database: Path) -> None:
    run = fail(database, RuntimeError)
    assert run.client.get_run(run.id).info.status == "FAILED"
    run = fail(database, KeyboardInterrupt)
    assert run.client.get_run(run.id).info.status == "KILLED"


def test_an_interrupted_run_goes_on_and_a_finished_one_does_not(database: Path) -> None:
    id_file = database.parent / "demo" / "meta-train.mlflow"
    interrupted = fail(database, RuntimeError, id_file)
    with opened(database, id_file) as again:
        assert again.client.get_run(again.id).info.status == "RUNNING"
    assert again.id == interrupted.id
    assert again.client.get_run(again.id).info.status == "FINISHED"
    with opened(database, id_file) as another:
        pass
    assert another.id != again.id


def test_other_settings_make_another_run(database: Path) -> None:
    id_file = database.parent / "id"
    interrupted = fail(database, RuntimeError, id_file)
    with opened(database, id_file, {**SETTINGS, "loss": {"box": 4.0}}) as run:
        pass
    assert run.id != interrupted.id


def test_an_id_of_a_lost_database_makes_a_new_run(database: Path, migrated: Path) -> None:
    id_file = database.parent / "id"
    interrupted = fail(database, RuntimeError, id_file)
    other = database.with_name("other.db")
    shutil.copy(migrated, other)
    with opened(other, id_file) as run:
        pass
    assert run.id != interrupted.id
    assert id_file.read_text().strip() == run.id
    id_file.write_text("no such id !")
    with opened(other, id_file) as run:
        pass
    assert id_file.read_text().strip() == run.id


PROGRAM = """
import os, signal, sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from fsod.tracking.tracker import open_run
database, name, killed = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "killed"
with open_run(database=database, experiment="study", run_name=name, params={"a": 1}, tags={},
              run_id_file=database.parent / name) as run:
    for step in range(20):
        run.log_metrics({"loss": 1.0, "rate": 2.0}, step)
    if killed:
        run.flush()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def start(database: Path, name: str, end: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(database), name, end], stderr=subprocess.PIPE)


def test_two_processes_share_a_fresh_database_and_a_killed_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    database = tmp_path / "runs" / "mlflow.db"
    both = [start(database, "first", "killed"), start(database, "second", "finished")]
    errors = [process.communicate(timeout=300)[1].decode() for process in both]
    assert [process.returncode for process in both] == [-signal.SIGKILL, 0], errors
    assert not any("Traceback" in text or "alembic" in text for text in errors)
    killed_id = (database.parent / "first").read_text().strip()
    with open_run(
        database=database,
        experiment="study",
        run_name="first",
        params={"a": 1},
        tags={},
        run_id_file=database.parent / "first",
    ) as run:
        assert run.id == killed_id
    runs = run.client.search_runs([e.experiment_id for e in run.client.search_experiments()])
    assert {r.info.run_name: r.info.status for r in runs} == {"first": "FINISHED", "second": "FINISHED"}
    assert len({r.info.experiment_id for r in runs}) == 1
    for r in runs:
        assert len(run.client.get_metric_history(r.info.run_id, "loss")) == 20


def test_the_environment_names_another_store(
    database: Path, migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Path(shutil.copy(migrated, tmp_path / "elsewhere.db"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    with opened(database / "not used") as run:
        run.log_dict({}, "a.json")
    assert [p.name for p in (tmp_path / "mlartifacts").rglob("*.json")] == ["a.json"]


def test_a_database_that_fails_midway_is_one_line(database: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with opened(database) as run, closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE tags RENAME TO hidden")
        with pytest.raises(UserError, match=r"cannot keep runs there: .*no such table"):
            run.tag({"a": "b"})
        connection.execute("ALTER TABLE hidden RENAME TO tags")
    assert "Traceback" not in capfd.readouterr().err


def half_made(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE datasets (of_a_later_step INTEGER)")
    raise KeyboardInterrupt


def test_a_command_that_is_ended_while_the_tables_are_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "mlflow.db"
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.store.db.utils._upgrade_db", half_made)
        with pytest.raises(KeyboardInterrupt):
            create_store(path)
    with opened(path) as run:
        run.log_metrics({"loss/total": 1.0}, 10)
    assert run.client.get_run(run.id).data.metrics == {"loss/total": 1.0}


def test_tables_that_an_ended_mlflow_left_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE experiments (a); CREATE TABLE datasets (a)")
    with pytest.raises(
        UserError, match=r"mlflow\.db: cannot keep runs there: .*was MLflow ended.*Move the database away"
    ):
        open_run(database=path, experiment="a", run_name="b", params={}, tags={}).__enter__()


def test_a_store_that_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    broken = tmp_path / "mlflow.db"
    broken.write_text("not a database at all, but long enough to look at" * 100)
    with pytest.raises(UserError, match=r"mlflow\.db.*not a database") as caught, opened(broken):
        pass
    assert "\n" not in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot keep runs"), opened(tmp_path / "file" / "mlflow.db"):
        pass


def test_a_run_names_the_commit_of_its_own_checkout_only(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        command = ["git", "-C", str(tmp_path / "checkout"), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    package = tmp_path / "checkout" / "fsod" / "tracking" / "origin.py"
    package.parent.mkdir(parents=True)
    package.touch()
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    monkeypatch.setattr(origins, "__file__", str(package))
    with opened(database) as run:
        tags = run.client.get_run(run.id).data.tags
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["git_changed"] == "false"
    package.write_text("changed = 1\n")
    assert origin()["git_changed"] == "true"
    installed = tmp_path / "checkout" / ".venv" / "site-packages" / "fsod" / "tracking" / "origin.py"
    monkeypatch.setattr(origins, "__file__", str(installed))
    assert "mlflow.source.git.commit" not in origin()


def test_mlflow_is_imported_only_when_a_run_is_opened() -> None:
    program = "import sys, fsod.tracking.tracker, fsod.tracking.dashboard; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_database_of_something_else_gets_no_tables(tmp_path: Path) -> None:
    database = tmp_path / "project.gpkg"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE roads (id)")
        connection.commit()
    before = database.read_bytes()
    with pytest.raises(UserError, match=r"project\.gpkg: holds something else than runs"):
        create_store(database)
    assert database.read_bytes() == before
