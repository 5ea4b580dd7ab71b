"""Drawn images as ordinary detection: a fixed set of invented families as classes, no supports, no episodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fsod.config import EpisodeSettings
from fsod.data.procedural.drawn_episodes import ProceduralEpisodes, _Surroundings
from fsod.data.procedural.drawn_scene import DrawnScene
from fsod.data.procedural.grammar import Family
from fsod.data.procedural.invent import random_family
from fsod.data.support import SupportCrop

FAMILIES = 40


class OrdinaryScenes(ProceduralEpisodes):
    """The images of procedural episodes with objects of ``FAMILIES`` families only; class c is one family in all of them.

    Args:
        settings: sizes of an episode; a query is drawn with ``ways`` families.
        length: number of batches.
        seed: of the families and the whole sequence.
        without: motifs that no family is made of.
    """

    def __init__(self, settings: EpisodeSettings, length: int, seed: int, without: frozenset[str]) -> None:
        super().__init__(settings, length, seed, without=without)
        rng = np.random.default_rng([seed, FAMILIES])
        self.families = [random_family(rng, without) for _ in range(FAMILIES)]

    def _families(self, rng: np.random.Generator) -> list[Family]:
        return self.families

    def _draw_query(self, rng: np.random.Generator, families: list[Family], around: _Surroundings) -> DrawnScene:
        chosen = rng.choice(FAMILIES, self.settings.ways, replace=False)
        scene = super()._draw_query(rng, [families[c] for c in chosen], around)
        return replace(scene, class_ids=chosen[scene.class_ids])

    def _draw_supports(
        self, rng: np.random.Generator, families: list[Family], around: _Surroundings, shots: int
    ) -> list[list[SupportCrop]]:
        return [[] for _ in families]
