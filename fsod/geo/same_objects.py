"""Which objects of two dates are the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching
from scipy.spatial import KDTree

NEAR_NOTHING = 1e-6
"""Added to every cost, as a sparse matrix takes 0 for no edge at all."""

AT_ONCE = 1000
"""Earlier objects that are paired at once, and whoever shares a partner with them: time grows with the square of their number."""


def same_objects(
    before_m: NDArray[np.float64], after_m: NDArray[np.float64], tolerance_m: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of objects whose centres are no farther apart than the tolerance.

    Of all ways to pair them this is the one with the least sum of distances, where each object that is left alone, at either
    date, counts as much as the tolerance (a linear assignment, by Jonker and Volgenant's algorithm for sparse costs as scipy has
    it). Whoever pairs the nearest first may take the only partner of an object for one that has two.

    Args:
        before_m: (n, 2) centres in metres.
        after_m: (m, 2) likewise.
        tolerance_m: more than 0.

    Returns:
        (k,) positions in ``before_m`` and in ``after_m``.
    """
    none = np.zeros(0, np.intp)
    if not len(before_m) or not len(after_m):
        return none, none
    near = KDTree(before_m).sparse_distance_matrix(KDTree(after_m), tolerance_m, output_type="coo_matrix")
    n, m = len(before_m), len(after_m)
    alone = np.arange(n)
    # each earlier object may also be paired with a place of its own that stands for nothing; then a later one is alone as well
    # of 32 bits, which all versions of scipy match
    rows, columns = (np.concatenate(of).astype(np.int32) for of in ((near.row, alone), (near.col, m + alone)))
    costs = np.concatenate([near.data, np.full(n, 2 * tolerance_m)]) + NEAR_NOTHING
    costs = coo_array((costs, (rows, columns)), shape=(n, m + n)).tocsr()
    pairs = [_matched(costs, part, m) for part in _parts(near, n + m)]
    first, second = (np.concatenate(of) for of in zip(*pairs, strict=True))
    return first, second


def _parts(near: coo_array, count: int) -> list[NDArray[np.intp]]:
    """The earlier objects in parts that have no later object in common."""
    links = coo_array((np.ones(near.nnz, np.int8), (near.row, near.shape[0] + near.col)), shape=(count, count))
    labels = connected_components(links, directed=False)[1][: near.shape[0]]
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(
        order, np.unique(starts[np.searchsorted(starts, np.arange(AT_ONCE, starts.max(initial=0), AT_ONCE))])
    )


def _matched(costs: csr_array, part: NDArray[np.intp], later: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs of a part of the earlier objects; columns from ``later`` on stand for nothing."""
    own = costs[part]
    columns, places = np.unique(own.indices, return_inverse=True)
    shape = len(part), len(columns)
    first, second = min_weight_full_bipartite_matching(
        csr_array((own.data, places.astype(np.int32), own.indptr), shape)
    )
    paired = columns[second] < later
    return part[first[paired]], columns[second[paired]].astype(np.intp)
