"""The report of a check: Markdown, and pictures in which a person sees whether boxes lie on objects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from data_prep.check import Check
from data_prep.entries import Entry
from data_prep.findings import KINDS
from data_prep.looks import Look
from fsod.boxes import Detections
from fsod.data.coco_folder import read_rgb
from fsod.data.crop import Square
from fsod.draw import Rgb, contact_sheet, draw_detections, write_png
from fsod.files import write_text

REPORT = "report.md"
HEADING = "# Check of "
PICTURE_MARK = "fsod data check"
"""Text of the pictures."""
_SIZES, _OVERLAPS = "box_sizes.png", "overlaps.png"
PICTURES = ("class_[0-9][0-9]*_*.png", _SIZES, _OVERLAPS)

_COLUMNS, _ROWS_OF_RANDOM, _CROP_PX = 8, 2, 160
_CONTEXT, _LEAST_CROP_PX = 2.0, 48  # sides of a crop to those of its box; pixels of the image
_PAIRS_PX, _MOST_PAIRS, _MOST_LINES = 260, 24, 100
_SMALL_PX, _MEDIUM_PX = 32, 96  # where COCO draws the lines
_LOOKS = ("size", "elongation", "brightness", "contrast")


def write_report(check: Check, out: Path) -> Path:
    """Writes ``report.md`` and its pictures.

    Each class has a sheet: boxes drawn at random, the smallest, the largest, and the oddest, which differ most from their
    class in size, elongation, brightness or contrast. Overlaps have one: either image, and the first laid on the second.

    Args:
        check: of a folder.
        out: folder for the report; what an earlier report left there is replaced.

    Returns:
        The path of ``report.md``.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = {entry.value["id"]: entry.value["name"] for entry in check.kept["categories"]}
    boxes: dict[str, list[_Crop]] = {name: [] for name in names.values()}
    images = {look.entry.value["id"]: look for look in check.looks}
    for entry in check.boxes():
        if (look := images.get(entry.value["image_id"])) and entry.position in look.light:
            boxes[names[entry.value["category_id"]]].append(_Crop(look, entry))
    sheets: dict[str, str] = {}
    for n, (name, crops) in enumerate(boxes.items()):
        if crops:
            sheets[name] = f"class_{n + 1:02d}_{re.sub(r'[^A-Za-z0-9]+', '_', name)}.png"
            write_png(out / sheets[name], _class_sheet(crops, n), PICTURE_MARK)
    _histogram({name: [crop.side_px for crop in crops] for name, crops in boxes.items()}, out / _SIZES)
    if check.overlaps:
        write_png(out / _OVERLAPS, _overlap_sheet(check), PICTURE_MARK)
    path = out / REPORT
    write_text(path, _markdown(check, sheets))
    return path


class _Crop:
    """A box and where it is."""

    def __init__(self, look: Look, entry: Entry) -> None:
        self.look, self.entry = look, entry
        x, y, width, height = entry.value["bbox"]
        self.xyxy_px = np.array([[x, y, x + width, y + height]], np.float64)
        self.longer_px, self.side_px = max(width, height), float(np.sqrt(width * height))
        mean, spread = look.light[entry.position]
        # an object's heading is no property of its class: 3:1 is as long as 1:3
        self.looks = (np.log(self.side_px), abs(np.log(width / height)), mean, spread)

    def caption(self, row: str) -> str:
        """What is written under the picture."""
        width, height = (self.xyxy_px[0, 2:] - self.xyxy_px[0, :2]).tolist()
        return f"{row}\n{self.look.stem}, box {self.entry.value['id']}\n{width:g}x{height:g} px"

    def picture(self, class_id: int) -> Rgb:
        """The box and what surrounds it, magnified where it is small."""
        centre = (self.xyxy_px[0, :2] + self.xyxy_px[0, 2:]) / 2
        square = Square.around(centre, max(_CONTEXT * self.longer_px, _LEAST_CROP_PX), _CROP_PX)
        box = Detections(square.boxes(self.xyxy_px), np.ones(1, np.float32), np.array([class_id]))
        return draw_detections(square.pixels(read_rgb(self.look.path)), box, [], labels=False)


def _class_sheet(crops: list[_Crop], class_id: int) -> Rgb:
    by_size = sorted(crops, key=lambda crop: crop.side_px)
    chosen = np.random.default_rng(0).permutation(len(crops))[: _ROWS_OF_RANDOM * _COLUMNS]
    odd, why = _oddness(crops)
    oddest = np.argsort(-odd, kind="stable")[:_COLUMNS]
    cells = [(crops[i], "random") for i in chosen]
    if len(crops) > len(cells):
        cells += [(crop, "smallest") for crop in by_size[:_COLUMNS]]
        cells += [(crop, "largest") for crop in by_size[::-1][:_COLUMNS]]
        cells += [(crops[i], f"odd {why[i]}, {odd[i]:.0f}x") for i in oddest]
    pictures = [crop.picture(class_id) for crop, _ in cells]
    return contact_sheet(pictures, [crop.caption(row) for crop, row in cells], _COLUMNS, _CROP_PX)


