"""Looking a prepared folder over: what it holds, what is wrong with it, which images show the same ground."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.entries import SECTIONS, Entry, read_entries, read_lists
from data_prep.findings import Finding, check_boxes, check_form, check_lists, names_of
from data_prep.folder import CARD, count_classes
from data_prep.looks import Look, compare_scenes, find_leaks, look_at_images
from data_prep.overlap import Overlap
from fsod.data.coco_folder import load_folder
from fsod.errors import UserError

_LOADS_DESPITE = {
    *("overlap", "leakage", "duplicate_image", "two_classes", "doubled_box"),
    *("wrong_size", "unreadable_image", "bad_list"),
}


@dataclass(frozen=True)
class Check:
    """A prepared folder looked over.

    Attributes:
        root: the folder.
        entries: of its annotation file and its lists, by section, as they stand there.
        kept: those that stay when the findings' changes are made, with the values that they get.
        findings: what is wrong, in the order of the files.
        looks: the images that can be read.
        overlaps: pairs of positions in ``looks`` that show the same ground, by falling evidence.
        groups: file stems of images that show the same ground, directly or through others.
        card: of the folder; empty where there is none that can be read.
    """

    root: Path
    entries: dict[str, list[Entry]]
    kept: dict[str, list[Entry]]
    findings: list[Finding]
    looks: list[Look]
    overlaps: list[Overlap]
    groups: list[list[str]]
    card: dict[str, Any]

    def counts(self) -> dict[str, int]:
        """How many findings there are of each kind."""
        return dict(sorted(Counter(finding.kind for finding in self.findings).items()))

    def summary(self) -> dict[str, Any]:
        """For ``--json``: what is kept of each class, findings by kind and one by one, groups on the same ground."""
        return {
            "folder": str(self.root),
            "images": len(self.kept["images"]),
            "boxes": len(self.boxes()),
            "classes": self.classes(),
            "problems": self.counts(),
            "overlap_groups": self.groups,
            "refused_when_prepared": self.card.get("refused", []),
            "findings": [
                {"kind": f.kind, "where": f.where, "what": f.what, "can_be_fixed": f.change is not None}
                for f in self.findings
            ],
        }

    def boxes(self) -> list[Entry]:
        """Boxes that are kept; crowds are none, as in the card."""
        return [entry for entry in self.kept["annotations"] if not entry.value.get("iscrowd")]

    def classes(self) -> dict[str, dict[str, int]]:
        """Boxes and images of each class that are kept."""
        return count_classes({section: [entry.value for entry in self.kept[section]] for section in SECTIONS})


def check_folder(root: Path) -> Check:
    """Reads every entry and every image of a prepared folder; what is wrong is collected, not raised.

    Args:
        root: the prepared folder.

    Raises:
        UserError: no folder, or an annotation file that is not JSON or not in the form of COCO.
    """
    entries, lists = read_entries(root), read_lists(root)
    sound, findings = check_form(entries)
    findings += check_boxes(sound) + check_lists(sound, lists)
    inside = corrected(sound, findings)
    looks, of_images = look_at_images(root, sound["images"], inside["annotations"])
    overlaps, groups, of_scenes = compare_scenes(looks)
    findings += [*of_images, *of_scenes, *find_leaks(looks, overlaps, lists)]
    findings += _other_reasons(root, findings)
    findings.sort(key=_place)
    everything = {**entries, **lists}
    return Check(
        root, everything, corrected({**sound, **lists}, findings), findings, looks, overlaps, groups, _card(root)
    )


def corrected(entries: dict[str, list[Entry]], findings: list[Finding]) -> dict[str, list[Entry]]:
    """The entries that stay when all changes are made, with the values that they get.

    With an image go its boxes, and the ids on lists that then select nothing.
    """
    changes = [finding.change for finding in findings if finding.change is not None]
    gone = {(change.section, change.position) for change in changes if change.update is None}
    updates: dict[tuple[str, int], dict[str, Any]] = {}
    for change in changes:
        updates.setdefault((change.section, change.position), {}).update(change.update or {})
    kept: dict[str, list[Entry]] = {}
    for section, all_of_it in entries.items():
        stay = [entry for entry in all_of_it if (section, entry.position) not in gone]
        changed = ((entry, updates.get((section, entry.position))) for entry in stay)
        kept[section] = [replace(entry, value={**entry.value, **new}) if new else entry for entry, new in changed]
    image_ids = {entry.value["id"] for entry in kept["images"]}
    selects = {name for entry in kept["images"] for name in names_of(entry)}
    kept["annotations"] = [entry for entry in kept["annotations"] if entry.value["image_id"] in image_ids]
    lists = {section: ids for section, ids in kept.items() if section not in SECTIONS}
    return {**kept, **{section: [entry for entry in ids if entry.value in selects] for section, ids in lists.items()}}


def _other_reasons(root: Path, findings: list[Finding]) -> list[Finding]:
    """Whatever else keeps the folder from loading, where nothing that was found explains it."""
    if all(finding.kind in _LOADS_DESPITE for finding in findings):
        try:
            load_folder(root)
        except UserError as error:
            return [Finding("does_not_load", "annotations.json", str(error))]
    return []


def _place(finding: Finding) -> tuple[str, int]:
    file, _, line = finding.where.partition(":")
    return file, int(line or 0)


def _card(root: Path) -> dict[str, Any]:
    try:
        card = json.loads((root / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}
