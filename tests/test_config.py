from __future__ import annotations

from math import isnan
from pathlib import Path

import pytest

from fsod.config_file import common_settings, load_pretrain_settings, load_settings, predict_settings
from fsod.errors import UserError

CONFIGS = sorted(Path("configs").glob("*.yaml"))
MINIMAL = """
name: small
run_dir: runs/small
data: {format: nwpu, novel: [ship]}
meta_train: {steps: 3}
finetune: {steps: 2}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(MINIMAL)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configurations_load(path: Path) -> None:
    if path.name in ("pretrain.yaml", "photographs.yaml"):
        assert load_pretrain_settings(path).episodes.procedural_without
    else:
        assert load_settings(path).data.novel


def test_what_all_stages_share_is_read_from_any_of_them() -> None:
    for settings in (load_pretrain_settings(Path("configs/pretrain.yaml")), load_settings(Path("configs/demo.yaml"))):
        assert common_settings(settings.model_dump(mode="json")).episodes == settings.episodes


@pytest.mark.parametrize(("value", "kind"), [("shipped", str), ("weights.safetensors", Path)])
def test_initial_weights_are_a_file_or_those_that_come_along(config: Path, value: str, kind: type) -> None:
    assert isinstance(load_settings(config, [f"init={value}"]).init, kind)


def test_a_tilde_is_the_home_folder(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings(config, ["run_dir=~/runs/small", "init=~/base.safetensors", "data.scenes=~/spec.yaml"])
    places = (settings.run_dir, settings.init, settings.data.scenes)
    assert [str(place) for place in places] == [
        f"{tmp_path}/{n}" for n in ("runs/small", "base.safetensors", "spec.yaml")
    ]
    assert str(load_settings(config, ["run_dir=a~b"]).run_dir) == "a~b"


def test_switches_are_yes_or_no(config: Path) -> None:
    settings = load_settings(config, ["data.skip_bad=yes", "predict.turns=off", "predict.native=true"])
    assert (settings.data.skip_bad, settings.predict.turns, settings.predict.native) == (True, False, True)


def test_overrides_win_and_are_typed(config: Path) -> None:
    settings = load_settings(config, ["meta_train.lr=0.5", "data.novel=[a, b]", "episodes.ways=2"])
    assert settings.meta_train.lr == 0.5
    assert settings.data.novel == ("a", "b")
    assert settings.episodes.ways == 2
    assert settings.meta_train.steps == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("meta_train.stepz=4", "unknown key 'meta_train.stepz' (did you mean 'meta_train.steps'?)"),
        ("sized=nano", "unknown key 'sized' (did you mean 'size'?)"),
        ("meta_train.lr=fast", "meta_train.lr: "),
        ("meta_train.lr=-1", "meta_train.lr: "),
        (
            "meta_train.steps=yes",
            "meta_train.steps: Value error, expected a number, or a text in quotes, not yes or no",
        ),
        ("finetune.keep=off", "finetune.keep: Value error, expected a number"),
        ("predict.score=true", "predict.score: Value error, expected a number"),
        ("predict.bands=[yes, 2, 3]", "predict.bands: Value error, expected a number"),
        ("data.novel=[ship, no]", "data.novel: Value error, expected a number, or a text in quotes"),
        ("finetune.known_margin=no", "finetune.known_margin: Value error, expected a number"),
        ("episodes.query_px=300", "episodes.query_px: "),
        ("episodes.support_px=512", "episodes.support_px: Value error, must be at most query_px"),
        ("evaluate.score_floor=0.5", "evaluate.score_floor: "),
        ("data.tile_overlap_px=640", "data.tile_overlap_px: Value error, must be less than tile_px, which is 640"),
        ("data.tile_px=128", "data.tile_overlap_px: Value error, must be less than tile_px, which is 128"),
        ("run_dir=~nobody-of-that-name/runs", "run_dir: Value error, ~ stands for the home folder"),
        ("meta_train", "section.key=value"),
        ("name.part=1", "'name' is not a section"),
        ("seed={", "not valid YAML"),
        ("name=2024-99-99", "not valid YAML (month must be in 1..12)"),
        ("seed=" + "9" * 5000, "not valid YAML"),
        ("seed=0x" + "f" * 5000, "seed: "),
        ("name=0x" + "f" * 5000, "name: Input should be a valid string, got a number of thousands of digits"),
        ("name=!!int ''", "not valid YAML"),
        ("name={[a, b]: c}", "not valid YAML"),
        ("data.novel=" + "[" * 5000 + "]" * 5000, "not valid YAML (it is nested too deeply)"),
        ("data.novel=&a [*a]", "not valid YAML (an alias stands for what it is in)"),
        ("data.novel=[" + "1," * 2_000 + "]", "data.novel.9: "),
        ("meta_train.lr=.inf", "meta_train.lr: "),
        ("meta_train.lr=.nan", "meta_train.lr: "),
        ("meta_train.steps=10000000000000000000000", "meta_train.steps: "),
    ],
)
def test_a_bad_override_is_one_clear_line(config: Path, override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(config, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2500


def test_a_wrong_format_is_not_taken_out_on_the_split(config: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(config, ["data.format=nwpv", "data.novel=S1"])
    assert "unknown format (did you mean 'nwpu'?)" in str(caught.value)
    assert "data.novel" not in str(caught.value)


def test_nan_is_a_nodata_value_that_stands_for_the_declared_one(config: Path) -> None:
    assert isnan(load_settings(config, ["predict.nodata=.nan"]).predict.nodata or 0)
    assert isnan(predict_settings({"nodata": float("nan")}).nodata or 0)


def test_a_value_is_a_text_and_fills_nothing_in(config: Path) -> None:
    assert load_settings(config, ["name=${oc.env:HOME}"]).name == "${oc.env:HOME}"


ALIASES = "\n".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}' if i else 'x'] * 10)}]" for i in range(10))


@pytest.mark.parametrize("merged", [False, True])
def test_aliases_that_stand_for_billions_of_values_are_not_written_out(tmp_path: Path, merged: bool) -> None:
    path = tmp_path / "bad.yaml"
    text = ALIASES + "\nname: *k9"
    if merged:
        text = "k0: &k0 {a: 1}\n" + "\n".join(
            f"k{i}: &k{i} {{<<: [{', '.join([f'*k{i - 1}'] * 10)}]}}" for i in range(1, 10)
        )
    path.write_text(text)
    with pytest.raises(UserError, match=r"bad\.yaml: not valid YAML: its aliases stand for more than 100000 values"):
        load_settings(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_configuration_as_windows_editors_save_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(MINIMAL.replace("small", "größer").encode(encoding))
    assert load_settings(path).name == "größer"


@pytest.mark.parametrize(
    ("more", "key"),
    [("seed: 1\nseed: 2\n", "line 8 has the key 'seed', as line 7"), ("data: {skip_bad: true}\n", "'data'")],
)
def test_a_section_that_is_there_twice_does_not_lose_half_of_its_keys(config: Path, more: str, key: str) -> None:
    config.write_text(MINIMAL + more)
    with pytest.raises(UserError, match=rf"run\.yaml: not valid YAML: .*{key}"):
        load_settings(config)


def test_aliases_of_honest_size_are_read(config: Path) -> None:
    config.write_text(
        MINIMAL.replace("meta_train: {steps: 3}", "meta_train: &t {steps: 3}\noptim: 1")
        .replace("finetune: {steps: 2}", "finetune: {<<: *t, keep: 0.5}")
        .replace("optim: 1\n", "")
    )
    assert load_settings(config).finetune.steps == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [("- 1\n", "expected keys and values"), ("a: [", "not valid YAML"), ("name: x\n", "run_dir")],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"bad\.yaml") as caught:
        load_settings(path)
    assert message in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such configuration"):
        load_settings(tmp_path / "nothing.yaml")
