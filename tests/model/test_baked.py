from __future__ import annotations

import pytest
import torch
from torch import nn

from fsod.model.baked import bake
from fsod.model.detector import Detector
from fsod.model.meta_head import ClassRows


@pytest.fixture(scope="module", params=["nano", "yolov7-tiny"])
def detector(request: pytest.FixtureRequest) -> Detector:
    """Untrained, but its norms have seen images and its kernels fire."""
    torch.manual_seed(0)
    detector = Detector(request.param, 5)
    with torch.no_grad():
        for module in detector.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.5
        for _ in range(3):
            detector(torch.rand(2, 3, 96, 128), detector.learned_rows())
        nn.init.normal_(detector.learned_bias)
        detector.head.prior.fill_(0.0)
    return detector.eval()


@torch.no_grad()
def unbaked(detector: Detector, images: torch.Tensor, rows: ClassRows) -> tuple[torch.Tensor, torch.Tensor]:
    predictions = detector(images, rows)
    own = predictions.own.sigmoid()
    return predictions.boxes_xyxy_px, own * own / own.amax(1, keepdim=True)


@pytest.mark.parametrize("classes", [[2], [0, 1, 2, 3, 4]])
def test_baked_is_the_detector(detector: Detector, classes: list[int]) -> None:
    images, rows = torch.rand(2, 3, 96, 160), detector.learned_rows().select(classes)
    boxes, scores = unbaked(detector, images, rows)
    baked_boxes, baked_scores = bake(detector, rows)(images)
    assert baked_boxes.shape == boxes.shape
    assert baked_scores.shape == (2, len(classes), boxes.shape[1])
    assert boxes.std() > 10
    assert scores.max() > 0.2
    assert scores.std() > 0.03
    assert (baked_boxes - boxes).abs().max() < 1e-3
    assert (baked_scores - scores).abs().max() < 1e-5


@torch.no_grad()
def test_other_classes_leave_the_strongest_its_score_and_lower_the_others(detector: Detector) -> None:
    images, rows = torch.rand(1, 3, 64, 96), detector.learned_rows()
    own = detector(images, rows).own.sigmoid()
    _, scores = bake(detector, rows)(images)
    strongest = own == own.amax(1, keepdim=True)
    torch.testing.assert_close(scores[strongest], own[strongest])
    assert (scores < own)[~strongest].all()
    shares = scores.gather(1, own.topk(2, 1).indices)
    torch.testing.assert_close(shares[:, 1] * own.amax(1), own.topk(2, 1).values[:, 1] ** 2)


@torch.no_grad()
def test_each_distractor_takes_its_share_and_has_no_score(detector: Detector) -> None:
    images, rows = torch.rand(1, 3, 64, 96), detector.learned_rows()
    own = detector(images, rows).own.sigmoid()
    _, scores = bake(detector, rows.select([0, 1]), distractors=rows.select([2, 3, 4]))(images)
    assert scores.shape[1] == 2
    against = own[:, :2].amax(1, keepdim=True) + own[:, 2:].sum(1, keepdim=True)
    torch.testing.assert_close(scores, own[:, :2] ** 2 / against)


def test_a_class_alone_has_its_own_confidence(detector: Detector) -> None:
    images, row = torch.rand(1, 3, 64, 96), detector.learned_rows().select([3])
    torch.testing.assert_close(bake(detector, row)(images)[1], detector(images, row).own.sigmoid())


def test_nothing_anywhere_near_a_class_or_its_rivals_is_no_division_by_zero(detector: Detector) -> None:
    rows = detector.learned_rows()
    never = ClassRows(rows.kernels, rows.biases - 1000)
    _, scores = bake(detector, never.select([0]), distractors=never.select([1]))(torch.rand(1, 3, 64, 64))
    assert (scores == 0).all()


def test_far_distances_are_capped_alike() -> None:
    torch.manual_seed(0)
    detector = Detector("nano", 1).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for layer in detector.head.boxes:
            nn.init.constant_(layer.get_parameter("distances.bias"), 7.0)
    boxes, _ = unbaked(detector, images, detector.learned_rows())
    assert (bake(detector, detector.learned_rows())(images)[0] - boxes).abs().max() < 1e-3


def test_a_map_without_any_feature_is_no_division_by_zero() -> None:
    torch.manual_seed(0)
    detector = Detector("nano", 2).eval()
    with torch.no_grad():
        for parameter in detector.trunk.parameters():
            parameter.zero_()
    images, rows = torch.rand(1, 3, 64, 64), detector.learned_rows()
    _, scores = unbaked(detector, images, rows)
    torch.testing.assert_close(bake(detector, rows)(images)[1], scores)


def test_baking_leaves_the_detector_alone_and_nothing_to_train(detector: Detector) -> None:
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    baked = bake(detector, detector.learned_rows(), torch.bfloat16)
    baked(torch.rand(1, 3, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert not any(p.requires_grad for p in baked.parameters())


def test_bfloat16_stays_in_the_trunk(detector: Detector) -> None:
    images, rows = torch.rand(1, 3, 96, 160), detector.learned_rows()
    boxes, scores = bake(detector, rows, torch.bfloat16)(images)
    exact_boxes, exact_scores = unbaked(detector, images, rows)
    assert boxes.dtype == scores.dtype == torch.float32
    assert 0 < (scores - exact_scores).abs().max() < 0.1
    assert (boxes - exact_boxes).abs().mean() < 0.5


def test_a_class_costs_one_row_a_level() -> None:
    detector = Detector("nano", 100)
    few, many = (bake(detector, detector.learned_rows().select(list(range(n)))) for n in (10, 100))

    def numbers(network: nn.Module) -> int:
        return sum(t.numel() for t in network.state_dict().values())

    assert numbers(many) - numbers(few) == 90 * sum(c + 1 for c in detector.trunk.channels)
