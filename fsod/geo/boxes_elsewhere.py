"""Boxes of one raster as boxes of another one that shows the same ground."""

from __future__ import annotations

import numpy as np
import pyproj
from numpy.typing import NDArray

from fsod.geo.georeference import Georeference
from fsod.geo.layer_table import corners_px


def boxes_elsewhere(
    boxes_xyxy_px: NDArray[np.float64], own: Georeference, other: Georeference, other_size_px: tuple[int, int]
) -> NDArray[np.float64]:
    """The upright boxes (n, 4) around them in the pixels of the other raster, not clipped to it.

    Args:
        boxes_xyxy_px: (n, 4) in pixels of the first one.
        own: of the first one, with a CRS.
        other: of the other one, with a CRS.
        other_size_px: width and height of the other one.

    Returns:
        NaN or infinite for a box that has no place in the other one's CRS.
    """
    xy = own.to_crs(corners_px(boxes_xyxy_px)[:, :4].reshape(-1, 2))
    if own.crs != other.crs:
        there = pyproj.Transformer.from_crs(own.crs, other.crs, always_xy=True).transform(xy[:, 0], xy[:, 1])
        xy = np.stack(there, axis=1)
    if other.crs is not None and other.crs.is_geographic:
        lon = xy[:, 0].reshape(-1, 4)
        if own.crs != other.crs:  # across 180 its corners have come out on both sides of the globe
            lon = lon[:, :1] + (lon - lon[:, :1] + 180) % 360 - 180
        # the same place is -160 degrees in most files and 200 in a raster of 0..360
        middle_deg = other.to_crs(np.array([other_size_px]) / 2)[0, 0]
        xy[:, 0] = (lon + 360 * np.round((middle_deg - lon[:, :1]) / 360)).ravel()
    corners = other.to_pixels(xy).reshape(-1, 4, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
