"""Endless episodes of invented classes: object families that exist in one episode only.

They teach the network to compare: with a handful of real base classes it would learn those classes instead. An episode
is a function of (seed, number) alone, and so is each of its queries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch.utils.data import Dataset

from fsod.config import EpisodeSettings
from fsod.data.augmentation import query_augmentation, support_augmentation
from fsod.data.procedural.drawn_scene import DrawnScene, draw_scene
from fsod.data.procedural.grammar import Family
from fsod.data.procedural.invent import random_family
from fsod.data.procedural.look_alike import look_alike
from fsod.data.procedural.named import common_clutter
from fsod.data.procedural.natural import natural_family
from fsod.data.procedural.sensor import archive
from fsod.data.real_episodes import Episode, Query, augmented_query, augmented_support, stack_episode
from fsod.data.support import SupportCrop, support_crop

LOOK_ALIKES = 0.35  # share of an episode's classes that differ in one attribute from another class of it
GSD_M = (0.35, 1.5)  # families are 14 to 90 m long: this shows them at 9 to 240 px
LARGEST = 0.85  # of a query's side
OBJECTS = (4, 14)  # labelled objects of a query
GSD_SPREAD = 1.35  # an episode's scenes have its GSD up to this factor either way
CLUTTER = 24  # most unlabelled objects: houses, trees, and classes outside the episode
TRIES = 20
BLOCK = 16  # episodes between two uses of what was drawn


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
        self.augment_query, self.augment_support = query_augmentation(), support_augmentation()
        self._kept: dict[int, _Drawn] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> Episode:
        # drawing costs as much as a training step: what is drawn may serve several times, BLOCK episodes apart
        number = i // (BLOCK * self.settings.procedural_uses) * BLOCK + i % BLOCK
        if number not in self._kept:
            if len(self._kept) == BLOCK:
                del self._kept[next(iter(self._kept))]
            self._kept[number] = self._draw_all(number)
        drawn = self._kept[number]
        rng = np.random.default_rng([self.seed, i, 1])
        streams = rng.spawn(self.settings.queries)
        self.augment_support.set_random_seed(int(rng.integers(2**31)))
        queries = [self._query(streams[j], scene) for j, scene in zip(self.share, drawn.queries, strict=True)]
        supports = [[augmented_support(self.augment_support, crop) for crop in crops] for crops in drawn.supports]
        return stack_episode(queries, supports, list(range(len(supports))), invented=True)

    def _draw_all(self, number: int) -> _Drawn:
        rng = np.random.default_rng([self.seed, number])
        streams = rng.spawn(self.settings.queries)
        families = self._families(rng)
        shots = int(rng.integers(1, self.settings.shots + 1))
        around = _Surroundings(
            (*(random_family(rng, self.without) for _ in range(3)), *common_clutter() * 2),
            max(float(np.exp(rng.uniform(*np.log(GSD_M)))), self._finest_gsd_m(families)),
        )
        queries = [self._draw_query(streams[j], families, around) for j in self.share]
        return _Drawn(queries, self._draw_supports(rng, families, around, shots))

    def _finest_gsd_m(self, families: list[Family]) -> float:
        largest_m = max(family.size_m[1] for family in families)
        return GSD_SPREAD * largest_m / (LARGEST * self.settings.query_px)

    def _families(self, rng: np.random.Generator) -> list[Family]:
        families: list[Family] = []
        ways = int(rng.integers(-(-self.settings.ways // 2), self.settings.ways + 1))
        while len(families) < ways:
            if families and rng.random() < LOOK_ALIKES:
                families.append(look_alike(families[rng.integers(len(families))], rng))
            elif self.settings.procedural_natural and rng.random() < self.settings.procedural_natural:
                families.append(natural_family(rng))
            else:
                families.append(random_family(rng, self.without))
        return families

    def _query(self, rng: np.random.Generator, scene: DrawnScene) -> Query:
        size = self.settings.query_px
        known = np.array([[0.0, 0.0, size, size]])
        self.augment_query.set_random_seed(int(rng.integers(2**31)))
        return augmented_query(self.augment_query, scene.image, scene.boxes_xyxy_px, scene.class_ids, known)

    def _draw_query(self, rng: np.random.Generator, families: list[Family], around: _Surroundings) -> DrawnScene:
        # some classes of the episode are missing from each query: those are its negative pairs
        shown = rng.choice(len(families), max(len(families) // 2, 1), replace=False)
        counts = np.bincount(rng.choice(shown, rng.integers(*OBJECTS)), minlength=len(families))
        return self._draw(rng, families, counts.tolist(), around)

    def _draw_supports(
        self, rng: np.random.Generator, families: list[Family], around: _Surroundings, shots: int
    ) -> list[list[SupportCrop]]:
        """Examples cut from scenes drawn for them, until every class has its share."""
        crops: list[list[SupportCrop]] = [[] for _ in families]
        for _ in range(TRIES):
            missing = [max(shots - len(found), 0) for found in crops]
            if not any(missing):
                break
            scene = self._draw(rng, families, missing, around)
            for box, class_id in zip(scene.boxes_xyxy_px, scene.class_ids, strict=True):
                crops[class_id].append(support_crop(scene.image, box, self.settings.support_px))
        else:
            raise RuntimeError("no room was found for a support example; the families are too large for the query size")
        return [found[:shots] for found in crops]

    def _draw(
        self, rng: np.random.Generator, families: list[Family], counts: list[int], around: _Surroundings
    ) -> DrawnScene:
        size = (self.settings.query_px, self.settings.query_px)
        gsd_m = around.gsd_m * float(GSD_SPREAD ** rng.uniform(-1, 1))
        count = int((CLUTTER + 1) * rng.random() ** 2)  # more often few than many
        scene = draw_scene(rng, size, families, counts, clutter=around.clutter, clutter_count=count, gsd_m=gsd_m)
        return replace(scene, image=archive(rng, scene.image))


@dataclass(frozen=True)
class _Drawn:
    """Pictures of an episode before augmentation: queries, and examples per class."""

    queries: list[DrawnScene]
    supports: list[list[SupportCrop]]


@dataclass(frozen=True)
class _Surroundings:
    """What the scenes of an episode share: families of unlabelled objects, and about what GSD they have."""

    clutter: tuple[Family, ...]
    gsd_m: float
