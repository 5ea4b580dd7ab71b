"""A YOLO11 of the detector's size that starts from chance and learns an analyst's marks: our loop, crops and background."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.nwpu_fewshot.yolo import Yolo, said_loss
from fsod.compute.device import Machine
from fsod.data.mark_views import CropBatch, CropSettings, MarkCrops, View
from fsod.model.detector import unit_pixels
from fsod.training.episode_loss import targets_of
from fsod.training.learn_marks import LEARNING, TRIAL_STEPS, seconds_of_a_step
from fsod.training.stage import Stage, run_stage


def yolo_marks_loss(network: Yolo, crops: CropBatch) -> dict[str, Tensor]:
    """Loss terms of ultralytics; background is learned where the analyst vouches for it, as in ``marks_loss`` of fsod.

    Args:
        network: in training mode; class c has its row c.
        crops: on the network's device.
    """
    said = network(unit_pixels(crops.queries))
    classes = said["scores"].shape[1]
    targets = targets_of(crops.boxes_xyxy_px, crops.box_classes, torch.arange(classes, device=crops.box_classes.device))
    x, y = network.points_xy_px(said).long().unbind(-1)
    background = crops.known[:, y, x][:, None].expand(-1, classes, -1)
    return said_loss(network, said, targets, background)


def learn_yolo(views: Sequence[View], classes: int, seconds: float, seed: int, machine: Machine) -> tuple[Yolo, int]:
    """Trains for about so many seconds; an interrupted training begins anew.

    Args:
        views: of the scene, with all marks.
        classes: how many the marks are of.
        seconds: for all steps; how many fit is measured on the first few.
        seed: of weights and crops.
        machine: where to train.

    Returns:
        The averaged network, in evaluation mode, and the steps that it took.
    """
    torch.manual_seed(seed)
    network = Yolo(classes, machine.trunk_dtype)
    with tempfile.TemporaryDirectory() as state:
        stage = Stage(
            name="yolo",
            episodes=MarkCrops(views, CropSettings(), TRIAL_STEPS, seed),
            loss_of=yolo_marks_loss,
            settings=LEARNING.model_copy(update={"steps": TRIAL_STEPS}),
            state_path=Path(state) / "trial.pt",
            fingerprint="trial",
        )
        started = time.perf_counter()
        of_a_step = seconds_of_a_step(stage, Yolo(classes, machine.trunk_dtype), machine, lambda: None)
        steps = max(1, round((seconds - (time.perf_counter() - started)) / of_a_step))
        stage = replace(
            stage,
            episodes=MarkCrops(views, CropSettings(), steps, seed),
            settings=LEARNING.model_copy(update={"steps": steps}),
            state_path=Path(state) / "yolo.pt",
            fingerprint="yolo",
        )
        return run_stage(stage, network, machine, lambda *_: None).eval(), steps
