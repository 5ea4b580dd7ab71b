from __future__ import annotations

import pickle

import numpy as np

from fsod.config import EpisodeSettings
from fsod.data.procedural.drawn_episodes import ProceduralEpisodes
from fsod.data.procedural.grammar import Family, sample_instance
from fsod.data.procedural.invent import TELLTALE
from fsod.data.procedural.look_alike import look_alike
from fsod.data.procedural.natural import natural_family
from fsod.data.procedural.paint import Light, paint
from fsod.data.procedural.shapes import basin, tufts

LIGHT = Light(0.0, 1.0, 0.5, 0.25)
CENTRE = np.array([100.0, 100.0])


def families(count: int) -> list[Family]:
    rng = np.random.default_rng(0)
    return [natural_family(rng) for _ in range(count)]


def test_the_same_seed_invents_the_same_class() -> None:
    one = natural_family(np.random.default_rng(5))
    assert one == natural_family(np.random.default_rng(5))
    assert pickle.loads(pickle.dumps(one)) == one
    assert len({family.designs for family in families(200)}) == 200


def test_objects_of_a_class_have_outlines_of_their_own() -> None:
    rng = np.random.default_rng(1)
    crowns = [family for family in families(60) if "tufts" in family.motif_names()]
    assert len(crowns) > 10
    for family in crowns[:5]:
        one, other = sample_instance(rng, family).points, sample_instance(rng, family).points
        assert not np.allclose(one[:36] / np.ptp(one[:36], axis=0), other[:36] / np.ptp(other[:36], axis=0), atol=0.005)


def test_they_resemble_no_class_that_may_be_left_out() -> None:
    motifs = frozenset[str]().union(*(family.motif_names() for family in families(200)))
    for kind in ("aircraft", "tennis_court", "basketball_court", "baseball_diamond"):
        assert not motifs & TELLTALE[kind]


def test_each_can_be_painted_and_varied() -> None:
    rng = np.random.default_rng(2)
    for family in families(60):
        for one in (family, look_alike(family, rng)):
            sprite = paint(sample_instance(rng, one), CENTRE, 0.3, LIGHT)
            assert sprite.mask.any()


def test_the_wall_of_a_crater_that_is_lit_is_the_one_that_a_mound_has_dark() -> None:
    """Facets that look along the shadows, which fall towards +x here, are dark: the left wall of a hollow."""
    inner = basin(1.0, 1.0, 0.1, 0.3, 12)[12:24]
    left = min(inner, key=lambda facet: float(facet.points[:, 0].mean()))
    leaf = min(tufts(1.0, 1.0, 12, 0.0), key=lambda facet: float(facet.points[:, 0].mean()))
    assert np.cos(left.facing_rad) > 0.9
    assert np.cos(leaf.facing_rad) < -0.8


def test_an_episode_has_as_many_as_asked_for_and_none_by_default() -> None:
    sizes = EpisodeSettings(ways=6, shots=1, queries=1, query_px=128, support_px=64)
    rng = np.random.default_rng(3)
    drawn = [ProceduralEpisodes(sizes, 1, 0)._families(rng) for _ in range(6)]
    assert not any(family.name.startswith("natural") for classes in drawn for family in classes)
    mixed = ProceduralEpisodes(sizes.model_copy(update={"procedural_natural": 0.5}), 1, 0)
    classes = [family for _ in range(20) for family in mixed._families(rng)]
    share = np.mean([any(name in family.motif_names() for name in ("blob", "basin")) for family in classes])
    assert 0.3 < share < 0.7
