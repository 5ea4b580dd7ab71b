"""The named families: what an analyst knows from above, as ranges over the grammar, never one fixed drawing."""

from __future__ import annotations

from functools import cache

from fsod.data.procedural import craft, sports, structures
from fsod.data.procedural.grammar import Family


@cache
def _families() -> tuple[Family, ...]:
    return (
        craft.aircraft(),
        structures.storage_tank(),
        sports.tennis_court(),
        sports.basketball_court(),
        sports.baseball_diamond(),
        craft.ship(),
        craft.vehicle(),
        sports.track_field(),
        structures.harbor(),
        structures.bridge(),
        structures.wind_turbine(),
        structures.solar_array(),
        structures.roundabout(),
        structures.helipad(),
        structures.silo_cluster(),
    )


def named_families() -> dict[str, Family]:
    """All named families by name, in a fixed order."""
    return {family.name: family for family in _families()}


@cache
def common_clutter() -> tuple[Family, ...]:
    """Families that stand about in most scenes and are never labelled: houses and trees."""
    return structures.house(), structures.tree()
