"""Images that show the same ground: shifted, turned or scaled crops of one scene, which hashes of pixels do not find.

1. Every image is described by ORB features.
2. Features of different images that agree in a random choice of bits, and then in nearly all, are votes for the two
   images. With as many tables of such choices as it takes, the cost grows with the number of features, not of pairs.
3. Pairs of images with votes enough are matched feature by feature, and RANSAC fits a similarity (shift, turn, scale).
4. One image is laid on the other, and where both are, their brightness is correlated, without what lies close to the
   features that fit: two airplanes of one type agree in dozens of features, the ground around them does not.

The evidence for a pair is the number of features that fit times the correlation. In NWPU VHR-10 (experiments/nwpu_overlap)
it is above 5 for what shows the same ground and below for nearly all else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data_prep.folder import in_threads

EVIDENCE = 5.0
"""Inliers times correlation from which on two images count as the same ground."""

_FEATURES = 500
_SMALL_PX = 192  # side of the picture on which brightness is correlated
_NEIGHBOURHOOD_PX, _LEAST_SHARED_PX = 5, 50  # on that picture: radius, area
_TABLES, _NEAR_BITS, _MAX_BUCKET = 8, 48, 64
_MIN_VOTES = 8
_RATIO, _REPROJECTION_PX = 0.8, 5.0
_SCALES = (0.2, 5.0)
_BITS_SET = np.array([i.bit_count() for i in range(256)], np.uint8)


@dataclass(frozen=True)
class Ground:
    """What an image is known by.

    Attributes:
        points_px: (n, 2) float32, where its features are.
        descriptors: (n, 32) uint8, 256 bits each.
        small: (h, w) float32, its brightness made small, 0..255.
        zoom: pixels of ``small`` per pixel of the image.
    """

    points_px: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    small: NDArray[np.float32]
    zoom: float


@dataclass(frozen=True)
class Overlap:
    """Two images of the same ground.

    Attributes:
        first: position of one image.
        second: position of the other, greater.
        inliers: features that agree with the similarity.
        correlation: of the brightness of the ground that both show, -1..1.
        similarity: (2, 3) float64, from pixels of the first to pixels of the second.
    """

    first: int
    second: int
    inliers: int
    correlation: float
    similarity: NDArray[np.float64]

    @property
    def evidence(self) -> float:
        """Inliers times correlation."""
        return self.inliers * self.correlation


def describe_ground(rgb: NDArray[np.uint8]) -> Ground:
    """Features and brightness of an image (H, W, 3) uint8 RGB."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    zoom = min(1.0, _SMALL_PX / max(grey.shape))
    down, across = (max(zoom, 1 / side_px) for side_px in grey.shape)  # a strip keeps a pixel
    small = cv2.resize(grey, None, fx=across, fy=down, interpolation=cv2.INTER_AREA).astype(np.float32)
    # ORB fails on a line of pixels, which has no place for a feature
    points, descriptors = cv2.ORB.create(_FEATURES).detectAndCompute(grey, None) if min(grey.shape) > 1 else ((), None)
    if descriptors is None:
        return Ground(np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8), small, zoom)
    return Ground(np.array([p.pt for p in points], np.float32), descriptors, small, zoom)


def find_overlaps(grounds: Sequence[Ground], sources: Sequence[str]) -> list[Overlap]:
    """Pairs of images that show the same ground, by falling evidence.

    Args:
        grounds: of the images.
        sources: the original that each image was cut from; tiles of one original are not compared.
    """
    _, origin = np.unique(np.array(sources), return_inverse=True)
    candidates = [pair for pair in _candidates(grounds) if origin[pair[0]] != origin[pair[1]]]
    found = in_threads(lambda pair: _compare(grounds, *pair), candidates, "comparing scenes")
    overlaps = [overlap for overlap in found if overlap is not None and overlap.evidence >= EVIDENCE]
    return sorted(overlaps, key=lambda overlap: -overlap.evidence)


