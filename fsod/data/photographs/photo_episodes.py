"""Endless episodes of things that were cut out of unlabelled photographs and pasted into others.

What is drawn has outlines and surfaces of its own; here a class is whatever stood out in a photograph. So that nobody
can tell an object by its seam, things of no class of the episode and bare patches are pasted, too. So that nobody takes
what was photographed in its place for background, some queries show a class at home, and what looks like a class where
nothing is known of it is neither object nor background. An episode is a function of (seed, number) alone, and so is each
of its queries.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from fsod.config import EpisodeSettings
from fsod.data.augmentation import query_augmentation, support_augmentation
from fsod.data.photographs.album import Album
from fsod.data.photographs.collage import Collage
from fsod.data.photographs.cut_classes import CutClass, like_but_for_one, random_class
from fsod.data.photographs.standing_out import Thing
from fsod.data.photographs.warp import affine, moved, warp
from fsod.data.real_episodes import Episode, Query, augmented_query, augmented_support, stack_episode
from fsod.data.support import SupportCrop, support_crop

LOOK_ALIKES = 0.2  # share of an episode's classes that differ in one attribute from another class of it
AT_HOME = 0.3  # share of queries and of examples that are seen where they were photographed
GROUND_ENLARGED = (0.5, 2.5)
SMOOTH = 0.2  # share of grounds that show as little as open water does
SMOOTH_ENLARGED = (4.0, 12.0)  # these are photographs enlarged so far that little is left to see
SPREAD = 1.25  # scenes of an episode are enlarged up to this factor more or less
OBJECTS = (4, 16)  # labelled objects of a query
STRANGERS = (0, 14)  # unlabelled things that are pasted into a query
PATCHES = (0, 5)  # bare patches of other photographs that are
GREY = 0.1  # share of queries without colour
TRIES = 6


class PhotoEpisodes(Dataset[Episode]):
    """Episodes of things in photographs.

    Args:
        settings: sizes of an episode.
        album: where things and grounds come from.
        length: number of episodes.
        seed: of the whole sequence.
        share: which of an episode's queries to make; all if None.
    """

    def __init__(
        self, settings: EpisodeSettings, album: Album, length: int, seed: int, share: range | None = None
    ) -> None:
        self.settings, self.album, self.length, self.seed = settings, album, length, seed
        self.share = range(settings.queries) if share is None else share
        self.augment_query, self.augment_support = query_augmentation(), support_augmentation()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> Episode:
        rng = np.random.default_rng([self.seed, i, 2])
        streams = rng.spawn(self.settings.queries)
        self.augment_support.set_random_seed(int(rng.integers(2**31)))
        classes = self._classes(rng)
        strangers = [random_class(rng, self.album) for _ in range(4)]
        shots = int(rng.integers(1, self.settings.shots + 1))
        supports = [
            [augmented_support(self.augment_support, crop) for crop in crops]
            for crops in self._supports(rng, classes, strangers, shots)
        ]
        queries = [self._query(streams[j], classes, strangers) for j in self.share]
        return stack_episode(queries, supports, list(range(len(classes))), invented=True)

    def _classes(self, rng: np.random.Generator) -> list[CutClass]:
        ways = int(rng.integers(-(-self.settings.ways // 2), self.settings.ways + 1))
        classes: list[CutClass] = []
        while len(classes) < ways:
            if classes and rng.random() < LOOK_ALIKES:
                classes.append(like_but_for_one(rng, classes[int(rng.integers(len(classes)))]))
            else:
                classes.append(random_class(rng, self.album))
        return classes

    def _query(self, rng: np.random.Generator, classes: list[CutClass], strangers: list[CutClass]) -> Query:
        size = self.settings.query_px
        # some classes of the episode are missing from each query: those are its negative pairs
        shown = rng.choice(len(classes), max(len(classes) // 2, 1), replace=False)
        counts = np.bincount(rng.choice(shown, rng.integers(*OBJECTS)), minlength=len(classes))
        at_home = int(shown[0]) if rng.random() < AT_HOME and _untouched(classes[shown[0]]) else None
        collage = self._collage(rng, classes, strangers, counts.tolist(), at_home)
        known = np.array([[0.0, 0.0, size, size]])
        self.augment_query.set_random_seed(int(rng.integers(2**31)))
        return augmented_query(
            self.augment_query,
            collage.image,
            np.array(collage.boxes_xyxy_px, np.float64).reshape(-1, 4),
            np.array(collage.class_ids, np.int64),
            known,
            np.array(collage.ignored_xyxy_px, np.float64).reshape(-1, 4),
        )

    def _collage(
        self,
        rng: np.random.Generator,
        classes: list[CutClass],
        strangers: list[CutClass],
        counts: list[int],
        at_home: int | None,
    ) -> Collage:
        scale = float(SPREAD ** rng.uniform(-1, 1))
        collage = self._ground(rng, classes, at_home, scale)
        groups = [(i, group) for i, count in enumerate(counts) for group in _groups(rng, classes[i], count)]
        # the large before the small
        for i, group in sorted(groups, key=lambda item: -classes[item[0]].longer_px):
            collage.paste_group(rng, self.album, classes[i], group, i, scale)
        for stranger in rng.integers(len(strangers), size=int(rng.integers(*STRANGERS))).tolist():
            collage.paste_group(rng, self.album, strangers[stranger], int(rng.integers(1, 4)), None, scale)
        for _ in range(int(rng.integers(*PATCHES))):
            patch = self._bare_patch(rng, strangers[int(rng.integers(len(strangers)))])
            collage.paste_group(rng, self.album, patch, 1, None, scale)
        if rng.random() < GREY:
            grey = cv2.cvtColor(collage.image, cv2.COLOR_RGB2GRAY)
            collage.image = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
        return collage

    def _ground(self, rng: np.random.Generator, classes: list[CutClass], at_home: int | None, scale: float) -> Collage:
        """A photograph as ground, anyhow turned; that of class ``at_home``, about one of its things, where one is given."""
        size = self.settings.query_px
        turn = float(rng.uniform(0, 2 * np.pi)) if rng.random() < 0.5 else 0.0
        if at_home is None:
            photograph = int(rng.integers(len(self.album)))
            smooth = rng.random() < SMOOTH
            enlarged = float(np.exp(rng.uniform(*np.log(SMOOTH_ENLARGED if smooth else GROUND_ENLARGED))))
            height, width = self.album.photographs[photograph].shape[:2]
            middle, goal = rng.uniform(0.2, 0.8, 2) * (width, height), np.full(2, size / 2)
        else:
            home = classes[at_home]
            photograph, enlarged = home.photograph, home.enlarged * scale
            middle, goal = home.members[int(rng.integers(len(home.members)))].centre_px, rng.uniform(0.2, 0.8, 2) * size
        by = affine(middle, goal, turn, enlarged)
        angle = rng.uniform(0, 2 * np.pi)
        image = warp(self.album.photographs[photograph], by, (size, size))
        collage = Collage(image, np.zeros((size, size), np.uint8), np.array([np.cos(angle), np.sin(angle)]))
        collage.label_own(self.album, photograph, by, classes, at_home)
        return collage

    def _supports(
        self, rng: np.random.Generator, classes: list[CutClass], strangers: list[CutClass], shots: int
    ) -> list[list[SupportCrop]]:
        """Examples at home, and out of collages that are made until every class has its share."""
        crops: list[list[SupportCrop]] = [
            [self._example_at_home(rng, cut) for _ in range(shots) if rng.random() < AT_HOME and _untouched(cut)]
            for cut in classes
        ]
        for _ in range(TRIES):
            missing = [shots - len(found) for found in crops]
            if not any(count > 0 for count in missing):
                break
            collage = self._collage(rng, classes, strangers, [max(count, 0) for count in missing], None)
            for box, class_id in zip(collage.boxes_xyxy_px, collage.class_ids, strict=True):
                crops[class_id].append(support_crop(collage.image, box, self.settings.support_px))
        for cut, found in zip(classes, crops, strict=True):
            found += [self._example_at_home(rng, cut) for _ in range(shots - len(found))]
        return [found[:shots] for found in crops]

    def _example_at_home(self, rng: np.random.Generator, cut: CutClass) -> SupportCrop:
        size = self.settings.query_px
        thing = cut.members[int(rng.integers(len(cut.members)))]
        turn = float(rng.uniform(0, 2 * np.pi)) if rng.random() < 0.5 else 0.0
        enlarged = cut.enlarged * float(SPREAD ** rng.uniform(-1, 1))
        by = affine(thing.centre_px, np.full(2, size / 2), turn, enlarged, stretched=cut.stretched)
        outline = moved(thing.contour_px, by)
        box = np.concatenate([outline.min(0), outline.max(0)]) + 0.5
        image = warp(self.album.photographs[cut.photograph], by, (size, size))
        return support_crop(image, box, self.settings.support_px)

    def _bare_patch(self, rng: np.random.Generator, cut: CutClass) -> CutClass:
        """The outline of a thing with whatever is seen through it in another photograph."""
        photograph = int(rng.integers(len(self.album)))
        height, width = self.album.photographs[photograph].shape[:2]
        thing = cut.members[int(rng.integers(len(cut.members)))]
        move: NDArray[np.float64] = rng.uniform(0.1, 0.9, 2) * (width, height) - thing.centre_px
        elsewhere = Thing((thing.contour_px + move).astype(np.float32), thing.looks, thing.clearness)
        return replace(cut, photograph=photograph, members=(elsewhere,))


def _untouched(cut: CutClass) -> bool:
    """Whether a class looks at home as it does where it is pasted: neither recoloured nor stretched much."""
    return bool(np.abs(np.log(cut.tint)).max() < 0.3 and abs(np.log(cut.stretched)) < 0.2)


def _groups(rng: np.random.Generator, cut: CutClass, count: int) -> list[int]:
    """Sizes of the groups that ``count`` things stand in."""
    groups: list[int] = []
    while count > 0:
        alone = cut.arrangement == "alone" or rng.random() < 0.3
        groups.append(1 if alone else min(count, int(rng.integers(2, 8))))
        count -= groups[-1]
    return groups
