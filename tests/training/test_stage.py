from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fsod.compute.device import Machine, choose_machine
from fsod.compute.side_processes import Stopped
from fsod.config import EpisodeSettings, LossSettings, OptimSettings
from fsod.data.coco_folder import CocoFolder
from fsod.data.real_episodes import Episode, Query, RealEpisodes, stack_episode
from fsod.data.support import support_crop
from fsod.errors import UserError
from fsod.model.detector import Detector
from fsod.training.episode_loss import episode_loss, ignored, known_background, shots_loss, targets_of
from fsod.training.stage import Stage, _Awaited, _resume, _save, adamw, kept_average, learning_rate, run_stage
from tests.made_folder import make_folder

CPU = Machine(torch.device("cpu"), torch.float32)
SIZES = EpisodeSettings(ways=3, shots=1, queries=2, query_px=64, support_px=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> CocoFolder:
    return make_folder(tmp_path_factory.mktemp("made") / "folder")


def stage(folder: CocoFolder, state: Path, steps: int = 4, fingerprint: str = "same", **changes: object) -> Stage:
    optim = OptimSettings(steps=steps, warmup_steps=1, checkpoint_every=2, log_every=2, workers=0, precision="float32")
    return Stage(
        name="test",
        episodes=RealEpisodes(folder, [0, 1, 2], SIZES, steps, seed=0),
        loss_of=lambda detector, episode: episode_loss(detector, episode, [0, 1, 2], LossSettings()),
        settings=optim.model_copy(update=changes),
        state_path=state,
        fingerprint=fingerprint,
    )


def new_detector() -> Detector:
    torch.manual_seed(0)
    return Detector("nano", 3)


def ignore(step: int, values: dict[str, float]) -> None:
    """Nobody watches."""


class Killed(Exception):
    pass


def test_the_time_spent_waiting_for_data_is_told() -> None:
    def slow() -> Iterator[Episode]:
        for _ in range(3):
            time.sleep(0.05)
            yield cast(Episode, "an episode")

    awaited = _Awaited(slow())
    seen = list(awaited)
    pace = awaited.pace(len(seen))
    assert len(seen) == 3
    assert 0.5 < pace["data_wait_share"] <= 1
    assert 0 < pace["steps_per_s"] < 20
    time.sleep(0.01)
    assert awaited.pace(1)["data_wait_share"] == 0


def test_a_killed_training_goes_on_to_the_same_weights(folder: CocoFolder, tmp_path: Path) -> None:
    def five_steps(state: str) -> Stage:
        return stage(folder, tmp_path / state, steps=5, checkpoint_every=3)

    undisturbed = run_stage(five_steps("a.pt"), new_detector(), CPU, ignore)

    def die(step: int, values: dict[str, float]) -> None:
        if step == 4:
            raise Killed

    with pytest.raises(Killed):
        run_stage(five_steps("b.pt"), new_detector(), CPU, die)
    seen: list[int] = []
    torch.manual_seed(99)  # what the interrupted process had drawn before must not matter
    resumed = run_stage(five_steps("b.pt"), Detector("nano", 3), CPU, lambda step, values: seen.append(step))
    assert seen == [4, 5]
    for a, b in zip(undisturbed.state_dict().values(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_training_that_is_stopped_keeps_each_step(folder: CocoFolder, tmp_path: Path) -> None:
    def stop(step: int, values: dict[str, float]) -> None:
        if step == 2:
            raise Stopped

    rarely = stage(folder, tmp_path / "a.pt", steps=4, checkpoint_every=4)
    average = Detector("nano", 3)
    assert kept_average(rarely, average) == 0
    with pytest.raises(Stopped):
        run_stage(rarely, new_detector(), CPU, stop)
    assert kept_average(rarely, average) == 2
    two = run_stage(replace(rarely, until=2), Detector("nano", 3), CPU, ignore)
    for a, b in zip(average.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_full_disk_is_one_line_and_leaves_nothing(
    folder: CocoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"a.pt: cannot be written \(.*\): is the disk full\?"):
        run_stage(stage(folder, tmp_path / "a.pt", steps=1), new_detector(), CPU, ignore)
    assert not list(tmp_path.iterdir())


def test_a_stage_stops_where_it_is_told_and_another_goes_on(folder: CocoFolder, tmp_path: Path) -> None:
    undisturbed = run_stage(stage(folder, tmp_path / "a.pt"), new_detector(), CPU, ignore)
    seen: list[int] = []
    for until in (2, 2, 4):
        part = replace(stage(folder, tmp_path / "b.pt"), until=until)
        last = run_stage(part, new_detector(), CPU, lambda step, values: seen.append(step))
    assert seen == [2, 4]
    for a, b in zip(undisturbed.state_dict().values(), last.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_state_of_another_training_is_refused(folder: CocoFolder, tmp_path: Path) -> None:
    run_stage(stage(folder, tmp_path / "state.pt", steps=2), new_detector(), CPU, ignore)
    with pytest.raises(UserError, match="belongs to other settings"):
        run_stage(stage(folder, tmp_path / "state.pt", fingerprint="other"), new_detector(), CPU, ignore)


def test_a_damaged_state_is_named(folder: CocoFolder, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"state\.pt: not a readable checkpoint"):
        run_stage(stage(folder, tmp_path / "state.pt"), new_detector(), CPU, ignore)


@pytest.mark.parametrize(
    "damage", ["no key", "other shapes", "other shapes of averages", "too many steps", "no steps", "a list"]
)
def test_a_state_that_does_not_fit_is_named(tmp_path: Path, damage: str) -> None:
    net, path = torch.nn.Linear(3, 2), tmp_path / "state.pt"
    optimizer = adamw(net, OptimSettings(steps=4))
    net(torch.zeros(1, 3)).sum().backward()
    optimizer.step()
    plan = Stage("made", cast(Any, None), cast(Any, None), OptimSettings(steps=4), path, "same")
    _save(plan, 2, net, net, optimizer)
    assert _resume(plan, net, net, optimizer) == 2
    state: Any = torch.load(path)
    if damage == "no key":
        del state["average"]
    elif damage == "other shapes":
        state["detector"]["weight"] = torch.zeros(2, 4)
    elif damage == "other shapes of averages":
        state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(7)
    elif damage == "too many steps":
        state["done"] = 5
    elif damage == "no steps":
        state["done"] = "two"
    else:
        state = [state]
    torch.save(state, path)
    with pytest.raises(UserError, match=r"^\S+state\.pt: not a readable checkpoint \(.*\); delete it to start again$"):
        _resume(plan, net, net, optimizer)


def test_a_diverged_loss_stops_the_stage(folder: CocoFolder, tmp_path: Path) -> None:
    def infinite(detector: Detector, episode: Episode) -> dict[str, Tensor]:
        return {"total": next(detector.parameters()).sum() * torch.inf}

    broken = stage(folder, tmp_path / "state.pt")
    broken = Stage(**{**vars(broken), "loss_of": infinite})
    with pytest.raises(UserError, match="not finite at step 1"):
        run_stage(broken, new_detector(), CPU, ignore)


def test_loss_falls_on_an_episode_seen_again_and_again(folder: CocoFolder) -> None:
    episode = RealEpisodes(folder, [0, 1, 2], SIZES, 1, seed=0)[0]
    detector = new_detector().train()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    totals = []
    for _ in range(25):
        terms = episode_loss(detector, episode, [0, 1, 2], LossSettings())
        optimizer.zero_grad()
        terms["total"].backward()
        optimizer.step()
        totals.append(terms["total"].item())
    assert sum(totals[-3:]) < 0.6 * sum(totals[:3])


def test_every_part_of_the_detector_learns(folder: CocoFolder) -> None:
    episode = RealEpisodes(folder, [0, 1, 2], SIZES, 1, seed=0)[0]
    detector = new_detector().train()
    for invented in (False, True):  # the background learns from invented classes alone
        drawn = replace(episode, invented=torch.tensor(invented))
        episode_loss(detector, drawn, [0, 1, 2], LossSettings())["total"].backward()
    still = [name for name, p in detector.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # squares of 20 px answer at strides 8 and 16
    assert all(name.startswith("head.boxes.2.") for name in still)


@pytest.mark.parametrize("invented", [False, True])
def test_images_without_a_box_teach_background_alone(invented: bool) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    nothing = Query(rgb, np.zeros((0, 4)), np.zeros(0, np.int64), np.array([[0.0, 0, 64, 64]]), np.zeros((0, 4)))
    supports = [[support_crop(rgb, np.array([20.0, 20, 40, 40]), 64)] for _ in range(3)]
    episode = stack_episode([nothing] * 2, supports, [0, 1, 2], invented=invented)
    terms = episode_loss(new_detector().train(), episode, [0, 1, 2], LossSettings())
    assert terms["total"].isfinite()
    assert terms["box"] == 0


def test_frozen_norms_keep_their_statistics(folder: CocoFolder, tmp_path: Path) -> None:
    detector = new_detector()
    before = [copy.deepcopy(m.running_mean) for m in detector.modules() if isinstance(m, nn.BatchNorm2d)]
    frozen = Stage(**{**vars(stage(folder, tmp_path / "state.pt", steps=2)), "freeze_norms": True})
    after = run_stage(frozen, detector, CPU, ignore)
    norms = [m.running_mean for m in after.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(torch.equal(a, b) for a, b in zip(before, norms, strict=True) if a is not None and b is not None)


def test_finetuning_judges_known_surroundings_only(folder: CocoFolder) -> None:
    """What happens at locations outside the known regions, and answers for nothing, leaves no gradient."""
    episode = RealEpisodes(folder, [0, 1, 2], SIZES, 1, seed=0, known_margin=0.2)[0]
    detector = new_detector().train()
    loss = shots_loss(detector, episode, [0, 1, 2], LossSettings(), shots_only=False)["total"]
    assert torch.isfinite(loss)
    points = torch.tensor([[x + 0.5, y + 0.5] for y in range(64) for x in range(64)])
    boxes = torch.cat([points, points + 1], 1).expand(len(episode.queries), -1, -1)
    inside = known_background(episode, boxes, points)
    share = inside.float().mean().item()
    assert 0.02 < share < 0.8
    aside = replace(episode, ignored_xyxy_px=torch.tensor([[[0.0, 0, 64, 32]]]).expand(len(episode.queries), -1, -1))
    below = (points[:, 1] > 32).expand_as(inside)
    assert torch.equal(known_background(aside, boxes, points), inside & below)
    assert (inside & ~below).any()
    losses = [
        shots_loss(detector, one, [0, 1, 2], LossSettings(), shots_only=only)["learned"].item()
        for only in (False, True)
        for one in (episode, aside)
    ]
    assert losses[0] > losses[1]
    assert losses[2] > losses[3]


def test_what_is_ignored_is_neither_object_nor_background(folder: CocoFolder) -> None:
    episode = replace(RealEpisodes(folder, [0, 1, 2], SIZES, 1, seed=0)[0], invented=torch.tensor(True))
    regions = torch.zeros(len(episode.queries), 2, 4)  # the second is padding
    regions[0, 0] = torch.tensor([0.0, 0.0, 32.0, 32.0])
    aside = replace(episode, ignored_xyxy_px=regions)
    points = torch.tensor([[16.0, 16.0], [50.0, 50.0], [50.0, 50.0]])
    boxes = torch.tensor([[12.0, 12, 20, 20], [40, 40, 60, 60], [1, 1, 33, 33]]).expand(len(regions), -1, -1)
    expected = [[True, False, True]] + [[False] * 3] * (len(regions) - 1)
    assert ignored(aside, boxes, points).tolist() == expected

    detector = new_detector().eval()
    everything = replace(
        episode, ignored_xyxy_px=torch.tensor([[[0.0, 0, SIZES.query_px, SIZES.query_px]]]).expand(len(regions), -1, -1)
    )
    losses = [
        episode_loss(detector, one, [], LossSettings())["predicted"].item() for one in (episode, aside, everything)
    ]
    assert losses[0] > losses[1] > losses[2] > 0
    of_base_classes = [
        episode_loss(detector, replace(one, invented=torch.tensor(False)), [0, 1, 2], LossSettings())
        for one in (episode, aside, everything)
    ]
    for whose in ("learned", "predicted"):
        shares = [terms[whose].item() for terms in of_base_classes]
        assert shares[0] > shares[1] > shares[2] > 0
    assert len({terms["box"].item() for terms in of_base_classes}) == 1, "objects are learned all the same"


def test_targets_count_classes_among_the_rows_given(folder: CocoFolder) -> None:
    episode = RealEpisodes(folder, [0, 1, 2], SIZES, 1, seed=0)[0]
    targets = targets_of(episode.boxes_xyxy_px, episode.box_classes, torch.tensor([2, 0]))
    assert (targets.rows[episode.box_classes == 2] == 0).all()
    assert (targets.rows[episode.box_classes == 0] == 1).all()
    assert (targets.rows[episode.box_classes == 1] == -1).all()
    assert torch.equal(targets.valid, episode.box_classes >= 0)


def test_learning_rate_warms_up_and_ends_low() -> None:
    settings = OptimSettings(steps=100, lr=1.0, warmup_steps=10)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] < 0.06
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_precision_can_be_forced() -> None:
    assert choose_machine("float32").trunk_dtype == torch.float32
    assert choose_machine("bfloat16").trunk_dtype == torch.bfloat16
    assert "threads" in str(choose_machine("float32")) or not str(choose_machine()).startswith("cpu")
