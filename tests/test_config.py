from __future__ import annotations

from pathlib import Path

import pytest

from fsod.config import common_settings, load_pretrain_settings, load_settings
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
        ("episodes.query_px=300", "episodes.query_px: "),
        ("episodes.support_px=512", "episodes.support_px: Value error, must be at most query_px"),
        ("evaluate.score_floor=0.5", "evaluate.score_floor: "),
        ("meta_train", "section.key=value"),
        ("name.part=1", "'name' is not a section"),
        ("seed={", "not valid YAML"),
    ],
)
def test_a_bad_override_is_one_clear_line(config: Path, override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(config, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


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
