"""A study: the run that stands for a configuration in MLflow. Its children are the stages, and each K and seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fsod.tracking.run_scores import half_interval

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

PARENT = "mlflow.parentRunId"
CONFIG = "config.yaml"
MEASURED = "AP/"
"""What the names of metrics begin with that are averaged over seeds."""
_PAGE = 1000


@dataclass(frozen=True)
class Study:
    """A configuration.

    Attributes:
        name: shown in the list of runs.
        configuration: hash of the settings; runs of the same settings are children of one study, whoever starts them.
        tags: of the run.
        params: settings, flat.
        settings: as loaded, kept as ``config.yaml``.
    """

    name: str
    configuration: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    settings: Mapping[str, Any]


def study_run(client: MlflowClient, experiment: str, study: Study) -> str:
    """The id of a study's run, made if missing. Under ``store_lock``, if others may ask for it at the same moment.

    Args:
        client: of the store.
        experiment: its id.
        study: the configuration.
    """
    wanted = f"tags.configuration = '{study.configuration}' and tags.stage = 'study'"
    found = client.search_runs([experiment], filter_string=wanted, order_by=["attributes.start_time ASC"])
    if found:
        return found[0].info.run_id
    tags = {**study.tags, "stage": "study", "configuration": study.configuration}
    run_id = client.create_run(experiment, tags=tags, run_name=study.name).info.run_id
    log_params(client, run_id, study.params)
    client.log_dict(run_id, dict(study.settings), CONFIG)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def log_params(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> None:
    """Writes params, as many a call as MLflow takes."""
    from mlflow.entities import Param

    batch = [Param(key, value) for key, value in params.items()]
    for start in range(0, len(batch), 100):
        client.log_batch(run_id, params=batch[start : start + 100])


def summarise(client: MlflowClient, study_id: str) -> None:
    """Writes mean and 95 % interval over seeds into the study's run, for each K: ``K5/novel_map50_mean`` and so on.

    The interval is Student's, ``mean ± t(0.975, n - 1) s / sqrt(n)``; it is left out where there is one seed alone. Of a
    seed that was run again the last run counts. The step is the number of seeds, so that a chart shows what more of them
    change.
    """
    study = client.get_run(study_id)
    now = summary(children(client, study))
    changed = {n: (v, seeds) for n, (v, seeds) in now.items() if study.data.metrics.get(n) != v}
    for name, (value, seeds) in changed.items():
        client.log_metric(study_id, name, value, step=seeds)


def summary(runs: list[MlflowRun]) -> dict[str, tuple[float, int]]:
    """Metric name -> value and number of seeds, of runs from the oldest to the newest."""
    measured: defaultdict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for run in runs:
        tags = run.data.tags
        for name, value in run.data.metrics.items():
            if name.startswith(MEASURED) and "shots" in tags and "seed" in tags:
                measured[tags["shots"], name.removeprefix(MEASURED)][tags["seed"]] = value
    found: dict[str, tuple[float, int]] = {}
    for (k, name), of_seed in measured.items():
        values = list(of_seed.values())
        found[f"K{k}/{name}_mean"] = fmean(values), len(values)
        if len(values) > 1:
            found[f"K{k}/{name}_ci95"] = half_interval(values), len(values)
        seeds = max(len(values), found.get(f"K{k}/seeds", (0.0, 0))[1])
        found[f"K{k}/seeds"] = float(seeds), seeds
    return found


def children(client: MlflowClient, study: MlflowRun) -> list[MlflowRun]:
    """The runs of a study, from the oldest to the newest."""
    wanted = f"tags.`{PARENT}` = '{study.info.run_id}'"
    return list(all_runs(client, [study.info.experiment_id], wanted))


def all_runs(client: MlflowClient, experiments: list[str], wanted: str) -> Iterator[MlflowRun]:
    """All runs that a filter lets through, from the oldest to the newest."""
    page: str | None = None
    while True:
        runs = client.search_runs(
            experiments, wanted, max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=page
        )
        yield from runs
        page = runs.token
        if not page:
            return
