"""Registering a class bank with its weights as a model in MLflow, and serving it on this machine."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsod.about import __version__
from fsod.config import PredictSettings
from fsod.errors import UserError
from fsod.files import held
from fsod.geo.windows import window_grid
from fsod.packages import pinned
from fsod.progress import say
from fsod.steps.searcher import load_searcher
from fsod.store.class_bank import checkpoint_of
from fsod.tracking.dashboard import free_port
from fsod.tracking.tracker import open_run
from fsod.tracking.tracking_store import connect, local_uri, mlflow_errors, shown, tracking_uri

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

HOST = "127.0.0.1"
EXPERIMENT = "models"
OF_ONE_SEARCH = {"aoi", "restart"}
"""Settings that say nothing of a detector."""


def register_model(
    bank: Path, checkpoint: Path | None, name: str, alias: str, plan: PredictSettings, database: Path
) -> dict[str, Any]:
    """Puts a bank and its weights into MLflow's registry, as a new version that the alias then points to.

    Args:
        bank: a class bank, or what ``fsod export`` made of one (.onnx).
        checkpoint: the weights, where the bank says if None.
        name: of the registered model.
        alias: moves to the new version.
        plan: how the model goes over an image.
        database: of the registry; not used where ``MLFLOW_TRACKING_URI`` is set.

    Raises:
        UserError: bank and weights or window and overlap do not belong together, or MLflow refuses the name, the alias or the store.
    """
    if alias.lower() == "latest" or re.fullmatch(r"v\d+", alias.lower()):
        raise UserError(f"--alias {alias}: MLflow keeps it for versions themselves; choose another name")
    if not re.fullmatch(r"[\w-]{1,255}", alias):  # MLflow would say so once the version is there, without an alias
        raise UserError(f"--alias {alias!r}: give letters, digits, _ and - alone, 255 at most")
    if not name.strip() or {"/", ":"} & set(name):
        raise UserError(f"--name {name!r}: give a name without / and :")
    searcher = load_searcher(bank, checkpoint, plan)
    window_grid(searcher.window_px, searcher.window_px, searcher.window_px, plan.overlap_px)  # UserError if none
    exported = bank.suffix.lower() == ".onnx"
    files = {"bank": bank} if exported else {"bank": bank, "weights": checkpoint or checkpoint_of(bank)}
    facts = {
        "fsod": __version__,
        "classes": ", ".join(searcher.class_names),
        "weights_sha256": searcher.weights_sha256,
        "bank_sha256": searcher.bank_sha256,
    }
    config = plan.model_dump(mode="json", exclude=OF_ONE_SEARCH)
    with (
        held(database.with_name(f".{database.name}.register.fsod-lock"), database),
        open_run(
            database=database, experiment=EXPERIMENT, run_name=name, params=config, tags={"stage": "register", **facts}
        ) as run,
    ):
        import mlflow

        uri = tracking_uri(database)
        with (
            _chosen(uri),
            mlflow_errors(uri, "cannot register the model there"),
            mlflow.start_run(run_id=run.id),
            warnings.catch_warnings(),
        ):
            # the signature is given, and a picture in base64 would explain nothing
            warnings.filterwarnings("ignore", "(?s).*(input example|type hints)")
            logging.getLogger("mlflow.models.signature").setLevel(logging.WARNING)
            logged = mlflow.pyfunc.log_model(
                name="detector",
                python_model=str(Path(__file__).parents[1] / "mlflow_model.py"),
                artifacts={key: str(path.absolute()) for key, path in files.items()},
                model_config=config,
                signature=_signature(),
                pip_requirements=pinned("track", *["onnx"] * exported),
                metadata=facts,
                registered_model_name=name,
            )
            number = str(logged.registered_model_version)
            run.client.set_registered_model_alias(name, alias, number)
    return {
        "model": f"models:/{name}@{alias}",
        "version": number,
        "registry": shown(uri),
        "classes": list(searcher.class_names),
        "next": f"fsod serve {name} --alias {alias}",
    }


@contextmanager
def _chosen(uri: str) -> Iterator[None]:
    """MLflow's own functions use this store. MLflow exports its address, which later runs would take for the user's."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


def _signature() -> ModelSignature:
    """A row an image or a scene; a row of detections each."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Object, Property, Schema

    text, number, whole = DataType.string, DataType.double, DataType.long
    found = Object(
        [
            Property("class", text),
            Property("score", number),
            Property("box_xyxy_px", Array(number)),
            Property("lonlat", AnyType(), required=False),  # a GeoJSON geometry, null without a coordinate system
        ]
    )
    return ModelSignature(
        inputs=Schema([ColSpec(text, "image", required=False), ColSpec(text, "scene", required=False)]),
        outputs=Schema(
            [
                ColSpec(whole, "width_px"),
                ColSpec(whole, "height_px"),
                ColSpec(AnyType(), "gsd_m", required=False),
                ColSpec(Array(found), "detections"),
                ColSpec(Array(text), "warnings"),
            ]
        ),
    )


def serve_model(
    name: str,
    alias: str,
    scenes: Path | None,
    port: int,
    timeout_s: int,
    database: Path,
    hosts: Sequence[str] = (),
) -> None:
    """Becomes MLflow's scoring server of a registered model, see ``guarded_server``, on 127.0.0.1.

    Args:
        name: of the registered model.
        alias: that names its version.
        scenes: the folder that requests may name scenes of; None: none.
        port: where it is taken, the next free one.
        timeout_s: after this long a request is answered with status 504.
        database: of the registry; not used where ``MLFLOW_TRACKING_URI`` is set.
        hosts: further names that requests may call this machine, as through a proxy.

    Raises:
        UserError: no such model, no such folder, no free port.
    """
    if scenes is not None and not scenes.is_dir():
        raise UserError(f"--scenes {scenes}: no such folder")
    uri = tracking_uri(database)
    if uri == local_uri(database) and not database.is_file():
        raise UserError(f"{database}: no such database; name the one that `fsod register` wrote to (--database)")
    with mlflow_errors(uri, "this model cannot be had from there, see `fsod register`"):
        connect(uri).get_model_version_by_alias(name, alias)
    free = free_port(port)
    if free != port:
        say(f"port {port} is taken, {free} is free")
    say(f"serving models:/{name}@{alias} at http://{HOST}:{free}/invocations   (Ctrl-C stops it)")
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": str(timeout_s),
        "FSOD_MODEL": f"models:/{name}@{alias}",
        "FSOD_HOSTS": ",".join([HOST, "localhost", *hosts]),
    }
    if scenes is not None:
        environment["FSOD_SCENES"] = str(scenes.resolve())
    server = ["-m", "uvicorn", "--host", HOST, "--port", str(free), "fsod.steps.guarded_server:app"]
    os.execve(sys.executable, [sys.executable, *server], environment)
