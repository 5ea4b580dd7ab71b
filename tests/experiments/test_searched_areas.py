"""What became of a scene adds up to the scene, on rasters that lie oddly."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.searched.areas import ODD, measure


@pytest.mark.parametrize("name", ODD)
def test_parts_add_up_to_the_scene(tmp_path: Path, name: str) -> None:
    record = measure(tmp_path, name, ODD[name])
    assert record["gaps_and_overlaps"] < 1e-9
    assert record["outside_off"] < 1e-6
    assert record.get("nodata_off", 0.0) < 0.008
    assert record.get("total_off", 0.0) < 0.001
    assert (record["km2"] is None) == (ODD[name].crs is None)
