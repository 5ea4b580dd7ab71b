from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fsod.boxes import iou
from fsod.loss.assign import Targets, simota
from fsod.model.meta_head import grid_points


def plain_simota(
    boxes: Tensor, log_scores: Tensor, points: Tensor, strides: Tensor, truth: Tensor, rows: Tensor
) -> list[int]:
    """The same assignment for one image, box by box and location by location."""
    ious = iou(truth.numpy(), boxes.numpy())
    chosen: dict[int, list[tuple[float, int]]] = {}
    for g, (x1, y1, x2, y2) in enumerate(truth.tolist()):
        costs, candidate_ious = [], []
        for i, (x, y) in enumerate(points.tolist()):
            inside = x1 < x < x2 and y1 < y < y2
            near = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < 2.5 * float(strides[i])
            if not (inside or near):
                continue
            candidate_ious.append(ious[g, i])
            cost = -3 * np.log(ious[g, i] + 1e-8) + (0 if inside and near else 1e5)
            if rows[g] >= 0:
                cost -= 0.5 * float(log_scores[rows[g], i])
            costs.append((float(cost), i))
        k = max(int(sum(sorted(candidate_ious)[-10:])), 1)
        for cost, i in sorted(costs)[:k]:
            chosen.setdefault(i, []).append((cost, g))
    return [min(chosen[i])[1] if i in chosen else -1 for i in range(len(points))]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("height", "width"), [(96, 96), (64, 160)])
def test_batch_gives_what_a_plain_loop_gives(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    grids = [grid_points(torch.zeros(1, 1, height // s, width // s), s) for s in (8, 16, 32)]
    points = torch.cat(grids)
    strides = torch.cat([torch.full((len(g),), float(s)) for g, s in zip(grids, (8, 16, 32), strict=True)])
    batch, most, classes = 3, 6, 4
    centre = torch.rand(batch, most, 2, generator=generator) * torch.tensor([width, height])
    size = torch.rand(batch, most, 2, generator=generator) * 60 + 5
    truth = torch.cat([centre - size / 2, centre + size / 2], -1)
    valid = torch.arange(most) < torch.tensor([[6], [3], [0]])
    rows = torch.randint(-1, classes, (batch, most), generator=generator)
    reach = torch.rand(batch, len(points), 4, generator=generator) * 40
    boxes = torch.cat([points - reach[..., :2], points + reach[..., 2:]], -1)
    log_scores = -5 * torch.rand(batch, classes, len(points), generator=generator)

    got = simota(boxes, log_scores, points, strides, Targets(truth, rows, valid))

    for b in range(batch):
        n = int(valid[b].sum())
        want = plain_simota(boxes[b], log_scores[b], points, strides, truth[b, :n], rows[b, :n])
        assert got.box[b].tolist() == want
    taken = got.box >= 0
    assert (got.iou[~taken] == 0).all()
    assert taken.any()


def test_no_boxes_at_all() -> None:
    points, strides = torch.rand(10, 2), torch.ones(10)
    nothing = Targets(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.bool))
    assert (simota(torch.rand(2, 10, 4), torch.zeros(2, 3, 10), points, strides, nothing).box == -1).all()


def test_a_location_answers_for_one_box_only_and_every_box_is_answered_for() -> None:
    points = grid_points(torch.zeros(1, 1, 8, 8), 8)
    truth = torch.tensor([[[10.0, 10, 40, 40], [12, 12, 42, 42]]])
    boxes = torch.cat([points - 15, points + 15], -1)[None]
    targets = Targets(truth, torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool))
    got = simota(boxes, torch.zeros(1, 2, 64), points, torch.full((64,), 8.0), targets)
    assert set(got.box[0].tolist()) == {-1, 0, 1}
