from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fsod.compute.device import Machine
from fsod.compute.distributed import share_of, threads
from fsod.config import EpisodeSettings
from fsod.config_file import load_settings
from fsod.data.coco_folder import load_folder, write_json
from fsod.data.procedural.drawn_episodes import ProceduralEpisodes
from fsod.data.real_episodes import Episode, RealEpisodes
from fsod.errors import UserError
from fsod.tracking.run_paths import RunPaths
from fsod.training import finetune
from fsod.training.meta_train import meta_train
from fsod.training.refine import REFINING
from tests.compute.frozen_curve import STEPS, curve
from tests.compute.shared_refining import refined
from tests.made_folder import make_folder

CPU = Machine(torch.device("cpu"), torch.float32)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def in_two(work: Callable[[int], object], folder: Path) -> list[Any]:
    """What two processes return, each told its rank: forks of this one, as torchrun would start them."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]

    def as_rank(rank: int) -> None:
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="127.0.0.1")
        write_json(folder / f"{rank}.json", work(rank))

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=as_rank, args=(rank,), daemon=True) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    make_folder(folder)
    alone = curve(folder, tmp_path / "alone.state.pt")
    shared, _ = in_two(lambda rank: curve(folder, tmp_path / "shared.state.pt"), tmp_path)
    assert len(alone) == len(shared) == STEPS
    for (loss, gradient), (shared_loss, shared_gradient) in zip(alone, shared, strict=True):
        assert abs(loss - shared_loss) < 1e-3
        assert shared_gradient == pytest.approx(gradient, rel=0.01)


def test_two_processes_refine_the_rows_that_one_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees its share of the queries only; without an average of the gradients each would have rows of its own."""
    monkeypatch.setattr(finetune, "REFINING", REFINING.model_copy(update={"steps": 20, "warmup_steps": 2}))
    make_folder(tmp_path / "folder")
    alone = refined(tmp_path / "folder")
    first, second = in_two(lambda rank: refined(tmp_path / "folder"), tmp_path)
    assert first == second
    for together, one in zip(first, alone, strict=True):
        assert together == pytest.approx(one, abs=2e-3)


def test_a_process_that_dies_ends_the_run_which_goes_on_from_its_checkpoint(tmp_path: Path, migrated: Path) -> None:
    config = short_run(tmp_path / "run")
    paths = RunPaths(tmp_path / "run")
    shutil.copy(migrated, paths.database)
    command = [*TORCHRUN, "-m", "fsod", "meta-train", "--config", str(config)]
    with (tmp_path / "errors.txt").open("w+") as errors:
        run = subprocess.Popen(command, stdout=errors, stderr=errors)
        wait_for(paths.meta_state, run)
        os.kill(second_of(run), signal.SIGKILL)
        assert run.wait(timeout=60) != 0
    said = (tmp_path / "errors.txt").read_text()
    assert "Signal 9 (SIGKILL)" in said
    assert "another process of this run died" in said
    assert "start the same command again to go on" in said
    assert not paths.meta_checkpoint.exists()

    done = torch.load(paths.meta_state, weights_only=True)["done"]
    assert 0 < done < 16
    seen: list[int] = []
    meta_train(
        load_settings(config),
        load_folder(paths.tiles),
        CPU,
        paths.meta_checkpoint,
        paths.meta_state,
        lambda step, values: seen.append(step),
    )
    assert seen == list(range(done + 1, 17))


def short_run(run_dir: Path) -> Path:
    """A configuration of 16 small steps, and its tiles."""
    make_folder(run_dir / "tiles")
    optim = {
        "steps": 16,
        "warmup_steps": 1,
        "checkpoint_every": 2,
        "log_every": 1,
        "workers": 0,
        "precision": "float32",
    }
    content = {
        "name": "test",
        "run_dir": str(run_dir),
        "data": {"format": "nwpu", "novel": []},
        "episodes": {"ways": 3, "shots": 1, "queries": 4, "query_px": 64, "support_px": 64},
        "meta_train": optim,
        "finetune": optim,
    }
    path = run_dir / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def wait_for(path: Path, run: subprocess.Popen[bytes]) -> None:
    while not path.exists():
        assert run.poll() is None, "the run ended before its first checkpoint"
        time.sleep(0.05)


def second_of(run: subprocess.Popen[bytes]) -> int:
    """The process id of rank 1."""
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    return next(int(pid) for pid in children if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes())


@pytest.mark.parametrize("invented", [False, True])
def test_shares_of_an_episode_are_parts_of_the_whole(tmp_path: Path, invented: bool) -> None:
    sizes = EpisodeSettings(ways=2, shots=2, queries=3, query_px=160, support_px=64)
    folder = None if invented else make_folder(tmp_path / "folder")

    def episode(share: range | None) -> Episode:
        if folder is None:
            return ProceduralEpisodes(sizes, 3, 0, share)[2]
        return RealEpisodes(folder, [0, 1, 2], sizes, 3, 0, share)[2]

    whole = episode(None)
    for share in (range(0, 3, 2), range(1, 3, 2)):
        part = episode(share)
        assert torch.equal(part.queries, whole.queries[list(share)])
        assert torch.equal(part.supports, whole.supports)
        objects = part.box_classes.shape[1]
        assert torch.equal(part.box_classes, whole.box_classes[list(share), :objects])
        assert torch.equal(part.boxes_xyxy_px, whole.boxes_xyxy_px[list(share), :objects])


def test_more_processes_than_queries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match=r"episodes\.queries: 3 cannot be shared among 4 processes"):
        share_of(3)


@pytest.mark.parametrize(("asked", "neighbours", "given"), [("6", "1", 6), ("1", "1", 1), ("3", "2", 3)])
def test_threads_asked_for_are_given(monkeypatch: pytest.MonkeyPatch, asked: str, neighbours: str, given: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", neighbours)
    assert threads() == given


def test_processes_share_the_cores_that_torchrun_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    assert threads() == 8