def _oddness(crops: Sequence[_Crop]) -> tuple[NDArray[np.float64], list[str]]:
    """How far each box is from its class's median, in median deviations, and in which respect most."""
    looks = np.array([crop.looks for crop in crops])
    off = np.abs(looks - np.median(looks, axis=0))
    # where half the boxes are equal the median deviation is 0
    off /= np.maximum(np.median(off, axis=0), np.array([0.05, 0.05, 2.0, 2.0]))
    return off.max(axis=1), [_LOOKS[i] for i in off.argmax(axis=1)]


def _overlap_sheet(check: Check) -> Rgb:
    """The least certain pairs first: those are to be looked at."""
    pictures: list[Rgb] = []
    captions: list[str] = []
    for overlap in check.overlaps[::-1][:_MOST_PAIRS]:
        first, second = check.looks[overlap.first], check.looks[overlap.second]
        images = [read_rgb(look.path) for look in (first, second)]
        laid = cv2.warpAffine(images[0], overlap.similarity, (images[1].shape[1], images[1].shape[0]))
        pictures += [images[0], np.asarray(laid, np.uint8), images[1]]
        captions += [
            first.stem,
            f"{overlap.inliers} features fit\ncorrelation {overlap.correlation:.2f}",
            second.stem,
        ]
    return contact_sheet(pictures, captions, 6, _PAIRS_PX)


def _histogram(sides_px: dict[str, list[float]], path: Path) -> None:
    """Sizes of all boxes in one panel, of each class in the other, on one logarithmic axis."""
    sides_px = {name: sides for name, sides in sides_px.items() if sides}
    figure = Figure((9, 3 + 0.28 * len(sides_px)), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 0.3 + 0.22 * len(sides_px)))
    every = np.concatenate([*sides_px.values(), np.zeros(0)])
    if len(every):
        upper.hist(every, np.geomspace(every.min() * 0.99, every.max() * 1.01, 50), color="#0072B2")
        rows = np.arange(len(sides_px))
        shares = np.array([np.percentile(sides, (0, 5, 25, 50, 75, 95, 100)) for sides in sides_px.values()]).T
        lower.hlines(rows, shares[1], shares[5], "#0072B2", lw=1.5)
        lower.hlines(rows, shares[2], shares[4], "#0072B2", lw=7)
        lower.plot(shares[3], rows, "|", color="white", ms=7)
        lower.plot(shares[[0, 6]], [rows, rows], ".", color="#0072B2", ms=4)
        lower.set_yticks(rows, [*sides_px])
        lower.invert_yaxis()
    upper.set(ylabel="boxes", title=f"{len(every)} boxes; below: median, quartiles, 5 to 95 %, smallest and largest")
    lower.set(xscale="log", xlabel="square root of the box's area, px (dashed: 32 and 96, COCO's small and medium)")
    lower.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    lower.xaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    for panel in (upper, lower):
        for limit_px in (_SMALL_PX, _MEDIUM_PX):
            panel.axvline(limit_px, color="grey", lw=0.8, ls="--")
    figure.savefig(path, dpi=110, format="png", metadata={"Software": PICTURE_MARK})


def _markdown(check: Check, sheets: dict[str, str]) -> str:
    classes = check.classes()
    counts = check.counts()
    lines = [
        f"{HEADING}{check.root}",
        "",
        f"{len(check.kept['images'])} images, {len(check.boxes())} boxes and {len(classes)} classes are usable. "
        + (f"{len(check.findings)} findings." if counts else "Nothing is wrong with it."),
        "",
        *_table(("class", "boxes", "images"), [(name, c["boxes"], c["images"]) for name, c in classes.items()]),
        f"![sizes of boxes]({_SIZES})",
        "",
    ]
    if counts:
        lines += ["## Findings", ""]
        lines += _table(
            ("kind", "count", "meaning, and what --fix does"), [(k, n, KINDS[k]) for k, n in counts.items()]
        )
    for kind, count in counts.items():
        lines += [f"### {kind}", ""]
        found = [finding for finding in check.findings if finding.kind == kind]
        lines += [f"- `{finding.where}` {_plain(finding.what)}" for finding in found[:_MOST_LINES]]
        lines += [f"- ... and {count - _MOST_LINES} more: see the output of `--json`"] * (count > _MOST_LINES)
        lines += [""]
    if refused := check.card.get("refused"):
        lines += ["## Left out when the folder was prepared", ""]
        lines += [f"- `{entry['where']}` {_plain(str(entry['why']))}" for entry in refused[:_MOST_LINES]] + [""]
    if check.overlaps:
        lines += ["## Images of the same ground, the least certain first", "", f"![overlaps]({_OVERLAPS})", ""]
    lines += ["## Boxes", ""]
    for name, sheet in sheets.items():
        lines += [f"### {_plain(name)}", "", f"![{_plain(name)}]({sheet})", ""]
    return "\n".join(lines)


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> list[str]:
    ruled = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_plain(str(cell)) for cell in row) + " |" for row in ruled] + [""]


def _plain(text: str) -> str:
    """Text that Markdown does not take for its own signs."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split())) if text != "---" else text
