"""How a photograph looks, and from where on it looks unlike another."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fsod.image_look import Look, look_of, looks_in, origin_of_look


def blobs(side: int = 256) -> NDArray[np.uint8]:
    """Discs with sharp edges on a soft ground."""
    rng = np.random.default_rng(0)
    rgb = cv2.GaussianBlur(rng.uniform(80, 120, (side, side, 3)).astype(np.float32), (0, 0), 4)
    for _ in range(60):
        x, y = rng.integers(0, side, 2).tolist()
        cv2.circle(rgb, (x, y), 9, rng.uniform(30, 220, 3).tolist(), -1)
    return rgb.clip(0, 255).astype(np.uint8)


def changed(how: str) -> NDArray[np.uint8]:
    rgb = blobs().astype(np.float32)
    if how == "dark":
        rgb *= 0.2
    if how == "dim":
        rgb *= 0.5
    if how == "bright":
        rgb = 230 + 0.1 * rgb
    if how == "flat":
        rgb = 110 + 0.2 * (rgb - 110)
    if how == "blurred":
        rgb = cv2.GaussianBlur(rgb, (0, 0), 4)
    if how == "noisy":
        rgb = cv2.GaussianBlur(rgb, (0, 0), 1.5) + np.random.default_rng(0).normal(0, 40, rgb.shape)
    return rgb.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("as it is", []),
        ("dim", []),
        ("dark", ["times as dark", "times less contrast"]),
        ("bright", ["times less contrast"]),
        ("flat", ["times less contrast"]),
        ("blurred", ["times less steep"]),
    ],
)
def test_what_is_far_from_the_examples_is_said(how: str, says: list[str]) -> None:
    shown, own = look_of([(blobs(), None)]), look_of([(changed(how), None)])
    assert shown is not None
    assert own is not None
    said = own.unlike(shown)
    assert len(said) == len(says)
    assert all(part in line for part, line in zip(says, said, strict=True))


def test_noise_is_said_beside_soft_examples() -> None:
    soft = cv2.GaussianBlur(blobs(), (0, 0), 1.5)
    shown, own = look_of([(np.asarray(soft, np.uint8), None)]), look_of([(changed("noisy"), None)])
    assert shown is not None
    assert own is not None
    assert [line.split(" times")[1] for line in own.unlike(shown)] == [" as steep (noise, or sharpened)"]


def test_what_is_not_valid_does_not_count() -> None:
    rgb, valid = blobs(), np.ones((256, 256), bool)
    torn = rgb.copy()
    torn[:100], valid[:100] = 255, False
    half, whole = look_of([(torn, valid)]), look_of([(rgb[100:], None)])
    assert half is not None
    assert half == whole


def test_nothing_is_known_of_what_shows_nothing() -> None:
    assert look_of([]) is None
    assert look_of([(np.full((64, 64, 3), 90, np.uint8), None), (blobs()[:6], None)]) is None
    assert look_of([(blobs(), np.zeros((256, 256), bool))]) is None
    assert origin_of_look([]) == {}


def test_looks_are_kept_once() -> None:
    own = origin_of_look([(blobs(), None)])
    (look,) = looks_in({"a": own, "b": own, "c": {}})
    assert look == Look.model_validate(own["look"])


def test_a_single_mark_does_not_tell_how_sharp_a_scene_is() -> None:
    soft = np.asarray(cv2.GaussianBlur(blobs(), (0, 0), 4), np.uint8)
    sharp = look_of([(blobs(), None)])
    assert sharp is not None
    (one,), (three,) = (looks_in({"a": origin_of_look([(soft, None)] * marks)}) for marks in (1, 3))
    assert sharp.unlike(one) == []
    assert [line.split(" times")[1] for line in sharp.unlike(three)] == [" as steep (noise, or sharpened)"]
