"""Detections of overlapping scenes as one layer: what two of them show is one object, found on the ground.

The rules are those of windows (``fsod.geo.merge``), with scenes in their place:

1. A box that touches the edge of its scene is cut. It is dropped if it lies for the most part in an uncut box of its class
   that another scene shows.
2. Boxes of one class from different scenes compete by greedy NMS. Boxes of one scene do not: its search has settled those.
3. Where boxes of different classes from different scenes overlap almost wholly, the better supported one stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyproj
import shapely
from geopandas import GeoDataFrame, GeoSeries
from numpy.typing import NDArray

from fsod.boxes import area_px
from fsod.geo.antimeridian import joined_at_180
from fsod.geo.boxes_elsewhere import boxes_elsewhere
from fsod.geo.ground_frame import laid_out, plane_around
from fsod.geo.layer_files import Framed
from fsod.geo.layer_table import Layer, Value
from fsod.geo.scene_nms import nms_scene, touching_pairs
from fsod.geo.searched_area import SEARCHED
from fsod.geo.searched_layer import SearchedLayer
from fsod.geo.sightings import MOSTLY

EDGE_PX = 4.0
"""A box this close to the edge of its scene counts as cut, as at the edge of a window."""


def each_object_once(layers: Sequence[Layer], iou_threshold: float, rival_iou: float) -> list[NDArray[np.bool_]]:
    """Which detections of each scene stay, (n,) bool each.

    Boxes are compared in the pixels of the first scene, as the upright boxes around them there.

    Args:
        layers: of the scenes, all with a CRS and the same classes.
        iou_threshold: boxes of one class that overlap more are one object (0..1).
        rival_iou: boxes of different classes that overlap more are one object (0..1).
    """
    boxes = np.concatenate([_in_first(layer, layers[0]) for layer in layers])
    found = [layer.detections for layer in layers]
    scores = np.concatenate([own.scores for own in found])
    class_ids = np.concatenate([own.class_ids for own in found])
    sources = np.repeat(np.arange(len(layers)), [len(own) for own in found]).astype(np.int64)
    cut = np.concatenate([_is_cut(layer) for layer in layers])
    # what has no place in the first scene's CRS is far away from it
    near = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    stays = np.ones(len(boxes), np.bool_)
    for pairs in touching_pairs(boxes[near], class_ids[near]):
        for a, b in ((near[pairs[:, 0]], near[pairs[:, 1]]), (near[pairs[:, 1]], near[pairs[:, 0]])):
            sides = np.minimum(boxes[a, 2:], boxes[b, 2:]) - np.maximum(boxes[a, :2], boxes[b, :2])
            shared = np.prod(np.clip(sides, 0, None), axis=1)
            part = cut[a] & ~cut[b] & (sources[a] != sources[b]) & (shared > MOSTLY * area_px(boxes[a]))
            stays[a[part]] = False
    for ids, threshold in ((class_ids, iou_threshold), (np.zeros_like(class_ids), rival_iou)):
        left = near[stays[near]]
        stays[left] = nms_scene(boxes[left], scores[left], ids[left], threshold, sources[left])
    ends = np.cumsum([len(own) for own in found])[:-1]
    return np.split(stays, ends)


def _in_first(layer: Layer, first: Layer) -> NDArray[np.float64]:
    """Boxes (n, 4) of a scene in the pixels of another one."""
    boxes = layer.detections.boxes_xyxy_px
    if layer is first or not len(boxes):
        return boxes
    return boxes_elsewhere(boxes, layer.georeference, first.georeference, first.size_px)


def _is_cut(layer: Layer) -> NDArray[np.bool_]:
    boxes = layer.detections.boxes_xyxy_px
    return np.asarray(
        (boxes[:, :2] <= EDGE_PX).any(axis=1) | (boxes[:, 2:] >= np.array(layer.size_px) - EDGE_PX).any(axis=1)
    )


@dataclass(frozen=True)
class JointLayer:
    """Layers of several scenes as one, in the coordinate system of the first.

    Attributes:
        parts: of each scene: its detections, or what was searched of it.
        attributes: what all of them share.
    """

    parts: Sequence[Layer] | Sequence[SearchedLayer]
    attributes: Mapping[str, Value]

    @property
    def run(self) -> dict[str, Value]:
        """What all rows share."""
        return {"scene": ", ".join(part.scene for part in self.parts), **self.attributes}

    def frame(self, *, lonlat: bool) -> GeoDataFrame:
        """A row a row of each part, see there."""
        frames = [part.frame(lonlat=lonlat) for part in self.parts]
        crs = frames[0].crs
        parts: list[Framed] = [*self.parts]
        for i, part in enumerate(parts):
            if crs.is_geographic and not frames[i].crs.is_geographic:
                frames[i] = _in_degrees(
                    part.frame(lonlat=True), crs, multi=(frames[i].geom_type == "MultiPolygon").any()
                )
        return GeoDataFrame(pd.concat([frame.to_crs(crs) for frame in frames], ignore_index=True))


def _in_degrees(lonlat: GeoDataFrame, crs: pyproj.CRS, *, multi: bool) -> GeoDataFrame:
    """Features in longitude and latitude in another geographic CRS, those that were cut at 180 in one piece again.

    Taken there from metres, a shape across 180 would be laid around the globe.
    """
    whole = [joined_at_180(shape) for shape in lonlat.to_crs(crs).geometry]
    shapes = whole if multi else [shapely.get_parts(shape)[0] if shape is not None else None for shape in whole]
    return lonlat.set_geometry(GeoSeries(shapes, index=lonlat.index, crs=crs))


def joint_km2(parts: Sequence[SearchedLayer]) -> tuple[float, float]:
    """How much ground was searched, and how much there is; what two scenes show counts once."""
    frames = [part.frame(lonlat=True) for part in parts]
    whole = GeoSeries([shape for frame in frames for shape in frame.geometry], crs=frames[0].crs)
    seen = np.concatenate([(frame["status"] == SEARCHED).to_numpy() for frame in frames])
    placed = laid_out(whole, plane_around(whole))
    return float(shapely.union_all(placed[seen]).area / 1e6), float(shapely.union_all(placed).area / 1e6)
