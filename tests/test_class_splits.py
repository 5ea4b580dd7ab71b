from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data_prep import dior, nwpu
from fsod import class_splits
from fsod.class_splits import novel_classes, split_names
from fsod.config_file import load_settings
from fsod.errors import UserError

CONFIG = """
name: small
run_dir: runs/small
data: {format: nwpu, novel: S2}
meta_train: {steps: 3}
finetune: {steps: 2}
"""


@pytest.mark.parametrize(
    ("data_format", "names", "classes"),
    [
        ("nwpu", ["S1", "S2"], nwpu.CLASS_NAMES),
        ("nwpu-v2", ["S1", "S2"], nwpu.CLASS_NAMES),
        ("dior", ["A", "B1", "B2", "B3", "B4", "T"], dior.CLASS_NAMES),
    ],
)
def test_every_split_is_of_the_readers_classes(data_format: str, names: list[str], classes: tuple[str, ...]) -> None:
    assert split_names(data_format) == names
    for name in names:
        assert set(novel_classes(data_format, name)) < set(classes)
        assert len(novel_classes(data_format, name)) == (3 if data_format.startswith("nwpu") else 5)


def test_the_classes_that_papers_name() -> None:
    assert novel_classes("nwpu", "S1") == ("airplane", "baseball diamond", "tennis court")
    assert novel_classes("nwpu", "s2") == ("basketball court", "ground track field", "vehicle")
    assert novel_classes("dior", "A") == ("airplane", "baseballfield", "tenniscourt", "trainstation", "windmill")
    # B1 to B4 cut the twenty classes into four parts; T is A with the toll station for the train station
    parts = [set(novel_classes("dior", f"B{i}")) for i in (1, 2, 3, 4)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == len(dior.CLASS_NAMES)
    a, t = set(novel_classes("dior", "A")), set(novel_classes("dior", "T"))
    assert (a - t, t - a) == ({"trainstation"}, {"Expressway-toll-station"})


def test_a_configuration_may_name_a_split(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    assert load_settings(path).data.novel == ("basketball court", "ground track field", "vehicle")
    assert load_settings(path, ["data.novel=S1"]).data.novel[0] == "airplane"
    assert load_settings(path, ["data.novel=[ship]"]).data.novel == ("ship",)
    with pytest.raises(
        UserError, match=r"run.yaml: data.novel: .*no split 'S3'; the splits of nwpu are S1, S2; or give"
    ):
        load_settings(path, ["data.novel=S3"])
    with pytest.raises(UserError, match="synthetic has no named splits; or give a list of classes"):
        load_settings(path, ["data.format=synthetic"])


def test_a_file_is_checked_against_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(nwpu.__file__).parent / "splits", tmp_path / "splits")
    monkeypatch.setattr(class_splits, "files", lambda _: tmp_path)
    (tmp_path / "splits" / "dior" / "a_novel.txt").write_text("airplane\nbaseballfeild\n")
    with pytest.raises(
        UserError, match=r"a_novel.txt: 'baseballfeild' is not a class of dior \(did you mean 'baseballfield'"
    ):
        novel_classes("dior", "A")
    for text in ("# nothing\n", "dam\ndam\n"):
        (tmp_path / "splits" / "dior" / "a_novel.txt").write_text(text)
        with pytest.raises(UserError, match="at least one class, each once"):
            novel_classes("dior", "A")
