import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from data_prep.reader_of import reader_of
from fsod.config import DataSettings
from fsod.config_file import load_settings
from fsod.data.coco_folder import load_folder
from fsod.data_formats import DATA_FORMATS
from fsod.errors import UserError
from fsod.steps.train import prepare_data
from tests.command import fsod
from tests.painted import PAINTED, paint, voc_xml, write


@pytest.fixture
def dior(tmp_path: Path) -> Path:
    root = tmp_path / "DIOR"
    for stem, name in (("00001", "airplane"), ("00002", "ship"), ("11726", "dam")):
        paint(root / ("JPEGImages-test" if stem > "1" else "JPEGImages-trainval") / f"{stem}.jpg")
        write(root / "Annotations" / f"{stem}.xml", voc_xml([(name, *PAINTED)]))
    for name, ids in (("train", "00001"), ("val", "00002"), ("test", "11726")):
        write(root / "Main" / f"{name}.txt", ids)
    return root


@pytest.mark.parametrize("name", DATA_FORMATS)
def test_each_format_of_the_table_has_a_reader_and_goes_into_a_configuration(name: str) -> None:
    assert callable(reader_of(name))
    assert DataSettings(format=name, novel=("ship",)).format == name


def test_a_configuration_names_the_nearest_format() -> None:
    with pytest.raises(ValidationError, match=r"unknown format \(did you mean 'dior'\?\); known: synthetic, nwpu"):
        DataSettings(format="dioor", novel=("ship",))


def test_a_run_of_dior_is_prepared_by_its_shipped_configuration(dior: Path, tmp_path: Path) -> None:
    settings = load_settings(Path("configs/dior.yaml"), [f"run_dir={tmp_path / 'run'}"])
    card = prepare_data(settings, dior)
    assert card["lists"]["trainval"] == {"listed": 2, "written": 2, "absent": 0}
    assert [i.source for i in load_folder(tmp_path / "run" / "tiles").images] == ["00001", "00002"]
    write(dior / "Annotations" / "00002.xml", voc_xml([("ship", 1, 1, 9, 9), ("ship", 9, 9, 9, 9)]))
    with pytest.raises(UserError, match=r"00002\.xml:8: box \(9,9\),\(9,9\) has no area"):
        prepare_data(load_settings(Path("configs/dior.yaml"), [f"run_dir={tmp_path / 'b'}"]), dior)
    clean = load_settings(Path("configs/dior.yaml"), [f"run_dir={tmp_path / 'c'}", "data.skip_bad=true"])
    assert len(prepare_data(clean, dior)["refused"]) == 1


def test_a_missing_test_list_is_told_before_the_training(dior: Path, tmp_path: Path) -> None:
    settings = load_settings(Path("configs/dior.yaml"), [f"run_dir={tmp_path / 'run'}", "data.test_list=valid"])
    with pytest.raises(
        UserError, match=r"valid\.txt: no such list .* has test\.txt, .*val\.txt; let data\.test_list name the list"
    ):
        prepare_data(settings, dior)


def test_the_command(dior: Path, tmp_path: Path) -> None:
    assert fsod("data", "prepare", "dior", dior, tmp_path / "out", "--json", tmp_path / "card.json") == 0
    assert json.loads((tmp_path / "card.json").read_text())["boxes"] == 3


def test_an_unknown_format(dior: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fsod("data", "prepare", "dior-r", dior, "out") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "unknown format 'dior-r' (did you mean 'dior'?); known: nwpu, nwpu-v2, dior" in error
