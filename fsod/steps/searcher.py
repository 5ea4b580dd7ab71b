"""A class bank with its weights, ready to search scenes, here or in another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsod.band_rule import BandRule
from fsod.compute.device import choose_machine
from fsod.config import WINDOW_PX, EvaluateSettings, PredictSettings
from fsod.config_file import common_settings
from fsod.errors import UserError
from fsod.evidence import Evidence, evidence_of
from fsod.files import sha256_of
from fsod.geo.glance import LEAST_SCORE, Glancer
from fsod.geo.scene_list import kept_name
from fsod.geo.search import Detect, Search, search_windows
from fsod.image_look import Look, looks_in
from fsod.inference.infer import BatchDetector, batch_detector, warm_up
from fsod.inference.onnx_infer import load_onnx
from fsod.inference.several_looks import COST
from fsod.model.turned import TURNS, Turned
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import checkpoint_of, load_bank, reduction_in


@dataclass(frozen=True)
class Searcher:
    """Classes that are ready to be found, whatever computes.

    Attributes:
        scores: the least ones of detections of each class that are written.
        proposed_scores: the least ones that are worth showing, whatever the user asked for.
        reductions: of each class, how many times coarser than the scene it is seen, see ``ClassBank``.
        marks: what the detector was made from, see ``fsod.steps.kept_marks``.
        shown: which bands the examples were shown in.
        looks: what the examples' scenes look like, one for each class of which that is known.
        known: class name -> what is known of how well it is found.
        glancer: the same detector with faint scores and no turns, for a first look; here, whatever computes the search.
    """

    detect: Detect
    class_names: tuple[str, ...]
    scores: tuple[float, ...]
    proposed_scores: tuple[float, ...]
    weights_sha256: str
    bank_sha256: str
    gsd_m: float | None
    suppression: EvaluateSettings
    window_px: int
    precision: str
    machine: str
    enlargement: float = 1.0
    reductions: tuple[float, ...] = ()
    marks: tuple[dict[str, Any], ...] = ()
    shown: tuple[BandRule, ...] = ()
    search: Search = search_windows
    looks: tuple[Look, ...] = ()
    known: Mapping[str, Evidence] = field(default_factory=dict)
    glancer: Glancer | None = None

    def told_xyxy_px(self, scene: str) -> NDArray[np.float64]:
        """(m, 4) boxes of a scene, in its pixels as it is seen (see ``Upright``), that were marked or judged already."""
        name = kept_name(scene)
        own = [one for one in self.marks if one["scene"] == name]
        boxes = [box for one in own for box in (*one["boxes_xyxy_px"], *one["refused_xyxy_px"])]
        return np.array(boxes, np.float64).reshape(-1, 4)


def load_searcher(bank: Path, checkpoint: Path | None, plan: PredictSettings) -> Searcher:
    """A bank and its weights through torch, or both in one exported file through onnxruntime."""
    if bank.suffix.lower() == ".onnx":
        if checkpoint is not None:
            raise UserError(f"{bank}: an exported bank carries its weights; leave out --checkpoint")
        if plan.precision == "bfloat16":
            raise UserError(
                f"{bank}: an exported bank computes in the precision that it was exported in; leave out --precision"
            )
        if plan.turns is not None:
            raise UserError(f"{bank}: turns windows or not as it was exported; leave out --turns and --no-turns")
        exported = load_onnx(bank, plan.score)
        known = exported.header
        if plan.window_px not in (None, known.window_px):
            raise UserError(
                f"{bank}: takes windows of {known.window_px} px; leave out --window-px, or export the bank again with "
                f"--window-px {plan.window_px}"
            )
        return Searcher(
            exported,
            known.class_names,
            known.scores if plan.score is None else (plan.score,) * len(known.class_names),
            known.scores,
            known.weights_sha256,
            sha256_of(bank),
            known.gsd_m,
            known.suppression,
            known.window_px,
            known.precision,
            str(exported),
            known.enlargement,
            reductions=tuple(reduction_in(known.known.get(name, {})) for name in known.class_names),
            shown=known.shown,
            looks=looks_in(known.known),
            known={name: evidence_of(own) for name, own in known.known.items()},
            glancer=Glancer(replace(exported, score_floor=LEAST_SCORE)),
        )
    machine = choose_machine(plan.precision)
    loaded = load_checkpoint(checkpoint or checkpoint_of(bank))
    settings = common_settings(loaded.settings).evaluate
    classes = load_bank(bank, loaded.detector)
    if plan.turns is not None:
        classes = replace(classes, turned=plan.turns)
    reported = classes.reported
    window_px = plan.window_px or WINDOW_PX
    detect = batch_detector(loaded, classes, machine, settings, plan.score)
    if machine.device.type != "cpu":
        detect = replace(detect, filled_to=(plan.batch, window_px, window_px))
    return Searcher(
        detect,
        reported.class_names,
        reported.scores if plan.score is None else (plan.score,) * len(reported.class_names),
        reported.scores,
        classes.weights_sha256,
        sha256_of(bank),
        classes.gsd_m,
        settings,
        window_px,
        str(machine.trunk_dtype).removeprefix("torch."),
        str(machine),
        classes.enlargement,
        reported.reductions,
        () if loaded.learned_from is None else tuple(loaded.learned_from.marks),
        classes.shown,
        looks=looks_in(reported.origins),
        known={name: evidence_of(own) for name, own in reported.origins.items()},
        glancer=_glancer(detect),
    )


def _glancer(detect: BatchDetector) -> Glancer:
    """The detector for a first look: of several looks at a window one is enough for that."""
    network, cost = detect.network, 1 / COST if detect.around else 1.0
    if isinstance(network, Turned):
        network, cost = network.network, 1 / TURNS
    return Glancer(replace(detect, network=network, score_floor=LEAST_SCORE, around=False), cost)


def to_take_along(
    bank: Path, checkpoint: Path | None, searcher: Searcher, plan: PredictSettings
) -> Callable[[], Detect]:
    """What makes the searcher's detector on a machine that has neither of the files, in the same precision."""
    files = [bank] if bank.suffix.lower() == ".onnx" else [bank, checkpoint or checkpoint_of(bank)]
    contents = [(f"{number}{file.suffix}", file.read_bytes()) for number, file in enumerate(files)]
    return partial(_detector_of, contents, plan.model_copy(update={"precision": searcher.precision}))


def _detector_of(contents: list[tuple[str, bytes]], plan: PredictSettings) -> Detect:
    with TemporaryDirectory() as folder:
        files = [Path(folder) / name for name, _ in contents]
        for file, (_, content) in zip(files, contents, strict=True):
            file.write_bytes(content)
        searcher = load_searcher(files[0], files[1] if len(files) > 1 else None, plan)
    warm_up(searcher.detect, plan.batch, searcher.window_px)
    return searcher.detect
