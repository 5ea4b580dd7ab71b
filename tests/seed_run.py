"""A run of one seed, a child of a study, as the steps open it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from fsod.tracking.studies import Study
from fsod.tracking.tracked_run import Run, Say
from fsod.tracking.tracker import open_run

STUDY = Study("nwpu", "abc", {"split": "S1"}, {"loss.box": "3.0"}, {"loss": {"box": 3.0}})


def seed_run(
    database: Path, seed: int, study: Study = STUDY, say: Say = print, *, reopen: bool = False
) -> AbstractContextManager[Run]:
    return open_run(
        database=database,
        experiment="nwpu S1",
        run_name=f"K=5/seed={seed}",
        params={"seed": seed},
        tags={"shots": "5", "seed": str(seed)},
        run_id_file=database.parent / f"{seed}.mlflow",
        study=study,
        reopen=reopen,
        say=say,
    )
