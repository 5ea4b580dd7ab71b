from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fsod.boxes import Detections
from fsod.compute.device import Machine
from fsod.config import EvaluateSettings
from fsod.errors import UserError
from fsod.inference.infer import batch_detector, filled, postprocess, to_batch, warm_up
from fsod.model.baked import category_decision
from fsod.model.detector import Detector
from fsod.store.checkpoint import Checkpoint
from fsod.store.class_bank import learned_bank
from tests.fake_gpu import AppleTensor

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(Detector("nano", 2).eval(), "nano", ("a", "b"), "meta-train")


def test_pixels_become_a_padded_batch() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 64, 3)).astype(np.uint8)
    batch = to_batch(images, CPU)
    assert batch.shape == (2, 3, 64, 64)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch[:, :, :50], torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    assert (batch[:, :, 50:] == 114 / 255).all()


def test_settling_drops_what_is_weak_empty_double_or_a_rival() -> None:
    square = [10.0, 10, 30, 30]
    boxes = torch.tensor([[square, [11.0, 10, 31, 30], [-20.0, 50, 20, 200], [70.0, 10, 90, 30], [60.0, 60, 80, 80]]])
    scores = torch.tensor([[[0.9, 0.8, 0.3, 0.9, 0.001], [0.7, 0.0, 0.0, 0.0, 0.4]]])
    (found,) = postprocess(boxes, scores, (100, 64), 0.01, EvaluateSettings())
    assert found.boxes_xyxy_px.tolist() == [square, [60, 60, 64, 80], [0, 50, 20, 100]]
    assert found.scores == pytest.approx([0.9, 0.4, 0.3])
    assert found.class_ids.tolist() == [0, 1, 0]


def test_each_class_may_have_a_floor_of_its_own() -> None:
    boxes = torch.tensor([[[10.0, 10, 30, 30], [40, 10, 60, 30]]])
    scores = torch.tensor([[[0.4, 0.2], [0.3, 0.2]]])
    (found,) = postprocess(boxes, scores, (64, 64), (0.5, 0.25), EvaluateSettings())
    assert found.scores == pytest.approx([0.3])
    assert found.class_ids.tolist() == [1]


def test_a_class_that_is_not_asked_for_competes_with_none_that_is() -> None:
    """What was nearly found is of a class that is asked for, too."""
    boxes = torch.tensor([[[10.0, 10, 30, 30], [40, 10, 60, 30], [9, 9, 9, 30]]])
    scores = torch.tensor([[[0.4, 0.2, 0.9], [0.9, 0.8, 0.9], [0.1, 0.3, 0.9]]])
    rules = EvaluateSettings()
    (all_three,) = postprocess(boxes, scores, (64, 64), 0.25, rules)
    assert all_three.class_ids.tolist() == [1, 1]
    (asked,) = postprocess(boxes, scores, (64, 64), 0.25, rules, (0, 2))
    assert (asked.class_ids.tolist(), asked.scores.tolist()) == ([0, 2], pytest.approx([0.4, 0.3]))
    (nothing,) = postprocess(boxes, scores, (64, 64), (0.5, 0.1, 0.5), rules, (0, 2))
    assert len(nothing) == 0
    assert nothing.missed is not None
    assert nothing.missed == pytest.approx((0.4, 0))
    (without_floor,) = postprocess(boxes, scores, (64, 64), 0.0, rules, (2,))
    assert (without_floor.class_ids.tolist(), without_floor.scores.tolist()) == ([2, 2], pytest.approx([0.3, 0.1]))


def test_a_bank_is_found_as_the_detector_itself_finds_it(checkpoint: Checkpoint) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype(np.uint8)
    settings = EvaluateSettings(max_detections=100)
    bank = learned_bank(checkpoint, None)
    detect = batch_detector(checkpoint, bank, Machine(CPU, torch.float32), settings, 1e-6)
    with torch.no_grad():
        predictions = checkpoint.detector(to_batch(images, CPU), bank.rows)
    expected = postprocess(
        predictions.boxes_xyxy_px, category_decision(predictions.own, len(bank.rows)), (64, 96), 1e-6, settings
    )
    assert len(expected[0]) > 0
    np.testing.assert_allclose(detect(images)[0].boxes_xyxy_px, expected[0].boxes_xyxy_px, atol=1e-3)
    np.testing.assert_allclose(detect(images)[0].scores, expected[0].scores, atol=1e-6)


