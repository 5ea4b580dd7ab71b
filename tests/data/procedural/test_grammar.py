import pickle

import numpy as np
import pytest

from fsod.data.procedural import shapes as s
from fsod.data.procedural.grammar import Design, Family, Style, motif, sample_instance, sample_style

RED, BLUE = (200, 30, 30), (30, 30, 200)


def _family(*designs: Design) -> Family:
    return Family(name="thing", designs=designs, palettes=((RED, BLUE),), size_m=(10, 20))


def test_a_family_survives_pickling_and_serves_as_a_key() -> None:
    family = _family((motif(s.bar, length=1, width=(0.2, 0.4)),))
    copy = pickle.loads(pickle.dumps(family))
    assert copy == family
    assert {family: 1}[copy] == 1


def test_measures_stay_in_their_ranges_and_vary() -> None:
    family = _family((motif(s.bar, length=1, width=(0.2, 0.4)),))
    rng = np.random.default_rng(0)
    widths = [np.ptp(sample_instance(rng, family).points[:, 1]) for _ in range(50)]
    assert 0.2 <= min(widths) < 0.23
    assert 0.37 < max(widths) <= 0.4


def test_every_design_and_palette_occurs() -> None:
    family = Family(
        name="thing",
        designs=((motif(s.bar, length=1, width=1),), (motif(s.disc, length=1, width=1),)),
        palettes=((RED,), (BLUE,)),
        size_m=(10, 20),
    )
    rng = np.random.default_rng(0)
    styles = [sample_style(rng, family) for _ in range(60)]
    assert {(style.design, style.palette) for style in styles} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert all(10 <= style.size_m <= 20 for style in styles)


def test_mirror_row_and_fold_repeat_a_motif() -> None:
    design = (
        motif(s.bar, mirror=True, y=0.3, length=0.1, width=0.1),
        motif(s.bar, copies=3, step_x=0.2, length=0.1, width=0.1),
        motif(s.bar, fold=4, x=0.4, length=0.1, width=0.1),
    )
    instance = sample_instance(np.random.default_rng(0), _family(design))
    middles = instance.points.reshape(-1, 4, 2).mean(1).round(6) + 0.0
    mirrored, row, folded = middles[:2], middles[2:5], middles[5:]
    assert mirrored.tolist() == [[0, 0.3], [0, -0.3]]
    assert row.tolist() == [[-0.2, 0], [0, 0], [0.2, 0]]
    assert sorted(folded.tolist()) == [[-0.4, 0], [0, -0.4], [0, 0.4], [0.4, 0]]


def test_a_style_fixes_what_a_group_shares() -> None:
    family = _family((motif(s.bar, length=1, width=0.5),))
    instance = sample_instance(np.random.default_rng(0), family, Style(design=0, palette=0, size_m=16.0))
    assert instance.size_m == pytest.approx(16, rel=0.051)


def test_colours_stray_about_the_palette() -> None:
    family = _family((motif(s.bar, length=1, width=0.5),))
    rng = np.random.default_rng(0)
    colours = np.array([sample_instance(rng, family).colours[0] for _ in range(200)])
    assert np.abs(colours.mean(0) - RED).max() < 4
    assert (colours.std(0) > 4).all()
