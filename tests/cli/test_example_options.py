"""The road of an analyst's examples as typed: search, judge what was found, enroll from the verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
from PIL import Image

from fsod.store.class_bank import checkpoint_of, read_bank
from tests.command import fsod
from tests.untrained import make_bank

SMALL = ("--window-px", "96", "--overlap-px", "32", "--precision", "float32", "--score", "0.005")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bank(tmp_path_factory.mktemp("bank"))


def test_what_was_found_is_judged_and_enrolled(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On two pictures without a CRS, each with its own layer."""
    scenes, layers = [tmp_path / f"{name}.png" for name in "ab"], []
    for seed, scene in enumerate(scenes):
        pixels = np.random.default_rng(seed).integers(0, 255, (128, 160, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(scene)
        layers.append(scene.with_suffix(".gpkg"))
        assert fsod("predict", scene, "--bank", bank, "--out", tmp_path / f"found-{scene.stem}.gpkg", *SMALL) == 0
        layers[-1] = tmp_path / f"found-{scene.stem}.gpkg"
        found = geopandas.read_file(layers[-1])
        assert sorted(found["ask"]) == list(range(1, len(found) + 1))
        assert (found.geometry.bounds["maxy"] <= 0).all()
        assert set(found["verdict"]) == {""}
        # far apart, so that none marks the same object as another
        boxes = found[["x1_px", "y1_px", "x2_px", "y2_px"]].to_numpy()
        found.loc[found.index[boxes[:, 2] < 70][:3], "verdict"] = "yes"
        found.loc[found.index[boxes[:, 0] > 90][:3], "verdict"] = "no"
        found.to_file(layers[-1], layer="detections")
    out = tmp_path / "judged.safetensors"
    pairs = [
        part for scene, layer in zip(scenes, layers, strict=True) for part in ("--scene", scene, "--verdicts", layer)
    ]
    weights = ("--checkpoint", checkpoint_of(bank))
    assert fsod("enroll", *pairs, *weights, "--native", "--out", out, "--json", tmp_path / "enrolled.json") == 0
    alone = tmp_path / "alone.safetensors"
    judgements = [part for layer in layers for part in ("--verdicts", layer)]
    assert fsod("enroll", *judgements, *weights, "--native", "--out", alone) == 0
    assert read_bank(alone).origins == read_bank(out).origins, "layers beside their scenes need no --scene"
    scenes[0].unlink()
    assert fsod("enroll", *judgements[:2], *weights, "--out", tmp_path / "none.safetensors") == 2
    assert "found-a.gpkg: its scene a.png is neither beside it nor in this folder" in capsys.readouterr().err
    names = set(read_bank(bank).reported.class_names)
    judged = read_bank(out)
    assert set(judged.reported.class_names) <= names
    assert set(judged.class_names) - set(judged.reported.class_names) <= {f"not {name}" for name in names}
    assert sum(json.loads((tmp_path / "enrolled.json").read_text())["examples"].values()) > 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("enroll", "--scene", "a.tif", "--out", "d.safetensors"), "either --scene and --examples or --verdicts"),
        (
            ("enroll", "--data", "b", "--size-m", "3", "--out", "d.safetensors"),
            "--size-m goes with --scene and its points",
        ),
        (("finetune", "--data", "b", "--size-px", "3", "--out", "d.safetensors"), "--size-px goes with --scene"),
        (("finetune", "-c", "configs/nwpu.yaml", "--size-px", "3"), "--size-px goes with --out"),
        (
            ("enroll", "--scene", "a.tif", "--examples", "b", "--size-m=1", "--size-px=2", "--out", "d.safetensors"),
            "in metres or in pixels, not both (--size-m or --size-px)",
        ),
        (
            ("finetune", "--scene", "a", "--examples", "b", "--seed=3", "--out", "d.safetensors"),
            "--seed goes with --data",
        ),
        (("enroll", "--scene", "a", "--examples", "b", "--seed", "3", "--out", "d.safetensors"), "(and -k, --seed)"),
        (
            ("finetune", "--data", "a", "--shots", "b", "--seed=3", "--out", "d.safetensors"),
            "--seed and --shots both say",
        ),
        (("enroll", "--data", "b", "--verdicts", "c", "--out", "d.safetensors"), "either --scene and --examples"),
        (("enroll", "--scene", "a.tif", "--area", "c", "--out", "d.safetensors"), "No such option: --area"),
        (("predict", "a.tif", "--bank", "b", "--out", "c.gpkg", "--layer", "x"), "--layer x: needs --aoi"),
    ],
)
def test_what_does_not_go_together(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fsod(*arguments) == 2
    assert message in capsys.readouterr().err
