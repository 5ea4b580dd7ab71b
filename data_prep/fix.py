"""A corrected copy of a prepared folder, with a line in a log for everything that is not as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.check import Check
from data_prep.entries import SECTIONS
from data_prep.folder import counts, finished_card, folder_under_construction, in_threads, place_file, write_folder
from fsod.data.coco_folder import ANNOTATIONS
from fsod.data.leakage import MADE_FROM, lineage
from fsod.files import sha256_of

LOG = "changes.jsonl"


def write_fixed(check: Check, out: Path) -> dict[str, Any]:
    """Writes a copy with every change made that the findings ask for, and ``changes.jsonl``, one change per line.

    A line has ``where`` and ``kind`` of the finding, ``what`` was wrong, and the entry ``before`` and ``after``; ``after``
    is null for what was left out. Findings that cannot be decided from the data stay. Images are hard-linked where they can
    be. All or nothing: ``out`` appears when it is complete. If it is there already, made from the same content, nothing is
    done.

    Args:
        check: of the folder.
        out: the folder to write.

    Returns:
        The card of the copy: that of the folder with new counts, ``fixed_from``, ``changes`` and ``findings_left`` by kind.

    Raises:
        UserError: something else is at ``out``.
    """
    log = list(_log(check))
    fingerprint = _fingerprint(check, log)
    if card := finished_card(out, fingerprint):
        return card
    coco = {section: [entry.value for entry in check.kept[section]] for section in SECTIONS}
    lists = {Path(s).stem: [entry.value for entry in check.kept[s]] for s in check.kept if s not in SECTIONS}
    left = [finding.kind for finding in check.findings if finding.change is None]
    card = {
        **check.card,
        "fingerprint": fingerprint,
        "fixed_from": str(check.root),
        MADE_FROM: lineage(check.root, sha256_of(check.root / ANNOTATIONS)),
        **counts(coco),
        "changes": len(log),
        "findings_left": {kind: left.count(kind) for kind in sorted(set(left))},
    }
    with folder_under_construction(out) as folder:

        def place(name: str) -> None:
            place_file(check.root / "images" / name, folder / "images" / name)

        in_threads(place, sorted({image["file_name"] for image in coco["images"]}), "copying images")
        (folder / LOG).write_text("".join(json.dumps(line) + "\n" for line in log), encoding="utf-8")
        write_folder(folder, coco, lists, card)
    return card


def _log(check: Check) -> Iterator[dict[str, Any]]:
    """What differs between the folder and its copy, entry by entry, with the findings that are the reason."""
    reasons: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for finding in check.findings:
        if finding.change is not None:
            place = finding.change.section, finding.change.position
            reasons.setdefault(place, []).append((finding.kind, finding.what))
    for section, entries in check.entries.items():
        after = {entry.position: entry.value for entry in check.kept[section]}
        for entry in entries:
            if entry.position in after and after[entry.position] == entry.value:
                continue
            why = reasons.get((section, entry.position), [("image_left_out", "its image is left out")])
            yield {
                "where": entry.where,
                "kind": ", ".join(kind for kind, _ in why),
                "what": "; ".join(what for _, what in why),
                "before": entry.value,
                "after": after.get(entry.position),
            }
        if section not in SECTIONS and not after:
            yield {
                "where": section,
                "kind": "bad_list",
                "what": "no image is left on it",
                "before": None,
                "after": None,
            }


def _fingerprint(check: Check, log: list[dict[str, Any]]) -> str:
    content = hashlib.sha256(b"fixed 1 " + (check.root / ANNOTATIONS).read_bytes())
    content.update(json.dumps([log, check.card.get("fingerprint")]).encode())
    for look in check.looks:
        content.update(f" {look.pixels}".encode())
    for section in sorted(check.kept.keys() - set(SECTIONS)):
        content.update((check.root / section).read_bytes())
    return content.hexdigest()
