"""An open run: what a step writes into MLflow."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import psutil

from fsod.errors import UserError
from fsod.tracking.studies import summarise
from fsod.tracking.system_metrics import SystemMetrics
from fsod.tracking.tracking_store import in_short, is_away, is_server, mlflow_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

Say = Callable[[str], None]
METRICS_A_CALL = 1000
"""As many as MLflow takes."""
_SEND_EVERY_S, _SYSTEM_EVERY_S = 1.0, 10.0


@dataclass(frozen=True)
class Place:
    """Where a run is.

    Attributes:
        uri: of the store.
        client: of the store.
        run_id: in the store.
        study_id: of the study that it is a child of, if it is one.
        began_s: when the run began, in seconds since 1970.
    """

    uri: str
    client: MlflowClient
    run_id: str
    study_id: str | None
    began_s: float


class Run:
    """An open run.

    Metrics are sent once a second by a thread of its own, so that training waits for no store; all else is sent at once.
    """

    def __init__(self, place: Place, stand_in: Callable[[Place, Exception], Place], say: Say) -> None:
        self._place, self._stand_in, self._say = place, stand_in, say
        self._began_s = place.began_s  # system metrics are counted in seconds from here
        self._metrics: SimpleQueue[Metric] = SimpleQueue()
        self._sending = threading.RLock()
        self._ended = threading.Event()
        self._failure: UserError | None = None
        self._thread = threading.Thread(target=self._send_regularly, name="tracking", daemon=True)
        self._thread.start()

    @property
    def id(self) -> str:
        """MLflow's run id."""
        return self._place.run_id

    @property
    def client(self) -> MlflowClient:
        """MLflow's client of the store that the run is in."""
        return self._place.client

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Records values at a step.

        Args:
            values: metric name -> value. Names may hold letters, digits, and ``_ - . : /`` and spaces; what else
                they hold is written ``_``, since names of classes are part of them.
            step: of the training.

        Raises:
            UserError: the local store failed when values before these were sent.
        """
        from mlflow.entities import Metric

        if self._failure is not None:
            raise self._failure
        now_ms = time.time_ns() // 1_000_000
        metrics: dict[str, float] = {}
        for name, value in values.items():
            known = metric_name(name)
            numbered = (known if i == 1 else f"{known}_{i}" for i in count(1))  # names that become the same
            metrics[next(one for one in numbered if one not in metrics)] = float(value)
        for name, value in metrics.items():
            self._metrics.put(Metric(name, value, now_ms, step))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copies a file into the run, into one of its folders if one is named."""
        self._send(lambda place: place.client.log_artifact(place.run_id, str(path), folder))

    def log_image(self, path: Path) -> None:
        """Copies a picture into the run's ``pictures/``."""
        self.log_artifact(path, "pictures")

    def log_image_of_study(self, path: Path) -> None:
        """Copies a picture into the ``pictures/`` of the study, if the run belongs to one; the last of a name stays."""
        self._send(partial(_send_to_study, path))

    def log_dict(self, content: Mapping[str, Any], name: str) -> None:
        """Writes a dictionary into the run, as JSON or YAML according to the ending of its name."""
        self._send(lambda place: place.client.log_dict(place.run_id, dict(content), name))

    def log_data(self, context: str, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """Says which data the run uses.

        Args:
            context: what for: meta-train, support, query, test.
            name: of the data.
            digest: their hash; MLflow keeps the first 36 characters.
            source: the folder or file.
            profile: what is in them, counted.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(name, digest[:36], "local", json.dumps({"uri": source}), profile=json.dumps(dict(profile)))
        used = DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
        self._send(lambda place: place.client.log_inputs(place.run_id, [used]))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets marks that were not known when the run was opened."""
        from mlflow.entities import RunTag

        batch = [RunTag(key, value) for key, value in tags.items()]
        self._send(lambda place: place.client.log_batch(place.run_id, tags=batch))

    def summarise(self) -> None:
        """Brings the study's means over seeds up to date with what this run has measured."""
        self.flush()
        self._send(_summarise_study)

    def flush(self) -> None:
        """Sends the metrics that wait."""
        with self._sending:
            while waiting := min(self._metrics.qsize(), METRICS_A_CALL):
                batch = [self._metrics.get() for _ in range(waiting)]
                self._send(partial(_send_batch, batch))

    def end(self, status: str) -> None:
        """Sends the rest and closes the run with a status of MLflow's."""
        self._ended.set()
        self._thread.join()
        self.flush()
        self._send(lambda place: place.client.set_terminated(place.run_id, status))
        if self._failure is not None:
            raise self._failure

    def _send(self, call: Callable[[Place], object]) -> None:
        """Does something with the store; where that is a server and does not answer, with the local one from now on."""
        from mlflow.exceptions import MlflowException

        with self._sending:
            try:
                call(self._place)
            except (MlflowException, OSError) as error:
                with mlflow_errors(self._place.uri):
                    if not (is_server(self._place.uri) and is_away(error)):
                        raise
                    self._place = self._stand_in(self._place, error)
                    call(self._place)

    def _send_regularly(self) -> None:
        system: SystemMetrics | None = None
        next_reading_s = 0.0
        while not self._ended.wait(_SEND_EVERY_S):
            if time.monotonic() >= next_reading_s:
                next_reading_s = time.monotonic() + _SYSTEM_EVERY_S
                try:
                    if system is None:
                        system, next_reading_s = SystemMetrics(), 0.0  # its first reading counts from now on
                    else:
                        self.log_metrics(system.read(), int(time.time() - self._began_s))
                except (OSError, psutil.Error) as error:
                    self._say(f"no system metrics: {in_short(error)}")
                    next_reading_s = math.inf
            try:
                self.flush()
            except UserError as error:
                self._failure = error
                return


def _send_batch(batch: list[Metric], place: Place) -> None:
    place.client.log_batch(place.run_id, metrics=batch)


def _send_to_study(path: Path, place: Place) -> None:
    if place.study_id is not None:
        place.client.log_artifact(place.study_id, str(path), "pictures")


def _summarise_study(place: Place) -> None:
    if place.study_id is not None:
        summarise(place.client, place.study_id)


def metric_name(text: str) -> str:
    """The nearest name that MLflow takes: other characters become ``_``, and so do path parts that lead nowhere."""
    parts = re.sub(r"[^/\w.\- :]", "_", text).split("/")
    return "/".join(part if part.strip(".") else "_" for part in parts)[:250]
