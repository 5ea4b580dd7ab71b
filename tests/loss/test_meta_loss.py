from __future__ import annotations

import torch
from torch.nn.functional import softplus

from fsod.loss.assign import Assignment, Targets
from fsod.loss.meta_loss import box_loss, confidence_loss, meta_cross_loss, row_samples, shots_background
from fsod.loss.meta_sampling import meta_sampling
from fsod.model.meta_head import Predictions

ONE = torch.tensor(1.0)


def test_sampling_keeps_the_hardest_of_every_pair_and_its_quota() -> None:
    share = torch.log(torch.rand(2, 3, 50))
    negative = torch.ones(2, 3, 50, dtype=torch.bool)
    negative[:, :, :10] = False
    shown = torch.tensor([[True, False, False], [False, False, True]])
    kept = meta_sampling(share, negative, shown, per_positive_pair=7, per_negative_pair=3)
    assert kept.sum(2).tolist() == [[7, 3, 3], [3, 3, 7]]
    assert not kept[:, :, :10].any()
    for b, c in [(0, 0), (0, 1), (1, 2)]:
        free = share[b, c, 10:]
        assert share[b, c][kept[b, c]].min() >= free[~kept[b, c, 10:]].max()


def test_sampling_with_fewer_negatives_than_the_quota() -> None:
    negative = torch.zeros(1, 1, 20, dtype=torch.bool)
    negative[0, 0, 3] = True
    kept = meta_sampling(torch.zeros(1, 1, 20), negative, torch.ones(1, 1, dtype=torch.bool), 5, 5)
    assert kept.nonzero().tolist() == [[0, 0, 3]]


def one_location_each(logits: torch.Tensor) -> Predictions:
    count = logits.shape[2]
    return Predictions(logits, torch.zeros(1, count, 4), torch.zeros(count, 2), torch.ones(count))


def test_terms_by_hand() -> None:
    """One location for a box of class 1, one hard negative, one location that may not be judged."""
    logits = torch.tensor([[[0.0, 2.0, 5.0], [1.0, 0.0, 5.0], [-1.0, 0.5, 5.0]]])
    targets = Targets(torch.tensor([[[0.0, 0, 8, 8]]]), torch.tensor([[1]]), torch.ones(1, 1, dtype=torch.bool))
    assignment = Assignment(torch.tensor([[0, -1, -1]]), torch.tensor([[0.75, 0, 0]]))
    known = torch.tensor([[[True, True, False]]]).expand(1, 2, 3)
    count = torch.tensor(2.0)
    terms = row_samples(
        one_location_each(logits), targets, assignment, count, known, per_positive_pair=3, per_negative_pair=3
    )

    cross = -logits[0, :, 0].log_softmax(0)[1] - logits[0, :, 1].log_softmax(0)[2]
    torch.testing.assert_close(meta_cross_loss(terms), cross / count)
    positive = softplus(logits[0, 0, 0]) + softplus(logits[0, 1, 0]) - 0.75 * logits[0, 1, 0]
    negative = softplus(logits[0, 0, 1]) + softplus(logits[0, 1, 1])
    torch.testing.assert_close(confidence_loss(terms), (positive + negative) / count)


def test_an_object_outside_the_episode_is_background_for_its_rows() -> None:
    logits = torch.tensor([[[3.0], [0.0]]], requires_grad=True)
    targets = Targets(torch.tensor([[[0.0, 0, 8, 8]]]), torch.tensor([[-1]]), torch.ones(1, 1, dtype=torch.bool))
    assignment = Assignment(torch.tensor([[0]]), torch.tensor([[0.9]]))
    terms = row_samples(one_location_each(logits), targets, assignment, ONE, per_positive_pair=1, per_negative_pair=1)
    torch.testing.assert_close(meta_cross_loss(terms), -logits[0, :, 0].log_softmax(0)[1])
    (meta_cross_loss(terms) + confidence_loss(terms)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0, 0] > 0 > logits.grad[0, 1, 0]


def test_of_a_class_with_a_shot_only_what_overlaps_it_is_background() -> None:
    boxes = torch.tensor([[[0.0, 0, 8, 8], [4, 0, 12, 8], [20, 0, 28, 8], [40, 0, 48, 8]]])
    shot = Targets(
        torch.tensor([[[0.0, 0, 8, 8], [40, 0, 48, 8]]]), torch.tensor([[1, 1]]), torch.tensor([[True, False]])
    )
    known = torch.tensor([[True, True, True, False]])
    background = shots_background(boxes, shot, 2, known)
    assert background.tolist() == [[[True, True, True, False], [True, True, False, False]]]


def test_box_loss_is_zero_for_the_true_box_and_finite_for_nothing() -> None:
    truth = Targets(torch.tensor([[[2.0, 3, 12, 33]]]), torch.tensor([[0]]), torch.ones(1, 1, dtype=torch.bool))
    right = Assignment(torch.tensor([[0]]), torch.tensor([[1.0]]))
    assert box_loss(truth.boxes_xyxy_px, truth, right, ONE).item() < 1e-5
    assert box_loss(truth.boxes_xyxy_px + 5, truth, right, ONE).item() > 0.3
    nobody = Assignment(torch.tensor([[-1]]), torch.tensor([[0.0]]))
    assert box_loss(truth.boxes_xyxy_px, truth, nobody, ONE).item() == 0


def test_background_of_images_without_a_single_box() -> None:
    nothing = Targets(torch.zeros(1, 0, 4), torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, 0, dtype=torch.bool))
    known = torch.tensor([[True, False]])
    assert shots_background(torch.zeros(1, 2, 4), nothing, 2, known).tolist() == [[[True, False], [True, False]]]
