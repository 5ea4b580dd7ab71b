from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fsod.tracking.run_scores import half_interval
from fsod.tracking.studies import PARENT, Study, children, summary
from tests.seed_run import seed_run


def scored(k: int | None, seed: int, **scores: float) -> Any:
    tags = {"seed": str(seed)} | ({} if k is None else {"shots": str(k)})
    return SimpleNamespace(data=SimpleNamespace(tags=tags, metrics={f"AP/{n}": v for n, v in scores.items()}))


def test_mean_and_interval_over_the_seeds_of_each_k() -> None:
    runs = [scored(5, 0, novel=0.2), scored(5, 1, novel=0.4), scored(5, 2, novel=0.6), scored(10, 0, novel=0.5)]
    found = summary([*runs, scored(None, 0, novel=0.9)])
    assert found["K5/novel_mean"] == pytest.approx((0.4, 3))
    assert found["K5/novel_ci95"] == pytest.approx((4.302653 * 0.2 / 3**0.5, 3))  # t of 2 degrees, 0.975
    assert found["K10/novel_mean"] == (0.5, 1)
    assert "K10/novel_ci95" not in found
    assert found["K5/seeds"] == (3.0, 3)


def test_a_seed_that_was_run_again_counts_once() -> None:
    found = summary([scored(5, 0, novel=0.2), scored(5, 1, novel=0.4), scored(5, 0, novel=0.6), scored(5, 1)])
    assert found["K5/novel_mean"] == pytest.approx((0.5, 2))
    assert found["K5/novel_ci95"] == pytest.approx((half_interval([0.6, 0.4]), 2))


def test_runs_of_the_same_settings_are_children_of_one_study(database: Path) -> None:
    for seed, ap in ((0, 0.25), (1, 0.75)):
        with seed_run(database, seed) as run:
            run.log_metrics({"AP/novel_map50": ap}, 0)
            run.summarise()
    with seed_run(database, 0, Study("nwpu", "other", {}, {}, {})) as alone:
        pass
    own = run.client.get_run(run.id)
    study = run.client.get_run(own.data.tags[PARENT])
    assert (study.info.run_name, study.info.status) == ("nwpu", "FINISHED")
    assert study.data.params == {"loss.box": "3.0"}
    assert study.data.tags.items() >= {"stage": "study", "split": "S1", "configuration": "abc"}.items()
    assert [c.info.run_name for c in children(run.client, study)] == ["K=5/seed=0", "K=5/seed=1"]
    assert study.data.metrics["K5/novel_map50_mean"] == 0.5
    assert study.data.metrics["K5/novel_map50_ci95"] == pytest.approx(half_interval([0.25, 0.75]))
    steps = run.client.get_metric_history(study.info.run_id, "K5/novel_map50_mean")
    assert [(m.step, m.value) for m in steps] == [(1, 0.25), (2, 0.5)]
    config = Path(run.client.download_artifacts(study.info.run_id, "config.yaml"))
    assert config.read_text() == "loss:\n  box: 3.0\n"
    assert alone.client.get_run(alone.id).data.tags[PARENT] != study.info.run_id
