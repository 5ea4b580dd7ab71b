"""What commands write, by which each file is known again, and that a command may write it: said before any work is done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from fsod.config import CommonSettings
from fsod.errors import UserError
from fsod.files import held, lock_beside
from fsod.replacing import Output, check_outputs, not_by

Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Also replace files (not folders) that this command did not write; never what it reads."
    ),
]
_running: ContextVar[typer.Context] = ContextVar("running")


def _note(context: typer.Context, json: Path | None) -> Path | None:
    """Notes which command runs, and what its parameters are."""
    _running.set(context)
    return json


Json = Annotated[Path | None, typer.Option("--json", callback=_note, help="Also write the result to this JSON file.")]
WRITTEN_BY = "written_by"
"""First key of the JSON files that commands write."""

_OUTPUTS = {"out", "json", "fix", "stac", "overwrite"}
"""Parameters that name no input."""
_HEAD_BYTES = 2**16
_PREPARED = re.compile(r"(card|annotations)\.json|changes\.jsonl|(images|splits)/.*")


def may_write(json: Path | None, overwrite: bool, *outputs: Output, inputs: tuple[str | Path | None, ...] = ()) -> None:
    """Whether the command that is running may write its files, and that no other does so until it has ended.

    Whatever its other parameters name counts as read.

    Args:
        json: the file of the result.
        overwrite: as the user said.
        outputs: other files.
        inputs: further files and folders that are read.

    Raises:
        UserError: one of the files may not be replaced, or another command is writing it.
    """
    from fsod.steps.input_files import files_behind

    context = _running.get()
    named = [value for name, value in context.params.items() if name not in _OUTPUTS]
    every = [each for value in named for each in (value if isinstance(value, list | tuple) else [value])]
    names = [each for each in (*every, *inputs) if isinstance(each, str | Path)]
    check_outputs([*outputs, *result_file(json)], lambda: files_behind(names), overwrite=overwrite)
    for option in ("out", "fix"):
        if (folder := context.params.get(option)) is not None:
            _check_outside(json, Path(folder))  # a text in some versions of typer
    for output in outputs[:1]:  # what else there is lies beside it
        context.with_resource(held(lock_beside(output.path), output.path))


def _check_outside(json: Path | None, folder: Path) -> None:
    """UserError for a result that would take the place of a file of the prepared folder that is made."""
    if json is None or not json.absolute().is_relative_to(folder.absolute()):
        return
    if _PREPARED.fullmatch(json.absolute().relative_to(folder.absolute()).as_posix()):
        raise UserError(f"{json}: would be written twice by this command; choose another --json")


def paths_in(settings: CommonSettings) -> tuple[Path, ...]:
    """Files and folders that settings name."""

    def paths(value: object) -> Iterator[Path]:
        if isinstance(value, Path):
            yield value
        elif isinstance(value, dict):
            for each in value.values():
                yield from paths(each)

    return tuple(paths(settings.model_dump()))


def command_name() -> str:
    """Of the command that is running, as ``bank list``."""
    context, parts = _running.get(), list[str]()
    while context.parent is not None:
        parts.insert(0, context.info_name or "")
        context = context.parent  # type: ignore[assignment]  # which typer leaves a plain one
    return " ".join(parts)


def result_file(path: Path | None) -> list[Output]:
    """The JSON file of a command's result, if one was asked for."""
    if path is None:
        return []
    command = command_name()
    start = re.compile(rf'\s*\{{\s*"{WRITTEN_BY}":\s*"fsod {re.escape(command)}"'.encode())
    return [Output(path, not_by(command, lambda there: start.match(_head(there)) is not None), "--json")]


def write_result(path: Path | None, result: dict[str, Any]) -> None:
    """Writes a result as JSON, if a file was asked for; it says which command it is of."""
    from fsod.data.coco_folder import write_json

    if path is not None:
        write_json(path, {WRITTEN_BY: f"fsod {command_name()}", **result})


