"""Charts of how well a detector does: curves, costs of errors, confusion, calibration, AP against shots.

Every function gets plain numbers and writes one PNG. Novel classes have one colour, base classes another, everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from matplotlib.text import Text
from numpy.typing import NDArray

from fsod.files import atomic_write
from fsod.marks import font_with

Floats = NDArray[np.float64]

COLOURS = {"novel": "#D55E00", "base": "#0072B2"}
"""Okabe and Ito's vermilion and blue."""

_GREY, _DPI = "#888888", 110


def write_figure(path: Path, figure: Figure) -> Path:
    """Writes a chart as PNG, the whole of it or nothing."""
    for text in figure.findobj(lambda artist: isinstance(artist, Text)):
        assert isinstance(text, Text)
        family = get_font(font_with([text.get_text()])).family_name
        text.set_fontfamily(["DejaVu Sans", family])  # the second for what the first lacks
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
    return path


def plot_precision_recall(
    path: Path,
    curves: Mapping[str, tuple[Floats, Floats]],
    ap50: Mapping[str, float],
    best: Mapping[str, tuple[int, float]],
    novel: Sequence[str],
) -> Path:
    """Precision over recall, a panel a class, novel ones first; the point of best F1 is marked with its score.

    Args:
        path: of the PNG.
        curves: class -> recall (m,) and precision (m,) as the score threshold falls.
        ap50: class -> AP at IoU 0.5, written into the title.
        best: class -> position of the point of best F1, and the score there; may lack classes.
        novel: which are novel.
    """
    names = sorted(curves, key=lambda name: name not in novel)
    columns = min(5, max(len(names), 1))
    rows = -(-len(names) // columns) or 1
    figure = Figure(figsize=(2.3 * columns + 0.4, 2.4 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(panels.flat, names, strict=False):
        recall, precision = curves[name]
        colour = COLOURS["novel" if name in novel else "base"]
        axes.fill_between(recall, precision, color=colour, alpha=0.2, linewidth=0)
        axes.plot(recall, precision, color=colour, linewidth=1.5)
        if name in best:
            point, score = best[name]
            axes.plot(recall[point], precision[point], "o", color=colour, markersize=5)
            axes.annotate(
                f"{score:.2f}", (recall[point], precision[point]), (4, 4), textcoords="offset points", fontsize=8
            )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axes.set_title(_plain(f"{name}{' (novel)' if name in novel else ''}\nAP50 {ap50[name]:.2f}"), fontsize=9)
        axes.grid(alpha=0.3)
    figure.supxlabel("recall (the dot is where F1 is best, and the score there)", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    return write_figure(path, figure)


def plot_costs(path: Path, kinds: Sequence[str], groups: Mapping[str, Floats]) -> Path:
    """What each kind of error costs in AP50, novel beside base.

    Args:
        path: of the PNG.
        kinds: n kinds.
        groups: "novel", "base" -> (n,) mean over its classes of the AP50 that would be gained without them, or NaN.
    """
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(kinds))[::-1]
    for (name, values), shift in zip(groups.items(), (0.19, -0.19), strict=True):
        bars = axes.barh(places + shift, np.nan_to_num(values), 0.36, color=COLOURS[name], label=f"{name} classes")
        axes.bar_label(bars, ["-" if np.isnan(v) else f"{v:.3f}" for v in values], padding=3, fontsize=8)
    axes.set_yticks(places, kinds)
    axes.set(xlabel="AP50 that would be gained without such errors", title="Where errors come from")
    axes.margins(x=0.12)
    axes.legend(frameon=False)
    _bare(axes)
    return write_figure(path, figure)


def plot_confusion(path: Path, counts: NDArray[np.int64], class_names: Sequence[str]) -> Path:
    """What true boxes are taken for, shares of each true class in colour, counts in figures.

    Args:
        path: of the PNG.
        counts: (n + 1, n + 1), rows true and columns detected, as `fsod.evaluation.judge.confusion` gives them.
        class_names: n names.
    """
    n = len(class_names)
    side = 0.42 * n + 2.6
    figure = Figure(figsize=(side + 0.5, side), layout="constrained")
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    share[n] = 0  # false alarms are a share of nothing: there is no count of the places without an object
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink = "white" if share[row, column] > 0.55 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color=ink)
    names = [_plain(name) for name in class_names]
    axes.set_xticks(range(n + 1), [*names, "missed"], rotation=50, ha="right", fontsize=8)
    axes.set_yticks(range(n + 1), [*names, "nothing there"], fontsize=8)
    for edge in (axes.axhline, axes.axvline):
        edge(n - 0.5, color=_GREY, linewidth=1)
    axes.set(xlabel="detected as", ylabel="true class", title="What is taken for what")
    return write_figure(path, figure)


def plot_reliability(path: Path, groups: Mapping[str, tuple[Floats, Floats, NDArray[np.int64], float]]) -> Path:
    """How often detections of a score are right, and how many have it.

    Args:
        path: of the PNG.
        groups: "novel", "base" -> mean score (bins,), precision (bins,), counts (bins,), calibration error.
    """
    figure = Figure(figsize=(4.6, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot((0, 1), (0, 1), color=_GREY, linewidth=1, linestyle="--", label="as it should be")
    for i, (name, (scores, precision, counts, error)) in enumerate(groups.items()):
        colour = COLOURS[name]
        full = counts > 0
        label = f"{name}, calibration error {error:.3f}"
        upper.plot(scores[full], precision[full], color=colour, marker="o", markersize=4, label=label)
        bins = len(counts)
        lower.bar((np.arange(bins) + 0.3 + 0.4 * i) / bins, counts, width=0.38 / bins, color=colour)
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that hits", title="Can scores be believed?")
    upper.legend(frameon=False, fontsize=8, loc="lower right")
    lower.set(xlabel="score", ylabel="detections", yscale="symlog")
    for axes in (upper, lower):
        _bare(axes)
    return write_figure(path, figure)


def plot_by_shots(path: Path, groups: Mapping[str, Mapping[int, tuple[Sequence[float], float]]]) -> Path:
    """AP50 against K: a ring a seed, a dot for their mean, a bar for the 95 % interval of the mean.

    Args:
        path: of the PNG.
        groups: "novel", "base" -> K -> AP50 of each seed, 0..1, and half the width of the interval, NaN for one seed.
    """
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    every_k = sorted({k for by_k in groups.values() for k in by_k})
    for name, by_k in groups.items():
        colour, ks = COLOURS[name], sorted(by_k)
        places = np.array([every_k.index(k) for k in ks]) + (0.04 if name == "novel" else -0.04)
        means = [float(np.mean(by_k[k][0])) for k in ks]
        halves = [by_k[k][1] for k in ks]
        axes.errorbar(places, means, yerr=halves, color=colour, marker="o", capsize=4, label=f"{name} classes")
        for place, k in zip(places, ks, strict=True):
            axes.plot(
                [place + 0.06] * len(by_k[k][0]), by_k[k][0], "o", markersize=4, color=colour, markerfacecolor="white"
            )
    axes.set_xticks(range(len(every_k)), [str(k) for k in every_k])
    axes.set(xlabel="labelled boxes per class (K)", ylabel="AP50", ylim=(0, 1))
    axes.set_title("AP50 against K: seeds, their mean, its 95 % interval", fontsize=10)
    axes.legend(frameon=False)
    _bare(axes)
    return write_figure(path, figure)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def _plain(text: str) -> str:
    """Text that matplotlib shows as it is, dollar signs too, and not too much of it."""
    short = text if len(text) <= 40 else text[:39] + "…"
    return short.replace("$", r"\$")
