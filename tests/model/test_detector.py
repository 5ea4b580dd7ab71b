from __future__ import annotations

import pytest
import torch

from fsod.model.detector import Detector, split_batch, tile, untile
from fsod.model.meta_head import ClassRows
from fsod.model.support_encoder import ClassVectors, encode_size, pool_over_mask


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    return Detector("nano", 3).eval()


def test_predictions_have_a_row_a_class_and_background_last(detector: Detector) -> None:
    with torch.no_grad():
        predictions = detector(torch.rand(2, 3, 64, 96), detector.learned_rows())
    locations = (8 * 12) + (4 * 6) + (2 * 3)
    assert predictions.logits.shape == (2, 4, locations)
    assert torch.equal(predictions.own, predictions.logits[:, :3])
    assert predictions.boxes_xyxy_px.shape == (2, locations, 4)
    assert predictions.points_xy_px[0].tolist() == [4, 4]
    assert predictions.points_xy_px[-1].tolist() == [80, 48]


def test_a_class_does_not_change_the_logits_of_another(detector: Detector) -> None:
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        three = detector(images, detector.learned_rows()).logits
        one = detector(images, detector.learned_rows().select([1])).logits
    torch.testing.assert_close(one[:, 0], three[:, 1])


def test_of_rows_keeps_background_beside_the_chosen_rows(detector: Detector) -> None:
    with torch.no_grad():
        predictions = detector(torch.rand(1, 3, 64, 64), detector.learned_rows())
    part = predictions.of_rows(1, 3)
    assert torch.equal(part.logits, predictions.logits[:, [1, 2, 3]])


def test_crops_come_back_from_their_canvases() -> None:
    crops = torch.rand(7, 3, 64, 64)
    canvases = tile(crops, 160)
    assert canvases.shape == (2, 3, 160, 160)
    assert torch.equal(untile(canvases, 64, 7), crops)


def test_vectors_from_an_episode_are_those_from_crops_alone(detector: Detector) -> None:
    """In evaluation mode the queries of a batch do not leak into the class vectors."""
    crops = torch.rand(2, 2, 4, 64, 64)
    crops[:, :, 3] = 0
    crops[:, :, 3, 16:48, 16:48] = 1
    sides = torch.full((2, 2), 32.0)
    with torch.no_grad():
        _, one = detector.episode(torch.rand(3, 3, 128, 128), crops, sides)
        _, other = detector.episode(torch.rand(3, 3, 128, 128), crops, sides)
        alone = detector.class_vectors(crops, sides)
    for a, b, c in zip(one.vectors, other.vectors, alone.vectors, strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a, c)


def test_pooling_sees_the_mask_only() -> None:
    features = torch.zeros(1, 2, 4, 4)
    features[0, 0, :2] = 1.0
    features[0, 1, 2:] = 1.0
    mask = torch.zeros(1, 1, 32, 32)
    mask[:, :, :16] = 1
    assert pool_over_mask([features], mask)[0].tolist() == [[1.0, 0.0]]


def test_untrained_encoder_looks_for_what_the_surroundings_are_not(detector: Detector) -> None:
    objects, surroundings = ([torch.randn(1, c) for c in detector.trunk.channels] for _ in range(2))
    vectors = ClassVectors(objects, surroundings, torch.zeros(1, 7))
    rows = detector.predicted_rows(vectors)
    for kernel, vector, around in zip(rows.kernels, vectors.vectors, vectors.surroundings, strict=True):
        assert torch.cosine_similarity(kernel, vector - around / 2).item() == pytest.approx(1, abs=1e-5)


def test_surroundings_are_what_is_outside_the_boxes(detector: Detector) -> None:
    crops = torch.rand(1, 2, 4, 64, 64)
    crops[:, :, 3] = 0
    crops[:, :, 3, 16:48, 16:48] = 1
    turned_inside_out = crops.clone()
    turned_inside_out[:, :, 3] = 1 - crops[:, :, 3]
    with torch.no_grad():
        one, other = (detector.class_vectors(c, torch.ones(1, 2)) for c in (crops, turned_inside_out))
    for inside, outside in zip(one.vectors, other.surroundings, strict=True):
        torch.testing.assert_close(inside, outside)


def test_size_code_is_a_partition_and_knows_its_bins() -> None:
    code = encode_size(torch.tensor([1.0, 8.0, 24.0, 64.0, 9000.0]))
    torch.testing.assert_close(code.sum(1), torch.ones(5))
    assert code[1, 0] == 1
    assert code[3, 3] == 1
    assert code[4, 6] == 1
    assert code[2, 1] > 0 < code[2, 2]


def test_rows_concatenate_and_select() -> None:
    rows = ClassRows([torch.arange(6.0).reshape(3, 2)], torch.arange(3.0)[:, None])
    both = ClassRows.concatenate([rows, rows.select([2])])
    assert len(both) == 4
    assert torch.equal(both.kernels[0][3], rows.kernels[0][2])


def test_a_batch_split_in_two_keeps_channels_last_in_its_gradient() -> None:
    whole = torch.randn(5, 4, 6, 8).to(memory_format=torch.channels_last).requires_grad_()
    first, others = split_batch(whole, 3)
    assert torch.equal(first, whole[:3])
    assert torch.equal(others, whole[3:])
    (gradient,) = torch.autograd.grad((first * 2).sum(), whole)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(gradient, torch.tensor([2.0, 2, 2, 0, 0])[:, None, None, None].expand_as(gradient))
