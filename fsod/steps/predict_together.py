"""What was found in a scene, or in overlapping scenes together, with what would have been missed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fsod.geo.ask_order import ask_order
from fsod.geo.joint_layer import JointLayer, each_object_once, joint_km2
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer, Value
from fsod.geo.qgis_style import write_style
from fsod.geo.scene_list import short_name
from fsod.geo.scene_prediction import SceneResult
from fsod.geo.searched_layer import SearchedLayer, remove_searched, write_searched
from fsod.marks import class_colour
from fsod.progress import warn
from fsod.steps.predict_outputs import remove_item, remove_pictures
from fsod.steps.scene_sayings import say_how_far, what_was_missed
from fsod.steps.searcher import Searcher


def layer_of(result: SceneResult, searcher: Searcher) -> Layer:
    """What was found in a scene as a table that is to be judged, with what found it."""
    attributes = {
        "weights": searcher.weights_sha256[:12],
        "bank": searcher.bank_sha256[:12],
        "gsd_m": result.gsd_m,
        "time": result.started,
    }
    told = result.upright.boxes_in_file(searcher.told_xyxy_px(result.scene))
    ask = ask_order(result.detections, searcher.proposed_scores, told)
    size_px, name = (result.width_px, result.height_px), short_name(result.scene)
    return Layer(result.detections, searcher.class_names, result.georeference, name, size_px, attributes, ask)


def write_together(results: Mapping[str, SceneResult], searcher: Searcher, out: Path) -> dict[str, Any]:
    """Writes one layer of what was found in overlapping scenes, each object once, and one of what was searched.

    Args:
        results: of each scene, all with a place on the ground.
        searcher: that found it.
        out: the layer.
    """
    names = searcher.class_names
    attributes: dict[str, Value] = {
        "weights": searcher.weights_sha256[:12],
        "bank": searcher.bank_sha256[:12],
        "time": min(result.started for result in results.values()),
    }
    layers, parts = [], []
    for result in results.values():
        layer = layer_of(result, searcher)
        layers.append(layer)
        parts.append(SearchedLayer(result.area, result.georeference, layer.scene, layer.attributes))
    stays = each_object_once(layers, searcher.suppression.nms_iou, searcher.suppression.rival_iou)
    layers = _asked_in_turn(
        [
            replace(layer, detections=layer.detections.select(own), ask=None if layer.ask is None else layer.ask[own])
            for layer, own in zip(layers, stays, strict=True)
        ]
    )
    found = [names[c] for layer in layers for c in layer.detections.class_ids]
    counts = {name: found.count(name) for name in names}
    searched_km2, total_km2 = joint_km2(parts)
    words = f"searched {searched_km2:.3g} of {total_km2:.3g} km2 in {len(parts)} scenes"
    told_of_all = what_was_missed(words, searcher, counts, results.values())
    write_layer(out, JointLayer(layers, attributes))
    remove_searched(out)
    remove_item(out)
    parts = [replace(part, attributes={**part.attributes, **told_of_all}) for part in parts]
    write_searched(out, JointLayer(parts, {**attributes, **told_of_all}))
    write_style(out.with_suffix(".qml"), {name: class_colour(i) for i, name in enumerate(names)})
    remove_pictures(out)
    warnings = [warning for result in results.values() for warning in result.warnings]
    warn([warning for result in results.values() for warning in result.warnings if warning not in result.unlike])
    for result in results.values():
        say_how_far(result)
    return {
        "layer": str(out),
        "scenes": list(results),
        "found": counts,
        "found_twice": int(sum((~own).sum() for own in stays)),
        "searched": told_of_all["summary"],
        "windows_run": sum(result.windows_run for result in results.values()),
        "windows_resumed": sum(result.windows_resumed for result in results.values()),
        "windows_left": sum(result.windows_left for result in results.values()),
        "damaged": [window for result in results.values() for window in result.damaged],
        "warnings": warnings,
        "seconds": sum(result.seconds for result in results.values()),
        "machine": searcher.machine,
    }


def _asked_in_turn(layers: list[Layer]) -> list[Layer]:
    """Ranks of all scenes in one order: the first of each scene, then the second of each."""
    ranks = [
        np.argsort(np.argsort(layer.ask, kind="stable"), kind="stable") for layer in layers if layer.ask is not None
    ]
    scenes = np.repeat(np.arange(len(ranks)), [len(own) for own in ranks])
    order = np.lexsort((scenes, np.concatenate(ranks)))
    ask = np.empty(len(order), np.int64)
    ask[order] = np.arange(1, len(order) + 1)
    split = np.split(ask, np.cumsum([len(own) for own in ranks])[:-1])
    return [replace(layer, ask=own) for layer, own in zip(layers, split, strict=True)]
