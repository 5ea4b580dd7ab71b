import pickle

import numpy as np
import pytest

from fsod.data.procedural.grammar import sample_instance
from fsod.data.procedural.invent import TELLTALE, motif_names, random_family
from fsod.data.procedural.named import named_families
from fsod.data.procedural.paint import Light, paint

LIGHT = Light(0.3, 1.0, 0.5, 0.2)


def test_thousands_of_families_are_all_different() -> None:
    rng = np.random.default_rng(0)
    families = [random_family(rng) for _ in range(2000)]
    assert len({(family.designs, family.size_m) for family in families}) == 2000
    assert len({family.name for family in families}) == 2000
    # most are built differently, not only measured differently
    structures = {tuple((item.name, item.fold, item.copies) for item in family.designs[0]) for family in families}
    assert len(structures) > 1500


def test_the_same_seed_invents_the_same_family() -> None:
    assert random_family(np.random.default_rng(5)) == random_family(np.random.default_rng(5))
    assert random_family(np.random.default_rng(5)) != random_family(np.random.default_rng(6))


def test_families_can_be_pickled() -> None:
    family = random_family(np.random.default_rng(5))
    assert pickle.loads(pickle.dumps(family)) == family


def test_motifs_are_left_out_by_name() -> None:
    rng = np.random.default_rng(1)
    without = TELLTALE["aircraft"] | TELLTALE["tennis_court"] | TELLTALE["baseball_diamond"]
    left_out = [random_family(rng, without) for _ in range(500)]
    assert not any(family.motif_names() & without for family in left_out)
    free = [random_family(rng) for _ in range(500)]
    for name in without:
        assert any(name in family.motif_names() for family in free)


def test_a_name_that_is_no_motif_is_refused() -> None:
    with pytest.raises(ValueError, match="no motif 'sweptwing'"):
        random_family(np.random.default_rng(0), frozenset({"sweptwing"}))


def test_leaving_out_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="every body is left out"):
        random_family(np.random.default_rng(0), motif_names())


def test_telltale_names_are_motifs_that_give_their_class_away() -> None:
    for name, motifs in TELLTALE.items():
        assert motifs <= motif_names()
        assert motifs <= named_families()[name].motif_names()


def test_every_invented_family_can_be_painted() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        family = random_family(rng)
        sprite = paint(sample_instance(rng, family), np.array([100.0, 100.0]), float(rng.uniform(0, 6.3)), LIGHT)
        assert sprite.mask.sum() > 20