def connected(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Groups of positions that pairs connect, each sorted, in the order of their first."""
    group_of: dict[int, list[int]] = {}
    for first, second in pairs:
        a, b = group_of.setdefault(first, [first]), group_of.setdefault(second, [second])
        if a is not b:
            a += b
            group_of.update(dict.fromkeys(b, a))
    return sorted(sorted(group) for group in {id(group): group for group in group_of.values()}.values())


def _candidates(grounds: Sequence[Ground]) -> list[tuple[int, int]]:
    """Pairs of images with votes enough, the lower position first."""
    owner = np.repeat(np.arange(len(grounds)), [len(ground.descriptors) for ground in grounds])
    if not len(owner):
        return []
    descriptors = np.concatenate([ground.descriptors for ground in grounds])
    alike = [*_votes(descriptors, owner)]
    if not alike:
        return []
    votes = np.unique(np.concatenate(alike), axis=0)
    # a feature that many others resemble is one vote, on either side
    counts = [_count(owner[votes], votes[:, side]) for side in (0, 1)]
    return [pair for pair, count in counts[0].items() if min(count, counts[1][pair]) >= _MIN_VOTES]


def _votes(descriptors: NDArray[np.uint8], owner: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """(m, 2) positions of alike features of different images, the lower first, table by table."""
    rng = np.random.default_rng(0)
    key_bits = int(np.ceil(np.log2(len(owner) + 1)))
    for _ in range(_TABLES):
        bits = rng.choice(8 * descriptors.shape[1], min(key_bits, 62), replace=False)
        key = np.zeros(len(owner), np.int64)
        for bit in bits.tolist():
            key = 2 * key + (descriptors[:, bit // 8] >> (bit % 8) & 1)
        order = np.argsort(key, kind="stable")
        key = key[order]
        # a bucket of thousands says nothing: each feature meets those that follow it within reach
        for step in range(1, _MAX_BUCKET):
            at = np.flatnonzero(key[step:] == key[:-step])
            if not len(at):
                break
            pairs = np.stack([order[at], order[at + step]], 1)
            pairs = pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]]
            differing = _BITS_SET[descriptors[pairs[:, 0]] ^ descriptors[pairs[:, 1]]].sum(1, dtype=np.int64)
            yield np.sort(pairs[differing <= _NEAR_BITS], axis=1)


def _count(image_pairs: NDArray[np.intp], features: NDArray[np.intp]) -> dict[tuple[int, int], int]:
    """How many different features each pair of images has."""
    distinct = np.unique(np.column_stack([image_pairs, features]), axis=0)[:, :2]
    pairs, counts = np.unique(distinct, axis=0, return_counts=True)
    return {(a, b): count for (a, b), count in zip(pairs.tolist(), counts.tolist(), strict=True)}


def _compare(grounds: Sequence[Ground], first: int, second: int) -> Overlap | None:
    a, b = grounds[first], grounds[second]
    distances, nearest = cv2.batchDistance(a.descriptors, b.descriptors, cv2.CV_32S, normType=cv2.NORM_HAMMING, K=2)
    matched = np.flatnonzero(distances[:, 0] < _RATIO * distances[:, 1])
    if len(matched) < EVIDENCE:
        return None
    reached_px = b.points_px[nearest[matched, 0]]
    similarity, fits = cv2.estimateAffinePartial2D(
        a.points_px[matched], reached_px, method=cv2.RANSAC, ransacReprojThreshold=_REPROJECTION_PX
    )
    # many features fit a similarity that shrinks the image to one of the other's
    if similarity is None or not _SCALES[0] < np.hypot(similarity[0, 0], similarity[1, 0]) < _SCALES[1]:
        return None
    inliers_px = reached_px[fits.ravel() > 0]
    return Overlap(first, second, len(inliers_px), _correlation(a, b, similarity, inliers_px), similarity)


def _correlation(a: Ground, b: Ground, similarity: NDArray[np.float64], inliers_px: NDArray[np.float32]) -> float:
    """Of the brightness that both show beyond the inliers; 0 where that is too little to tell or has no contrast."""
    small = np.hstack([similarity[:, :2] * b.zoom / a.zoom, similarity[:, 2:] * b.zoom])
    size = b.small.shape[1], b.small.shape[0]
    laid = cv2.warpAffine(a.small, small, size)
    both = cv2.warpAffine(np.ones_like(a.small), small, size)
    for x, y in np.rint(inliers_px * b.zoom).astype(int).tolist():
        cv2.circle(both, (x, y), _NEIGHBOURHOOD_PX, 0.0, cv2.FILLED)
    beyond = both > 0.99
    shown, expected = laid[beyond], b.small[beyond]
    if beyond.sum() < _LEAST_SHARED_PX or shown.std() < 1 or expected.std() < 1:
        return 0.0
    return float(np.corrcoef(shown, expected)[0, 1])
