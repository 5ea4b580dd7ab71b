from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsod.plots import (
    COLOURS,
    plot_by_shots,
    plot_confusion,
    plot_costs,
    plot_precision_recall,
    plot_reliability,
)

NAMES = ["a $trange% class_with {braces}", "<b>ship</b>", "x" * 90]
NONE = np.zeros(0)


def pixels(path: Path) -> NDArray[np.uint8]:
    assert [file.name for file in path.parent.iterdir() if file.suffix == ".part"] == []
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def share(rgb: NDArray[np.uint8], colour: str) -> float:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float((np.abs(rgb.astype(int) - wanted).max(axis=-1) <= 2).mean())


def test_a_panel_a_class_in_the_colour_of_its_group(tmp_path: Path) -> None:
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 0.7])
    curves = {NAMES[0]: (recall, precision), NAMES[1]: (NONE, NONE), NAMES[2]: (recall, precision)}
    path = tmp_path / "curves.png"
    plot_precision_recall(path, curves, dict.fromkeys(NAMES, 0.5), {NAMES[0]: (2, 0.3)}, [NAMES[0]])
    rgb = pixels(path)
    assert share(rgb, COLOURS["novel"]) > 0
    assert share(rgb, COLOURS["base"]) > 0
    # novel classes come first, with a dot where F1 is best
    assert share(rgb[:, : rgb.shape[1] // 3], COLOURS["base"]) == 0


def test_longer_bars_for_what_costs_more(tmp_path: Path) -> None:
    kinds = ["class", "missed"]
    small = pixels(plot_costs(tmp_path / "a.png", kinds, {"novel": np.array([0.1, 0.0]), "base": np.array([0.1, 0.1])}))
    large = pixels(plot_costs(tmp_path / "b.png", kinds, {"novel": np.array([0.1, 0.1]), "base": np.array([0.1, 0.1])}))
    assert share(large, COLOURS["novel"]) > 1.5 * share(small, COLOURS["novel"])
    nothing = {"novel": np.array([np.nan, np.nan]), "base": np.array([0.2, 0.1])}
    assert share(pixels(plot_costs(tmp_path / "c.png", kinds, nothing)), COLOURS["novel"]) < 0.01


def test_confusion_grows_with_the_classes(tmp_path: Path) -> None:
    few = pixels(plot_confusion(tmp_path / "few.png", np.diag([4, 3, 2, 0]), NAMES))
    many = pixels(plot_confusion(tmp_path / "many.png", np.ones((21, 21), np.int64), [str(i) for i in range(20)]))
    assert many.shape[0] > 2 * few.shape[0] - 300
    pixels(plot_confusion(tmp_path / "none.png", np.zeros((2, 2), np.int64), ["only"]))


def test_calibration_and_shots_take_groups_that_are_empty_or_lack_a_seed(tmp_path: Path) -> None:
    full = (np.array([0.1, np.nan]), np.array([0.2, np.nan]), np.array([9, 0]), 0.1)
    empty = (np.array([np.nan] * 2), np.array([np.nan] * 2), np.array([0, 0]), float("nan"))
    rgb = pixels(plot_reliability(tmp_path / "calibration.png", {"novel": full, "base": empty}))
    assert share(rgb, COLOURS["novel"]) > share(rgb, COLOURS["base"])
    groups = {"novel": {3: ([0.3, 0.2], 0.1), 10: ([0.5], float("nan"))}, "base": {10: ([0.9], float("nan"))}}
    rgb = pixels(plot_by_shots(tmp_path / "shots.png", groups))
    assert share(rgb, COLOURS["novel"]) > share(rgb, COLOURS["base"]) > 0
