import numpy as np
import pytest

from fsod.data.procedural.grammar import Design, Family
from fsod.data.procedural.invent import random_family
from fsod.data.procedural.look_alike import look_alike
from fsod.data.procedural.named import named_families


def _differences(family: Family, other: Family) -> tuple[set[str], list[Design]]:
    """Which attributes differ, and which designs do not."""
    attributes = [name for name in family.__dataclass_fields__ if getattr(family, name) != getattr(other, name)]
    kept = [design for design in other.designs if design in family.designs]
    return set(attributes), kept


def test_one_attribute_of_an_invented_family_changes() -> None:
    rng = np.random.default_rng(0)
    seen: set[int | str] = set()
    for _ in range(200):
        family = random_family(rng)
        other = look_alike(family, rng)
        attributes, kept = _differences(family, other)
        assert attributes in ({"name", "aspect"}, {"name", "designs"})
        if "designs" in attributes:
            before, after = family.designs[0], other.designs[0]
            assert not kept
            assert abs(len(before) - len(after)) <= 1
            common = sum(item in before for item in after)
            assert common >= len(before) - 1
            seen.add(len(after) - len(before))
        else:
            seen.add("aspect")
    assert seen == {"aspect", -1, 0, 1}


@pytest.mark.parametrize("name", list(named_families()))
def test_no_design_of_a_named_family_is_left_unchanged(name: str) -> None:
    family = named_families()[name]
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = look_alike(family, rng)
        attributes, kept = _differences(family, other)
        assert attributes in ({"name", "aspect"}, {"name", "designs"})
        if "designs" in attributes:
            assert not kept
            assert other.designs


def test_look_alikes_are_deterministic() -> None:
    family = random_family(np.random.default_rng(0))
    assert look_alike(family, np.random.default_rng(1)) == look_alike(family, np.random.default_rng(1))
