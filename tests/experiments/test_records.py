from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from experiments.intervals import interval, over_seeds, paired
from experiments.records import Record, add_record, check_same, read_records
from fsod.errors import UserError


def record(system: str = "a", k: int = 10, seed: int = 0, **fields: object) -> Record:
    return {"system": system, "split": "S1", "shots": k, "seed": seed, **fields}


def test_records_of_many_writers_are_all_kept_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: add_record(path, record(seed=seed, k=seed % 3)), range(24)))
    kept = read_records(path)
    assert sorted(r["seed"] for r in kept) == list(range(24))
    assert [(r["shots"], r["seed"]) for r in kept] == sorted((r["shots"], r["seed"]) for r in kept)


def test_the_first_record_of_a_run_stays(tmp_path: Path) -> None:
    for value in (1, 2):
        add_record(tmp_path / "results.json", record(novel_map50=value))
    assert [r["novel_map50"] for r in read_records(tmp_path / "results.json")] == [1]


def test_records_of_other_weights_are_refused(tmp_path: Path) -> None:
    records = [record(checkpoint="old")]
    check_same(tmp_path, records, {"system": "a", "split": "S1", "checkpoint": "old"})
    check_same(tmp_path, records, {"system": "b", "split": "S1", "checkpoint": "new"})
    with pytest.raises(UserError, match="recorded with checkpoint 'old', now it is 'new'"):
        check_same(tmp_path, records, {"system": "a", "split": "S1", "checkpoint": "new"})


def test_another_file_is_no_list_of_records(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('[{"system": 1}]')
    with pytest.raises(UserError, match="not a list of records"):
        read_records(tmp_path / "results.json")


def test_interval_is_students() -> None:
    found = interval([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found.mean == pytest.approx(0.3)
    assert found.half == pytest.approx(2.776 * 0.158114 / 5**0.5, rel=1e-3)  # t of 4 degrees of freedom: 2.776
    assert str(interval([0.25])) == "0.250 (one seed)"


def test_differences_are_taken_seed_by_seed() -> None:
    """What two systems share, as shots that are easy or hard, cancels out."""
    a = {seed: 0.1 * seed + 0.05 for seed in range(5)}
    b = {seed: 0.1 * seed + 0.001 * (seed % 2) for seed in range(6)}
    found = paired(a, b)
    assert found is not None
    assert found.n == 5
    assert found.mean == pytest.approx(0.05 - 0.0004)
    assert found.apart_from_zero
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_records_without_a_value_are_left_out() -> None:
    records = [record(seed=0, base_map50=None), record(seed=1, base_map50=0.5), record("b", seed=2, base_map50=0.1)]
    assert over_seeds(records, "base_map50", system="a") == {1: 0.5}
