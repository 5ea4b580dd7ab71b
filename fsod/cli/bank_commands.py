"""The command ``fsod bank``: look into class banks, take classes out, put banks together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fsod.band_rule import are_toned
from fsod.cli.options import report
from fsod.cli.outputs import Json, Overwrite, may_write, merged_bank, write_result
from fsod.errors import UserError, printable, spaced
from fsod.evidence import evidence_of, in_words
from fsod.files import held, lock_beside
from fsod.progress import say, warn

if TYPE_CHECKING:
    from fsod.store.bank_merge import BankFile

bank_app = typer.Typer(help="List, merge and change class banks.", no_args_is_help=True)

Bank = Annotated[Path, typer.Argument(metavar="BANK", help="A class bank.")]
Rename = Annotated[
    list[str] | None,
    typer.Option(help="OLD=NEW: a new name for a class that two banks have. Repeat it for several."),
]
Gsd = Annotated[
    float | None, typer.Option(min=0.001, max=1e6, help="Ground size of a pixel at which the new bank searches.")
]


@bank_app.command("list")
def bank_list(bank: Bank, overwrite: Overwrite = False, json: Json = None) -> None:
    """List a bank's classes with their origin, scores and evidence, its GSD and its weights."""
    from fsod.store.class_bank import read_bank

    may_write(json, overwrite)
    found = read_bank(bank)
    about = {
        "bank": str(bank),
        "weights_sha256": found.weights_sha256,
        "checkpoint": found.checkpoint,
        "gsd_m": found.gsd_m,
    }
    report({**about, "classes": len(found.class_names)}, None)
    for name in found.class_names:
        say(f"  {name}: {_origin(found.origins.get(name, {}))}")
    classes = [{"name": name, **found.origins.get(name, {})} for name in found.class_names]
    write_result(json, {**about, "classes": classes})


@bank_app.command("add")
def bank_add(
    bank: Bank,
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="The bank to take classes from.")],
    names: Annotated[
        list[str] | None, typer.Option("--class", help="Take this class only. Repeat it for several.")
    ] = None,
    rename: Rename = None,
    gsd_m: Gsd = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Add the classes of another bank."""
    from fsod.store.class_bank import read_bank

    may_write(json, overwrite)
    with _changed(bank):
        taken = read_bank(other)
        _merge([(bank, read_bank(bank)), (other, taken.select(names) if names else taken)], bank, rename, gsd_m, json)


@bank_app.command("merge")
def bank_merge(
    banks: Annotated[list[Path], typer.Argument(metavar="BANK...", help="Class banks of the same weights.")],
    out: Annotated[Path, typer.Option(help="The class bank to write.")],
    rename: Rename = None,
    gsd_m: Gsd = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Merge several banks into one."""
    from fsod.store.class_bank import read_bank

    may_write(json, overwrite, merged_bank(out))
    _merge([(path, read_bank(path)) for path in banks], out, rename, gsd_m, json)


@bank_app.command("remove")
def bank_remove(
    bank: Bank,
    names: Annotated[list[str], typer.Argument(metavar="CLASS...", help="The classes to remove.")],
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Remove classes from a bank."""
    from fsod.store.bank_merge import weights_file
    from fsod.store.class_bank import read_bank, save_bank

    may_write(json, overwrite)
    with _changed(bank):
        found = read_bank(bank)
        found.select(names)  # says which of them is not there
        left = [name for name in found.class_names if name not in names]
        if not found.select(left).reported.class_names:
            raise UserError(f"{bank}: no class would be left; delete the file instead")
        save_bank(bank, found.select(left), weights_file([(bank, found)]))
    report({"bank": str(bank), "classes": left}, json)


@contextmanager
def _changed(bank: Path) -> Iterator[None]:
    """Keeps other commands from a bank that is changed in its place; UserError if it is no bank alone."""
    from fsod.store.class_bank import is_checkpoint

    if is_checkpoint(bank):
        raise UserError(
            f"{bank}: holds the weights themselves, which would be lost; put its classes into a bank of their own with "
            "`fsod bank merge --out`"
        )
    with held(lock_beside(bank), bank):
        yield


def _merge(banks: list[BankFile], out: Path, rename: list[str] | None, gsd_m: float | None, json: Path | None) -> None:
    from fsod.store.bank_merge import merge_banks, weights_file
    from fsod.store.class_bank import save_bank

    pairs = [_renaming(text) for text in rename or []]
    renamed = dict(pairs)
    if len(renamed) < len(pairs):
        raise UserError("--rename: gives a class two new names; rename it once, and merge further banks afterwards")
    merged = merge_banks(banks, renamed, gsd_m)
    save_bank(out, merged, weights_file(banks))
    if len({rule.shows or str(rule) for rule in merged.shown}) > 1:
        seen = "; ".join(str(rule) for rule in merged.shown)
        warn([f"{out}: examples were shown in {seen}; a scene is searched in the first that it has"])
    if len({are_toned(bank.shown) for _, bank in banks}) > 1:
        warn([f"{out}: examples of some banks were seen in one tone, those of others as they are; enroll them again"])
    if merged.gsd_m is not None and (unknown := [path for path, bank in banks if bank.gsd_m is None]):
        warn(
            [
                f"{path}: of unknown pixel size; its classes are looked for at {merged.gsd_m:.3g} m, too"
                for path in unknown
            ]
        )
    report({"bank": str(out), "classes": list(merged.class_names), "gsd_m": merged.gsd_m}, json)


def _renaming(text: str) -> tuple[str, str]:
    old, _, given = text.partition("=")
    new = spaced(given)
    if not old or not new:
        raise UserError(f"--rename {text!r}: give OLD=NEW")
    try:
        return old, printable(new)
    except ValueError as error:
        raise UserError(f"--rename: the new name {error}") from error


def _origin(origin: dict[str, Any]) -> str:
    """``predicted, 5 examples, shown from score 0.31, scene harbour.tif, 0.5 m`` of what a bank says of a class."""
    from fsod.store.class_bank import USUAL_SCORE

    hidden = ("annotations_sha256", "images", "sources_sha256", "scenes_sha256")  # for `fsod evaluate`
    said = {key: value for key, value in origin.items() if value is not None and key not in hidden}
    parts = [str(said.pop("row", "unknown"))]
    if not said.pop("reported", True):
        parts.insert(0, "never reported")
    known, score = evidence_of(said), float(said.get("score", USUAL_SCORE))
    if "score" in said:
        parts.append(f"shown from score {said.pop('score'):.3g}")
    if "examples" in said:
        examples = said.pop("examples")
        parts.append(f"{examples} example{'' if examples == 1 else 's'}")
    for name in ("trials", "judged", "look"):
        said.pop(name, None)
    if (recall := known.recall(score)) is not None:
        parts.append(f"left-out examples found in {in_words(recall)}")
    if (precision := known.precision) is not None:
        parts.append(f"{precision.hits} of {precision.count} judged detections right ({precision.percent})")
    if (reduction := said.pop("reduction", 1.0)) > 1:
        parts.append(f"looked for in pixels {reduction:.3g} times coarser")
    gsd_m = said.pop("gsd_m", None)
    parts += [f"{key} {value}" for key, value in said.items()]
    return ", ".join(parts if gsd_m is None else [*parts, f"{gsd_m:.3g} m per pixel"])
