"""Putting class banks together: rows made for the same weights stand beside each other as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fsod.band_rule import each_once
from fsod.errors import UserError
from fsod.model.meta_head import ClassRows
from fsod.store.checkpoint import SHIPPED
from fsod.store.class_bank import ClassBank

SAME_GSD = 1.1
"""Banks count as of one GSD up to this ratio; training sees objects scaled by more than that."""


def same_gsd(one_m: float, other_m: float) -> bool:
    """Whether what was learned at one ground size of a pixel may be searched at the other."""
    return max(one_m, other_m) <= SAME_GSD * min(one_m, other_m)


BankFile = tuple[Path, ClassBank]


def merge_banks(banks: Sequence[BankFile], renamed: dict[str, str], gsd_m: float | None = None) -> ClassBank:
    """One bank with the classes of all, in order.

    Args:
        banks: at least one, each with its file.
        renamed: what a class is called where an earlier bank has one of its name.
        gsd_m: of the merged bank; where not given, that of the first bank that knows one.

    Raises:
        UserError: banks for different weights; two classes of one name, not renamed; a name in ``renamed`` that need not
            change; GSDs that differ, or working sizes where no GSD is known, as a scene is searched at one.
    """
    (first_path, merged), *others = banks
    unused = set(renamed)
    for path, bank in others:
        if bank.weights_sha256 != merged.weights_sha256:
            raise UserError(
                f"{path}: made for weights {bank.weights_sha256[:12]}, but {first_path} for "
                f"{merged.weights_sha256[:12]}; rows of different weights cannot share a bank, enroll the examples again"
            )
        if bank.enlargement != merged.enlargement and gsd_m is None and None in (bank.gsd_m, merged.gsd_m):
            raise UserError(
                f"{path}: scenes are looked at {bank.enlargement:g} times as large as they are, but for {first_path} "
                f"{merged.enlargement:g} times, and a scene is searched at one size: use one bank after the other, or enroll "
                "both with --native"
            )
        twice = [name for name in bank.class_names if name in merged.class_names]
        unused -= set(twice)
        bank = bank.rename({name: renamed[name] for name in twice if name in renamed})
        names = (*merged.class_names, *bank.class_names)
        doubled = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if doubled is not None:
            raise UserError(f"{path}: class {doubled!r} is taken already; rename it with --rename OLD=NEW")
        rows = ClassRows.concatenate([merged.rows, bank.rows])
        origins = {**merged.origins, **bank.origins}
        merged = replace(
            merged,
            class_names=names,
            rows=rows,
            origins=origins,
            turned=merged.turned or bank.turned,
            sized=merged.sized or bank.sized,
            shown=each_once((*merged.shown, *bank.shown)),
        )
    if unused:
        raise UserError(f"--rename: no two of the banks have a class {min(unused)!r}")
    return replace(merged, gsd_m=gsd_m or _common_gsd_m(banks))


def _common_gsd_m(banks: Sequence[BankFile]) -> float | None:
    known = [(path, bank.gsd_m) for path, bank in banks if bank.gsd_m is not None]
    for path, gsd_m in known:
        if not same_gsd(gsd_m, known[0][1]):
            raise UserError(
                f"{path}: examples at {gsd_m:.3g} m per pixel, but those of {known[0][0]} at {known[0][1]:.3g} m; "
                "a scene is searched at one GSD: use one bank after the other, or choose one with --gsd-m"
            )
    return known[0][1] if known else None


def weights_file(banks: Sequence[BankFile]) -> Path:
    """The file of the weights that some of the banks point to, one that is there before one that is not."""
    named = [SHIPPED if bank.checkpoint == "shipped" else path.parent / bank.checkpoint for path, bank in banks
             if bank.checkpoint]  # fmt: skip
    return next((path for path in named if path.is_file()), named[0])
