"""The loss of an episode: learned and predicted rows judged on the same maps and the same assignment."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, logsigmoid

from fsod.compute.distributed import mean_over_processes, processes
from fsod.config import LossSettings
from fsod.data.mark_views import CropBatch
from fsod.data.real_episodes import Episode
from fsod.loss.assign import Assignment, Targets, simota
from fsod.loss.meta_loss import (
    OVERLAP,
    RowSamples,
    box_loss,
    confidence_loss,
    meta_cross_loss,
    row_samples,
    shots_background,
)
from fsod.model.detector import Detector, unit_pixels
from fsod.model.meta_head import ClassRows, Predictions
from fsod.ultralytics_parts import bbox_iou


def episode_loss(
    detector: Detector, episode: Episode, learned_classes: list[int], settings: LossSettings
) -> dict[str, Tensor]:
    """Loss terms of a meta-training step; ``total`` is their weighted sum.

    Base classes have learned rows, so their accuracy does not depend on a few noisy support crops. The same queries also train
    the rows predicted from those crops, and predicted kernels are pulled towards learned ones. An episode of invented classes
    has predicted rows only.

    Args:
        detector: in training mode.
        episode: on the detector's device.
        learned_classes: class ids in the order of the detector's learned rows.
        settings: weights and quotas.
    """
    queries, supports = unit_pixels(episode.queries), unit_pixels(episode.supports)
    maps, vectors = detector.episode(queries, supports, episode.sides_px)
    predicted = detector.predicted_rows(vectors)
    learned = detector.learned_rows()
    if episode.invented:
        learned = learned.select([])
    split = len(learned)
    predictions = detector.head(maps.raw, maps.unit, ClassRows.concatenate([learned, predicted]))

    background = None
    if episode.ignored_xyxy_px.shape[1]:
        background = ~ignored(episode, predictions.boxes_xyxy_px, predictions.points_xy_px)[:, None]

    of_predicted = predictions.of_rows(split, split + len(predicted))
    to_predicted = targets_of(episode.boxes_xyxy_px, episode.box_classes, episode.class_ids)
    if episode.invented:
        assignment = _assign(of_predicted, to_predicted)
        count = count_assigned(assignment)
        rows = _rows(of_predicted, to_predicted, assignment, count, settings, background)
        terms = {
            "cross": settings.cross * meta_cross_loss(rows),
            "predicted": settings.confidence * confidence_loss(rows),
        }
    else:
        of_learned = predictions.of_rows(0, split)
        owners = torch.tensor(learned_classes, device=episode.class_ids.device)
        to_learned = targets_of(episode.boxes_xyxy_px, episode.box_classes, owners)
        assignment = _assign(of_learned, to_learned)
        count = count_assigned(assignment)
        of_both = {"learned": (of_learned, to_learned), "predicted": (of_predicted, to_predicted)}
        terms = {
            whose: settings.confidence * confidence_loss(_rows(*of_one, assignment, count, settings, background))
            for whose, of_one in of_both.items()
        }
        own = (episode.class_ids[:, None] == owners).int().argmax(1)
        # alike on every process, so that their mean is what one process would have
        terms["pull"] = settings.pull * _pull(predicted, learned.select(own).detach())
    terms["box"] = settings.box * box_loss(predictions.boxes_xyxy_px, to_predicted, assignment, count)
    return {"total": torch.stack(list(terms.values())).sum(), **{name: t.detach() for name, t in terms.items()}}


def shots_loss(
    detector: Detector, episode: Episode, learned_classes: list[int], settings: LossSettings, *, shots_only: bool
) -> dict[str, Tensor]:
    """Loss terms of learned rows alone, on queries of which all is labelled in the known regions, or only the shots.

    Args:
        detector: in training mode.
        episode: on the detector's device.
        learned_classes: class ids in the order of the detector's learned rows.
        settings: weights and quotas.
        shots_only: other objects of a class that has a shot in a query may be there, see ``shots_background``.
    """
    predictions = detector(unit_pixels(episode.queries), detector.learned_rows())
    return predicted_shots_loss(predictions, episode, learned_classes, settings, shots_only=shots_only)


def predicted_shots_loss(
    predictions: Predictions, episode: Episode, row_classes: list[int], settings: LossSettings, *, shots_only: bool
) -> dict[str, Tensor]:
    """The same for predictions of the episode's queries with rows of ``row_classes``."""
    targets = targets_of(
        episode.boxes_xyxy_px, episode.box_classes, torch.tensor(row_classes, device=predictions.logits.device)
    )
    rows, known = len(row_classes), known_background(episode, predictions.boxes_xyxy_px, predictions.points_xy_px)
    if shots_only:
        background = shots_background(predictions.boxes_xyxy_px, targets, rows, known)
    else:
        background = known[:, None].expand(-1, rows, -1)
    return learned_rows_loss(predictions, targets, background, settings)


