"""Every command replaces what it wrote itself, and nothing that anybody needs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely
import typer
from PIL import Image
from typer.main import get_command

from fsod.cli.commands import COMMANDS, command_called
from fsod.cli.options import report
from fsod.cli.outputs import _note, may_write
from fsod.errors import UserError
from tests.command import fsod
from tests.made_folder import make_folder
from tests.untrained import make_bank

CONFIG = """
name: n
run_dir: runs/n
data: {format: nwpu, novel: [airplane]}
meta_train: {steps: 1}
finetune: {steps: 1}
"""

JSON: dict[str, tuple[str, ...]] = {
    "weights import": ("w.pt", "--out", "t.safetensors"),
    "pretrain": ("--config", "pretrain.yaml"),
    "meta-train": ("--config", "run.yaml"),
    "finetune": ("--config", "run.yaml"),
    "evaluate": ("--config", "run.yaml"),
    "enroll": ("--scene", "s.png", "--examples", "e.geojson", "--out", "b.safetensors"),
    "predict": ("s.png", "--bank", "b.safetensors", "--out", "f.geojson"),
    "count": ("f.gpkg", "--grid-m", "100", "--out", "counts.gpkg"),
    "compare": ("f.gpkg", "g.gpkg", "--out", "changes.gpkg"),
    "report": ("f.geojson",),
    "export": ("--bank", "b.safetensors", "--out", "b.onnx"),
    "register": ("--bank", "b.safetensors", "--name", "n"),
    "info": (),
    "data make": ("--config", "run.yaml"),
    "data download": ("nwpu",),
    "data prepare": ("voc", "a", "b"),
    "data labels": ("a", "b", "c"),
    "data scenes": ("a", "b"),
    "data tile": ("a", "b"),
    "data check": ("a",),
    "data shots": ("a", "b"),
    "bank list": ("b.safetensors",),
    "bank add": ("b.safetensors", "c.safetensors"),
    "bank merge": ("b.safetensors", "c.safetensors", "--out", "d.safetensors"),
    "bank remove": ("b.safetensors", "ship"),
    "runs upload": (),
    "qgis zip": ("--out", "plugin.zip"),
}
"""Every command with a result, and arguments that it takes so far as to look at its outputs."""


def commands(group: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.items():
        if hasattr(command, "commands"):
            yield from commands(command.commands, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(CONFIG)
    (tmp_path / "pretrain.yaml").write_text("{name: n, run_dir: runs/p, pretrain: {steps: 1}}")
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and not p.is_symlink()
    }


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The message; nothing in the folder has changed."""
    before = contents(folder)
    capsys.readouterr()
    assert fsod(*arguments) == 2
    said = capsys.readouterr().err.strip()
    assert contents(folder) == before
    assert len(said.splitlines()) == 1, said
    return said


def test_every_command_with_a_result_is_in_the_table() -> None:
    with_result = {
        name
        for name, command in commands({name: command_called(name) for name in COMMANDS})
        if "json" in {parameter.name for parameter in command.params}
    }
    assert with_result == set(JSON)


