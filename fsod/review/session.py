"""What one ``fsod review`` is about: the layer, its scene, its bank, and the loop from verdicts to new detections."""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fsod.band_rule import BandRule
from fsod.boxes import in_parts, iou
from fsod.errors import UserError
from fsod.files import sha256_of
from fsod.geo.layer_scene import scene_of_layer
from fsod.geo.scene import Scene
from fsod.geo.scene_list import short_name
from fsod.geo.scene_opening import open_scene
from fsod.marks import class_colour
from fsod.report.scene_report import overview_path
from fsod.review.cut_outs import CutOuts
from fsod.review.found_features import Found
from fsod.review.judged_layer import JudgedLayer, open_rows, run_of
from fsod.review.learning import Learning, Round, next_files, start_from
from fsod.store.any_header import read_any_header

SAME_OBJECT_IOU = 0.5
"""A new detection that overlaps an old one of its class more is of the same object."""

_LEAST_HASH = 12
"""Digits that a layer gives of a hash."""


class Session:
    """A layer that is being judged, and what is learned from it.

    Attributes:
        layer: as it is now; another one after each round.
        pictures: of the scene.
        bank: what the layer was found with; None where nobody knows, and then nothing can be learned.
        learning: the round that is running, or the last one.
        news: what the last round changed, in words.
        lock: held by whoever reads or changes the layer.
    """

    def __init__(
        self,
        path: Path,
        scene: str | None,
        bank: Path | None,
        layer: str | None = None,
        bands: tuple[int, ...] | None = None,
        nodata: float | None = None,
    ) -> None:
        """Opens a layer.

        Args:
            path: of the layer.
            scene: the raster; looked for by its name if None.
            bank: what the layer was found with; looked for by its hash if None.
            layer: name of the layer in the file, where it has several.
            bands: as of ``open_scene``; as the bank's examples were shown if None.
            nodata: the same.

        Raises:
            UserError: no such layer, a format whose features cannot be changed, no scene, a bank that is none.
        """
        run = run_of(open_rows(path, layer).read())
        self._found_with = run.get("bank", "")
        self.bank = bank or find_bank(path, self._found_with)
        header = read_any_header(self.bank, "a class bank") if self.bank is not None and _is_bank(self.bank) else {}
        name = scene or find_scene(path, run.get("scene", ""), header)
        self._seeing = [*(["--bands", ",".join(map(str, bands))] if bands else [])]
        self._seeing += [] if nodata is None else ["--nodata", str(nodata)]
        opened = open_scene(name, bands=bands, nodata=nodata, like=_shown(header), toned=False, north_up=False)
        self.lock = threading.RLock()
        self.learning = Learning()
        self.news = ""
        self._later: list[Path] = []
        self._later_areas: list[Path] = []
        self._open(path, layer, opened)

    def _open(self, path: Path, layer: str | None, scene: Scene) -> None:
        self.layer = JudgedLayer(path, layer, scene)
        self.pictures = CutOuts(scene, overview_path(path))
        self._known_classes = _classes_in(overview_path(path))

    def reread(self) -> dict[str, Any]:
        """Takes the layer from its file again; all that the page shows."""
        with self.lock:
            self.layer.read()
            scene = self.layer.scene
            names = list(dict.fromkeys([*self._known_classes, *sorted(self._used_classes())]))
            return {
                "name": self.layer.path.name,
                "scene": short_name(scene.name),
                "size_px": [scene.width_px, scene.height_px],
                "classes": [
                    {"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*class_colour(i))}
                    for i, name in enumerate(names)
                ],
                "found": [vars(one) for one in self.layer.found.values()],
                "areas": self.areas(),
                "changes": self.layer.changes,
                "undoable": self.layer.undoable,
                "why_not_learn": self.why_not_learn(),
            }

    def areas(self) -> list[list[list[float]]]:
        """Outlines of the areas as lists of x and y in the scene's pixels; of those with holes the outer ones."""
        rings = [np.asarray(one.exterior.coords) for one in self.layer.areas.polygons_px]
        return [ring[:, :2].round(2).tolist() for ring in rings]

    def warnings(self) -> list[str]:
        """What the user should know before the first verdict."""
        said = [*self.layer.scene.warnings, self.why_not_learn()]
        if away := self.layer.elsewhere:
            said.append(
                f"{self.layer.path}: detections on {', '.join(list(away)[:3])} are not shown ({sum(away.values())}); --scene "
                "names the scene to judge on"
            )
        if self.bank is not None and not _is_of(self.bank, self._found_with):
            said.append(
                f"{self.layer.path} was not found with {self.bank} but with a bank {self._found_with}; learning goes on from "
                "the former, so name the latter (--bank) if that is not meant"
            )
        return [one for one in said if one]

    def why_not_learn(self) -> str:
        """Why nothing can be learned from this layer, and what to do; empty where it can."""
        if self.bank is None:
            return "the bank that these were found with is not beside the layer; name it: fsod review ... --bank FILE"
        try:
            start_from(self.bank)
        except UserError as error:
            return str(error)
        return ""

    def check_shown(self, layer: str) -> None:
        """UserError unless a page shows the layer that is judged now."""
        if layer != self.layer.path.name:
            raise UserError(f"{layer} was learned from meanwhile; from here on this page shows {self.layer.path.name}")

    def learn(self, minutes: float, layer: str) -> None:
        """Begins a round from the layer of this name; UserError where nothing can be learned, or one is running."""
        with self.lock:
            self.check_shown(layer)
            if self.learning.state == "running":
                raise UserError("a round is running already; wait for it, or stop it")
            if why := self.why_not_learn():
                raise UserError(why)
            assert self.bank is not None
            judged, areas = _with_verdicts(self.layer), _with_areas(self.layer)
            if not (judged or areas or self._later or self._later_areas):
                raise UserError("nothing is judged yet; say yes or no to a few first")
            detector, found = next_files(self.layer.path)
            this = Round(
                scene=self.layer.scene.name,
                bank=self.bank,
                verdicts=[*self._later, *judged],
                layer=self.layer.rows.layer,
                areas=[*self._later_areas, *areas],
                minutes=minutes,
                seeing=self._seeing,
                detector=detector,
                found=found,
            )
            before = self.layer.changes
            self.learning.start(this, lambda done: self._take(done, before))

    def progress(self) -> dict[str, Any]:
        """How far the round is."""
        now = self.learning
        seconds = time.monotonic() - now.started_s if now.started_s else 0.0
        return {
            "state": now.state,
            "step": now.step,
            "done": now.done,
            "total": now.total,
            "lines": list(now.lines),
            "error": now.error,
            "seconds": round(seconds, 1),
            "minutes": now.minutes,
            "news": self.news,
            "name": self.layer.path.name,
            "changes": self.layer.changes,
        }

    def not_learned(self) -> list[str]:
        """What was said while a round ran, and no round has learned since: nothing, or one line with the command that does."""
        known = [("--verdicts", path) for path in self._later] + [("--area", path) for path in self._later_areas]
        if not known:
            return []
        out = next_files(self.layer.path)[0]
        told = [*chain.from_iterable(known), "--scene", self.layer.scene.name]
        command = ["fsod", "finetune", "--from", self.bank, *told, "--out", out]
        names = ", ".join(str(path) for _, path in known)
        return [f"not learned yet, and another review does not know of it: {names}; {shlex.join(map(str, command))}"]

    def close(self) -> None:
        """Ends what is running."""
        self.learning.stop()
        self.pictures.close()

    def _take(self, done: Round, changes: int) -> None:
        """Goes over to what a round has found. What was judged while it ran is learned in the next one."""
        old, pictures = self.layer, self.pictures
        scene = old.scene.reopen()
        with self.lock:
            meanwhile = old.changes != changes
            self._open(done.found, None, scene)
            self.bank = done.detector
            self.news = _news(old.found.values(), self.layer.found.values())
            pictures.close()
            together = old.rows.layer == self.layer.rows.layer  # `fsod finetune` takes one --layer for all
            self._later = _with_verdicts(old) if meanwhile and together else []
            self._later_areas = _with_areas(old) if meanwhile else []
            if self._later or self._later_areas:
                self.news += f"; what you said of {old.path.name} while it ran is learned in the next round"
            if meanwhile and not together and _with_verdicts(old):
                self.news += f"; what you judged in {old.path.name} while it ran was not learned"

    def _used_classes(self) -> set[str]:
        return {one.class_name for one in self.layer.found.values()}


def _with_verdicts(layer: JudgedLayer) -> list[Path]:
    """The layer, if anything in it is judged."""
    return [layer.path] if any(one.verdict for one in layer.found.values()) else []


def _with_areas(layer: JudgedLayer) -> list[Path]:
    """Its file of areas, if there is any."""
    return [layer.areas.path] if layer.areas.polygons_px else []


def find_scene(layer: Path, name: str, header: dict[str, Any]) -> str:
    """The raster that a layer was made of, see ``scene_of_layer``.

    Raises:
        UserError: the layer does not name it, or it is not found.
    """
    if not name:
        raise UserError(f"{layer}: no feature in it says which scene it is of; name the raster with --scene")
    marked = [one["scene"] for one in (header.get("learned_from") or {}).get("marks", [])]
    if (there := scene_of_layer(layer, name, marked)) is None:
        raise UserError(
            f"{layer}: its scene {Path(name).name} is neither beside it nor in this folder; name the raster with --scene"
        )
    return str(there)


def find_bank(layer: Path, sha256: str) -> Path | None:
    """The bank that a layer was found with, by the beginning of its hash: beside the layer, or in the working folder."""
    if len(sha256) < _LEAST_HASH:
        return None
    files = [path for folder in (layer.parent, Path()) for path in sorted(folder.glob("*.safetensors"))]
    return next((path for path in files if sha256_of(path).startswith(sha256)), None)


def _is_of(bank: Path, sha256: str) -> bool:
    """Whether a bank may be the one that a layer names by the beginning of its hash."""
    return len(sha256) < _LEAST_HASH or sha256_of(bank).startswith(sha256)


def _is_bank(path: Path) -> bool:
    return path.suffix.lower() != ".onnx"


def _shown(header: dict[str, Any]) -> Sequence[BandRule]:
    rules = (header.get("learned_from") or header).get("shown", ())
    return [BandRule.model_validate(rule) for rule in rules]


def _classes_in(overview: Path) -> list[str]:
    """All classes of the bank, in the order that decides on their colours, as ``fsod predict`` noted them; else none."""
    try:
        with Image.open(overview) as picture:
            return [str(name) for name in json.loads(picture.info["comment"])["classes"]]
    except (OSError, ValueError, LookupError, TypeError, SyntaxError, Image.DecompressionBombError):
        return []


def _news(before: Iterable[Found], after: Iterable[Found]) -> str:
    """How detections differ from those before, in words."""
    old, new = ([one for one in found if one.score is not None] for found in (before, after))
    return f"{len(old)} detections before, {len(new)} now: {_without(new, old)} new, {_without(old, new)} gone"


def _without(some: list[Found], others: list[Found]) -> int:
    """How many of some have no counterpart among others."""
    alone = 0
    for name in {one.class_name for one in some}:
        own, theirs = (
            np.array([one.box_xyxy_px for one in found if one.class_name == name]).reshape(-1, 4)
            for found in (some, others)
        )
        for part in in_parts(len(own), len(theirs)):
            alone += int((~(iou(own[part], theirs) >= SAME_OBJECT_IOU).any(axis=1)).sum())
    return alone