def marks_loss(detector: Detector, crops: CropBatch, settings: LossSettings) -> dict[str, Tensor]:
    """Loss terms of learned rows on an analyst's marks; ``total`` is their weighted sum.

    Args:
        detector: in training mode; class c has its row c.
        crops: on the detector's device.
        settings: weights and quotas.
    """
    predictions = detector(unit_pixels(crops.queries), detector.learned_rows())
    rows = torch.arange(len(detector.learned_bias), device=crops.box_classes.device)
    targets = targets_of(crops.boxes_xyxy_px, crops.box_classes, rows)
    x, y = predictions.points_xy_px.long().unbind(-1)
    background = crops.known[:, y, x][:, None].expand(-1, len(rows), -1)
    return learned_rows_loss(predictions, targets, background, settings)


def learned_rows_loss(
    predictions: Predictions, targets: Targets, background: Tensor, settings: LossSettings
) -> dict[str, Tensor]:
    """Loss terms of rows whose background may be assumed where ``background``, (B, N, L) bool, says."""
    assignment = _assign(predictions, targets)
    count = count_assigned(assignment)
    judged = _rows(predictions, targets, assignment, count, settings, background)
    terms = {"learned": settings.confidence * confidence_loss(judged)}
    terms["box"] = settings.box * box_loss(predictions.boxes_xyxy_px, targets, assignment, count)
    return {"total": torch.stack(list(terms.values())).sum(), **{name: t.detach() for name, t in terms.items()}}


def count_assigned(assignment: Assignment) -> Tensor:
    """Scalar: assigned locations per process on average, at least one in all of them together.

    Gradients are averaged over processes, so dividing each one's sums by this gives what one process with the whole
    batch would have.
    """
    return mean_over_processes((assignment.box >= 0).sum()).clamp(min=1 / processes())


def targets_of(boxes_xyxy_px: Tensor, box_classes: Tensor, row_classes: Tensor) -> Targets:
    """Boxes (B, G, 4) with their classes, (B, G) int64, counted among ``row_classes`` (N,) int64; -1 is padding."""
    same = box_classes[..., None] == row_classes
    rows = torch.where(same.any(-1), same.int().argmax(-1), -1)
    return Targets(boxes_xyxy_px, rows, box_classes >= 0)


def ignored(episode: Episode, boxes_xyxy_px: Tensor, points_xy_px: Tensor) -> Tensor:
    """(B, L) bool: locations in a region of which nothing is known, or whose predicted box, (B, L, 4), is of what is there."""
    regions = episode.ignored_xyxy_px
    real = (regions[..., 2:] > regions[..., :2]).all(-1)[..., None]
    found = boxes_xyxy_px.detach().float()[:, None]
    overlaps = bbox_iou(regions[:, :, None], found, xywh=False)[..., 0] > OVERLAP
    return (real & overlaps).any(1) | _within(regions, points_xy_px)


def known_background(episode: Episode, boxes_xyxy_px: Tensor, points_xy_px: Tensor) -> Tensor:
    """(B, L) bool: locations inside a region where background may be assumed, and not ``ignored``."""
    known = _within(episode.known_xyxy_px, points_xy_px)
    if not episode.ignored_xyxy_px.shape[1]:
        return known
    return known & ~ignored(episode, boxes_xyxy_px, points_xy_px)


def _within(regions_xyxy_px: Tensor, points_xy_px: Tensor) -> Tensor:
    x, y = points_xy_px[:, 0], points_xy_px[:, 1]
    left, top, right, bottom = (side[..., None] for side in regions_xyxy_px.unbind(-1))
    return ((x > left) & (x < right) & (y > top) & (y < bottom)).any(1)


def _assign(predictions: Predictions, targets: Targets) -> Assignment:
    return simota(
        predictions.boxes_xyxy_px, logsigmoid(predictions.own), predictions.points_xy_px, predictions.strides, targets
    )


def _rows(
    predictions: Predictions,
    targets: Targets,
    assignment: Assignment,
    count: Tensor,
    settings: LossSettings,
    background: Tensor | None = None,
) -> RowSamples:
    return row_samples(
        predictions,
        targets,
        assignment,
        count,
        background,
        per_positive_pair=settings.per_positive_pair,
        per_negative_pair=settings.per_negative_pair,
    )


def _pull(predicted: ClassRows, learned: ClassRows) -> Tensor:
    pairs = zip(predicted.kernels, learned.kernels, strict=True)
    return torch.stack([1 - cosine_similarity(p, target).mean() for p, target in pairs]).mean()
