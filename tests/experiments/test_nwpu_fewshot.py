from __future__ import annotations

from pathlib import Path

import pytest

from experiments.nwpu_fewshot import plot, table
from experiments.nwpu_fewshot.bench import open_bench, split_name
from experiments.nwpu_fewshot.run import main
from experiments.nwpu_fewshot.systems import detector_of
from experiments.records import read_records
from fsod.config import DataSettings
from fsod.config_file import load_settings
from fsod.errors import UserError
from fsod.store.checkpoint import load_checkpoint
from fsod.store.class_bank import load_bank


@pytest.fixture(scope="module")
def results(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "results.json"
    study(run, path, "enroll-only (meta-trained)", "finetune kernels", "finetune all")
    return path


def study(run: Path, results: Path, *systems: str) -> None:
    main(["--config", str(run), "--systems", *systems, "--shots", "2", "--seeds", "0", "1", "--results", str(results)])


def test_every_run_has_a_record_of_what_it_was(results: Path) -> None:
    records = read_records(results)
    assert len(records) == 6
    for record in records:
        assert record["split"] == "cross"
        assert record["train_list"] == "train_strict"
        assert 0 <= record["novel_map50"] <= 1
        assert set(record["per_class"]) == {"square", "disc", "cross"}
        assert record["checkpoint"].startswith("meta-train.safetensors ")
        assert record["seconds"] > 0


def test_recorded_runs_are_skipped(run: Path, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = results.read_bytes()
    study(run, results, "finetune all")
    assert results.read_bytes() == before
    assert capsys.readouterr().out == ""


def test_other_settings_are_refused_where_runs_are_recorded(run: Path, results: Path) -> None:
    with pytest.raises(UserError, match="'finetune all' was recorded with changed"):
        main(["--config", str(run), "--systems", "finetune all", "--set", "finetune.lr=1", "--results", str(results)])


def test_what_touches_kernels_only_leaves_a_bank_of_the_base(run: Path, results: Path) -> None:
    base = load_checkpoint(run.parent / "run" / "meta-train.safetensors")
    for system in ("enroll-only--meta-trained", "finetune-kernels"):
        folder = run.parent / "run" / "study" / system / "k2-seed0"
        assert load_bank(folder / "bank.safetensors", base.detector).class_names == ("square", "disc", "cross")
        assert not (folder / "finetune.safetensors").exists()
    assert (run.parent / "run" / "study" / "finetune-all" / "k2-seed0" / "finetune.safetensors").is_file()


def test_base_and_bank_repeat_the_record(run: Path, results: Path) -> None:
    bench = open_bench(load_settings(run), None)
    base = load_checkpoint(run.parent / "run" / "meta-train.safetensors", bench.machine.trunk_dtype)
    bank = load_bank(run.parent / "run" / "study" / "finetune-kernels" / "k2-seed1" / "bank.safetensors", base.detector)
    learned = detector_of(bench, base, bank, 0.0, ())
    (record,) = (r for r in read_records(results) if (r["system"], r["seed"]) == ("finetune kernels", 1))
    assert bench.score(learned.detect, learned.class_names).per_class_ap50 == record["per_class"]


def test_table_and_plot_come_from_the_records_alone(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.main(results)
    text = capsys.readouterr().out
    assert "| system | novel, K = 2 | base, K = 2 |" in text
    assert text.count("| finetune kernels |") == 5  # scores, and differences in four metrics
    plot.main(results, "cross", tmp_path / "novel.png")
    assert (tmp_path / "novel.png").stat().st_size > 10_000


def test_a_published_split_goes_by_its_name() -> None:
    novel = ("tennis court", "airplane", "baseball diamond")
    assert split_name(DataSettings(format="nwpu", novel=novel)) == "S1"
    assert split_name(DataSettings(format="nwpu", novel=("ship",))) == "ship"
