"""Endless episodes of invented classes: object families that exist in one episode only.

They teach the network to compare: with a handful of real base classes it would learn those classes instead. An episode
is a function of (seed, number) alone, and so is each of its queries.
"""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from fsod.config import EpisodeSettings
from fsod.data.crop import query_augmentation
from fsod.data.episodes import Episode, Query, augmented_query, stack_episode
from fsod.data.procedural.grammar import Family
from fsod.data.procedural.invent import random_family
from fsod.data.procedural.look_alike import look_alike
from fsod.data.procedural.scene import DrawnScene, draw_scene
from fsod.data.support import SupportCrop, support_crop

LOOK_ALIKES = 0.35  # share of an episode's classes that differ in one attribute from another class of it
GSD_M = (0.45, 1.5)  # families are 14 to 90 m long: this shows them at 9 to 200 px
OBJECTS = (4, 14)  # labelled objects of a query
CLUTTER = 6  # most unlabelled objects of classes outside the episode
TRIES = 20


class ProceduralEpisodes(Dataset[Episode]):
    """Episodes of invented classes.

    Args:
        settings: sizes of an episode.
        length: number of episodes.
        seed: of the whole sequence.
        share: which of an episode's queries to make; all if None.
        without: names of motifs that families are not made of, see ``random_family``.
    """

    def __init__(
        self,
        settings: EpisodeSettings,
        length: int,
        seed: int,
        share: range | None = None,
        *,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.settings, self.length, self.seed, self.without = settings, length, seed, without
        self.share = range(settings.queries) if share is None else share
        self.augment = query_augmentation()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> Episode:
        rng = np.random.default_rng([self.seed, i])
        streams = rng.spawn(self.settings.queries)
        families = self._families(rng)
        clutter = [random_family(rng, self.without) for _ in range(3)]
        shots = int(rng.integers(1, self.settings.shots + 1))
        queries = [self._query(streams[j], families, clutter) for j in self.share]
        supports = self._supports(rng, families, clutter, shots)
        return stack_episode(queries, supports, list(range(len(families))), invented=True)

    def _families(self, rng: np.random.Generator) -> list[Family]:
        families: list[Family] = []
        while len(families) < self.settings.ways:
            if families and rng.random() < LOOK_ALIKES:
                families.append(look_alike(families[rng.integers(len(families))], rng))
            else:
                families.append(random_family(rng, self.without))
        return families

    def _query(self, rng: np.random.Generator, families: list[Family], clutter: list[Family]) -> Query:
        # some classes of the episode are missing from each query: those are its negative pairs
        shown = rng.choice(len(families), max(len(families) // 2, 1), replace=False)
        counts = np.bincount(rng.choice(shown, rng.integers(*OBJECTS)), minlength=len(families))
        size = self.settings.query_px
        scene = self._draw(rng, size, families, counts.tolist(), clutter)
        known = np.array([[0.0, 0.0, size, size]])
        self.augment.set_random_seed(int(rng.integers(2**31)))
        return augmented_query(self.augment, scene.image, scene.boxes_xyxy_px, scene.class_ids, known)

    def _supports(
        self, rng: np.random.Generator, families: list[Family], clutter: list[Family], shots: int
    ) -> list[list[SupportCrop]]:
        """Examples cut from scenes drawn for them, until every class has its share."""
        crops: list[list[SupportCrop]] = [[] for _ in families]
        for _ in range(TRIES):
            missing = [max(shots - len(found), 0) for found in crops]
            if not any(missing):
                break
            scene = self._draw(rng, self.settings.query_px, families, missing, clutter)
            for box, class_id in zip(scene.boxes_xyxy_px, scene.class_ids, strict=True):
                crops[class_id].append(support_crop(scene.image, box, self.settings.support_px))
        else:
            raise RuntimeError("no room was found for a support example; the families are too large for the query size")
        return [found[:shots] for found in crops]

    def _draw(
        self, rng: np.random.Generator, size_px: int, families: list[Family], counts: list[int], clutter: list[Family]
    ) -> DrawnScene:
        gsd_m = float(np.exp(rng.uniform(*np.log(GSD_M))))
        count = int(rng.integers(CLUTTER + 1))
        return draw_scene(rng, (size_px, size_px), families, counts, clutter=clutter, clutter_count=count, gsd_m=gsd_m)