def bank_files(out: Path) -> list[Output]:
    """A class bank and the picture of its examples."""
    from fsod.store.class_bank import BankHeader

    _check_name(out)
    return [Output(out, not_by(command_name(), partial(_has_header, BankHeader.FORMAT))), _sheet(out)]


def detector_files(out: Path) -> list[Output]:
    """A detector that was finetuned on an analyst's marks, and the picture of these."""
    from fsod.store.checkpoint import CheckpointHeader, read_header

    def is_own(path: Path) -> bool:
        return read_header(path, CheckpointHeader).learned_from is not None

    _check_name(out)
    return [Output(out, not_by(command_name(), is_own)), _sheet(out)]


def merged_bank(out: Path) -> Output:
    """A class bank alone."""
    return bank_files(out)[0]


def imported_weights(out: Path) -> Output:
    """Backbone and neck."""
    from fsod.store.official import TrunkHeader

    return Output(out, not_by(command_name(), partial(_has_header, TrunkHeader.FORMAT)))


def exported_network(out: Path) -> Output:
    """A network as ONNX."""

    def is_own(path: Path) -> bool:
        import onnx  # of the extra

        from fsod.inference.onnx_infer import METADATA_KEY

        model = onnx.load(str(path), load_external_data=False)
        return METADATA_KEY in {entry.key for entry in model.metadata_props}

    return Output(out, not_by(command_name(), is_own))


def catalogue_item(out: Path) -> Output:
    """An item of a STAC catalogue."""
    from fsod.inference.model_item import BANK_KEY

    def is_own(path: Path) -> bool:
        return BANK_KEY in json.loads(path.read_bytes())["properties"]

    return Output(out, not_by(command_name(), is_own), "--stac")


def plugin_archive(out: Path) -> Output:
    """The plugin for QGIS."""
    from fsod.qgis.plugin_archive import is_archive

    _check_name(out)
    return Output(out, not_by(command_name(), is_archive))


def report_page(out: Path) -> Output:
    """A page of `fsod report`."""
    mark = b'<meta name="generator" content="fsod report">'
    return Output(out, not_by(command_name(), lambda path: mark in _head(path)), unread=out.suffix == ".html")


def shot_list_file(out: Path) -> Output:
    """A list of shots."""

    def is_own(path: Path) -> bool:
        return {"k", "seed", "source_sha256", "box_ids"} <= set(json.loads(path.read_bytes()))

    return Output(out, not_by(command_name(), is_own), "OUT")


def check_report(folder: Path) -> list[Output]:
    """The report of `fsod data check` and its pictures."""
    from data_prep.check_report import HEADING, PICTURE_MARK, PICTURES, REPORT

    own_text = not_by(command_name(), lambda path: _head(path).startswith(HEADING.encode()))
    own_picture = not_by(command_name(), partial(_has_mark, PICTURE_MARK))
    pictures = [picture for name in PICTURES for picture in sorted(folder.glob(name))] if folder.is_dir() else []
    text = Output(folder / REPORT, own_text, unread=True)
    return [text, *(Output(picture, own_picture, unread=True) for picture in pictures)]


def _check_name(out: Path) -> None:
    """UserError for what has no name, such as the working folder."""
    if not out.name:
        raise UserError(f"{out}: is a folder; name the file to write")


def _sheet(out: Path) -> Output:
    from fsod.steps.example_sheet import SHEET_MARK

    return Output(out.with_suffix(".png"), not_by(command_name(), partial(_has_mark, SHEET_MARK)))


def _has_header(form: str, path: Path) -> bool:
    """Whether a safetensors file is of this format, in whatever version."""
    from fsod.store.any_header import read_any_header

    return str(read_any_header(path).get("format")).rpartition("-")[0] == form.rpartition("-")[0]


def _has_mark(mark: str, path: Path) -> bool:
    from fsod.draw import has_mark

    return has_mark(path, mark)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)