@pytest.mark.parametrize("command", JSON)
def test_a_json_file_of_the_user_stays(here: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """And is asked for before anything else is looked at."""
    (here / "mine.json").write_text('{"mine": 1}')
    arguments = (*command.split(), *JSON[command])
    said = refused(here, capsys, *arguments, "--json", "mine.json")
    assert f"mine.json: already exists and was not written by `fsod {command}`" in said
    for name in ("run.yaml", "pretrain.yaml"):
        if name in arguments:
            said = refused(here, capsys, *arguments, "--json", name, "--overwrite")
            assert f"{name}: would be overwritten, but this command reads it" in said


def test_a_result_is_replaced_by_the_next_of_the_same_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert fsod("info", "--json", "info.json") == 0
    told = json.loads((here / "info.json").read_text())
    assert told["written_by"] == "fsod info"
    make_bank(here)
    said = refused(here, capsys, "bank", "list", "bank.safetensors", "--json", "info.json")
    assert "info.json: already exists and was not written by `fsod bank list`" in said
    assert fsod("bank", "list", "bank.safetensors", "--json", "info.json", "--overwrite") == 0
    assert json.loads((here / "info.json").read_text())["written_by"] == "fsod bank list"


def weights(path: Path) -> None:
    (path.parent / "made").mkdir()
    make_bank(path.parent / "made")
    (path.parent / "made" / "weights.safetensors").rename(path)


def picture(path: Path) -> None:
    Image.new("RGB", (20, 20)).save(path)


def text(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")


ENROLL = ("enroll", "--scene", "s.tif", "--examples", "e.geojson", "--out", "b.safetensors")
ROWS = ("finetune", "--part", "rows", *ENROLL[1:])
OUTPUTS = [
    (ENROLL, "b.safetensors", weights),
    (ENROLL, "b.safetensors", text),
    (ENROLL, "b.png", picture),
    (ROWS, "b.safetensors", weights),
    (ROWS, "b.png", picture),
    (("finetune", *ENROLL[1:]), "b.safetensors", weights),
    (("finetune", *ENROLL[1:]), "b.png", picture),
    (("bank", "merge", "a.safetensors", "--out", "b.safetensors"), "b.safetensors", weights),
    (("report", "f.geojson"), "f.html", text),
    (("report", "f.gpkg", "--out", "page.html"), "page.html", text),
    (("export", "--bank", "b.safetensors", "--out", "n.onnx"), "n.onnx", text),
    (("weights", "import", "w.pt", "--out", "t.safetensors"), "t.safetensors", weights),
    (("data", "shots", "d", "list.json"), "list.json", text),
    (("data", "shots", "d", "lists"), "lists/k5-seed3.json", text),
    (("data", "check", "d", "--out", "seen"), "seen/report.md", text),
    (("data", "check", "d", "--out", "seen"), "seen/box_sizes.png", text),
]


@pytest.mark.parametrize(
    ("arguments", "theirs", "make"), OUTPUTS, ids=[f"{' '.join(a[:2])} {n} {m.__name__}" for a, n, m in OUTPUTS]
)
def test_what_a_user_made_stays(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], theirs: str, make: Any
) -> None:
    make(here / theirs)
    said = refused(here, capsys, *arguments)
    assert f"{theirs}: already exists and was not written by `fsod " in said
    assert said.endswith(", or --overwrite it")


def test_what_a_command_reads_is_never_replaced(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_bank(here)
    make_folder(here / "d")
    picture(here / "s.png")
    geopandas.GeoDataFrame({"class": ["a"]}, geometry=[shapely.box(2, -9, 9, -2)]).to_file(here / "e.geojson")
    source = '<SourceFilename relativeToVRT="1">s.png</SourceFilename><SourceBand>1</SourceBand>'
    (here / "inner.vrt").write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"{source}</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (here / "outer.vrt").write_text((here / "inner.vrt").read_text().replace("s.png", "inner.vrt"))
    mine = ("--checkpoint", "weights.safetensors")
    for arguments in (
        ("enroll", "--scene", "s.png", "--examples", "e.geojson", *mine, "--out", "weights.safetensors"),
        ("enroll", "--scene", "s.png", "--examples", "e.geojson", "--out", "s.safetensors"),
        ("enroll", "--scene", "outer.vrt", "--examples", "e.geojson", "--out", "s.safetensors"),
        ("finetune", "--scene", "s.png", "--examples", "e.geojson", "--out", "s.safetensors"),
        ("finetune", "--scene", "s.png", "--examples", "e.geojson", *mine, "--out", "weights.safetensors"),
        ("bank", "merge", "bank.safetensors", "--out", "bank.safetensors"),
        ("bank", "merge", "bank.safetensors", "--out", "weights.safetensors"),
        ("bank", "list", "bank.safetensors", "--json", "weights.safetensors"),
        ("export", "--bank", "bank.safetensors", "--out", "x.onnx", "--json", "weights.safetensors"),
        ("report", "e.geojson", "--out", "e.geojson"),
        ("weights", "import", "weights.safetensors", "--out", "weights.safetensors"),
        ("predict", "outer.vrt", "--bank", "bank.safetensors", "--out", "s.geojson"),
        ("predict", "s.png", "--bank", "bank.safetensors", "--out", "f.geojson", "--json", "weights.safetensors"),
    ):
        assert "would be overwritten, but this command reads it" in refused(here, capsys, *arguments, "--overwrite")
    said = refused(here, capsys, "data", "shots", "d", "d/annotations.json", "--overwrite")
    assert "lies in a folder that this command reads" in said
    said = refused(here, capsys, "data", "tile", "d", "t", "--json", "t/card.json", "--overwrite")
    assert "t/card.json: would be written twice by this command" in said


def test_typer_may_leave_a_path_a_text(tmp_path: Path) -> None:
    """As its versions before 0.29 do."""
    context = typer.Context(get_command(typer.Typer(callback=lambda: None, invoke_without_command=True)))
    context.params = {"out": str(tmp_path)}
    running = copy_context()
    running.run(_note, context, None)
    running.run(may_write, tmp_path / "result.json", False)
    with pytest.raises(UserError, match="would be written twice"):
        running.run(may_write, tmp_path / "card.json", False)


def test_weights_are_not_made_a_bank_of(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A detector can be read as a bank; changed in its place it would be one, without the weights."""
    make_bank(here)
    for arguments in (("remove", "weights.safetensors", "x"), ("add", "weights.safetensors", "bank.safetensors")):
        said = refused(here, capsys, "bank", *arguments)
        assert "holds the weights themselves, which would be lost" in said


@pytest.mark.parametrize("command", ["enroll", "finetune"])
def test_the_working_folder_is_no_bank(here: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    said = refused(here, capsys, command, "--scene", "s.tif", "--examples", "e.geojson", "--out", ".")
    assert "is a folder; name the file to write" in said


def test_a_name_as_long_as_a_disk_takes_can_be_held(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = f"{'n' * 238}.safetensors"
    assert "no such file" in refused(here, capsys, "bank", "merge", "b.safetensors", "--out", out)
    assert list(here.glob(".n*")) == []


def test_a_pipe_or_device_is_no_place_for_a_result(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ((), ("--overwrite",)):
        assert re.search(
            "null: is not a regular file and cannot be replaced",
            refused(here, capsys, "info", "--json", "/dev/null", *more),
        )


def test_of_many_scenes_a_few_are_on_the_screen_and_all_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = {f"{i}.tif": f"found/{i}.geojson" for i in range(1000)}
    result = {"layers": layers, "warnings": ["a"], "damaged": [[0, 1]] * 5, "ap50": {"ship": 1 / 3, "car": None}}
    report(result, None, by_scene=("layers", "warnings", "damaged"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("layers: {'0.tif': 'found/0.geojson', ")
    assert "3.tif" not in lines[0]
    assert lines[0].endswith("} and 997 more (--json FILE writes all)")
    assert lines[1:] == [
        "warnings: ['a']",
        "damaged: [[0, 1], [0, 1], [0, 1]] and 2 more (--json FILE writes all)",
        "ap50: {'ship': 0.3333, 'car': None}",
    ]