def test_without_a_floor_the_banks_own_scores_apply_to_what_it_reports(checkpoint: Checkpoint) -> None:
    bank = learned_bank(checkpoint, None)
    bank = replace(bank, origins={"a": {"reported": False}, "b": {"score": 0.125}})
    detect = batch_detector(checkpoint, bank, Machine(CPU, torch.float32), EvaluateSettings(), None)
    assert detect.score_floor == (0.125,)
    _, scores = detect.network(torch.rand(1, 3, 64, 64))
    assert scores.shape[1] == 1


def test_images_of_a_batch_are_seen_as_if_alone(checkpoint: Checkpoint) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 96, 3)).astype(np.uint8)
    detect = batch_detector(
        checkpoint, learned_bank(checkpoint, None), Machine(CPU, torch.float32), EvaluateSettings(), 1e-6
    )
    for found, image in zip(detect(images), images, strict=True):
        [alone] = detect(image[None])
        assert len(alone) > 0
        np.testing.assert_allclose(found.boxes_xyxy_px, alone.boxes_xyxy_px, atol=1e-3)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-6)


def test_a_batch_may_be_filled_up_to_one_shape(checkpoint: Checkpoint) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype(np.uint8)
    whole = np.zeros((4, 96, 96, 3), np.uint8)
    whole[:2, :64] = images
    np.testing.assert_array_equal(filled(images, (4, 96, 96)), whole)
    assert filled(images, (1, 32, 128)).shape == (2, 64, 128, 3)
    plain = batch_detector(
        checkpoint, learned_bank(checkpoint, None), Machine(CPU, torch.float32), EvaluateSettings(), 1e-6
    )
    found = replace(plain, filled_to=(4, 96, 96))(images)
    assert len(found) == 2
    for own, expected in zip(found, plain(whole), strict=False):
        np.testing.assert_array_equal(own.boxes_xyxy_px, expected.boxes_xyxy_px)


def test_the_machine_says_how_the_trunk_computes(checkpoint: Checkpoint) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        bank = learned_bank(checkpoint, None)
        detect = batch_detector(checkpoint, bank, Machine(CPU, dtype), EvaluateSettings(), 0.001)
        assert {p.dtype for p in detect.network.get_submodule("trunk").parameters()} == {dtype}


def test_warming_up_shows_one_batch_of_the_shape_to_come() -> None:
    shapes = []

    def detect(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[Detections]:
        shapes.append(images.shape)
        return [Detections.empty()] * len(images)

    warm_up(detect, 4, 64)
    assert shapes == [(4, 64, 64, 3)]


def test_apples_gpus_are_asked_for_no_float64() -> None:
    boxes = torch.tensor([[[10.0, 10, 30, 30], [50, 50, 60, 60], [11, 10, 31, 30]]])
    scores = torch.tensor([[[0.9, 0.8, 0.7]]])
    on_gpu, scores_on_gpu = (tensor.as_subclass(AppleTensor) for tensor in (boxes, scores))
    with pytest.raises(TypeError, match="MPS"):
        on_gpu[0, :2].double().cpu()
    for floor in (0.01, (0.75,)):
        (found,) = postprocess(on_gpu, scores_on_gpu, (100, 64), floor, EvaluateSettings())
        (as_here,) = postprocess(boxes, scores, (100, 64), floor, EvaluateSettings())
        assert found.boxes_xyxy_px.dtype == np.float64
        assert found.boxes_xyxy_px.tolist() == as_here.boxes_xyxy_px.tolist() == boxes[0, :2].tolist()
        assert found.scores.tolist() == as_here.scores.tolist()


@pytest.mark.parametrize("damaged", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_not_nothing_found(damaged: float) -> None:
    boxes, scores = torch.tensor([[[10.0, 10, 30, 30], [50, 50, 60, 60]]]), torch.tensor([[[0.9, 0.8]]])
    with pytest.raises(UserError, match="not numbers"):
        postprocess(boxes, torch.tensor([[[0.9, damaged]]]), (100, 64), 0.01, EvaluateSettings())
    with pytest.raises(UserError, match="not numbers"):
        postprocess(boxes * torch.tensor([1, 1, damaged, 1]), scores, (100, 64), 0.01, EvaluateSettings())


def test_pixels_may_lie_in_any_order() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    assert (to_batch(images[:, ::-1, ::-1, ::-1], CPU) == to_batch(images, CPU).flip(1, 2, 3)).all()
