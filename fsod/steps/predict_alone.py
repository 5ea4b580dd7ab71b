"""All that is written of one scene: its layer, what was searched, style, STAC item and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsod.config import PredictSettings
from fsod.draw import PREVIEW_MARK, hatched, scene_preview, write_png
from fsod.errors import UserError
from fsod.geo.label_item import write_label_item
from fsod.geo.layer_files import ON_A_MAP, write_layer
from fsod.geo.pixels import OVERVIEW_PX
from fsod.geo.qgis_style import write_style
from fsod.geo.scene_list import kept_name
from fsod.geo.scene_opening import open_scene
from fsod.geo.scene_prediction import SceneResult
from fsod.geo.searched_area import STATUSES
from fsod.geo.searched_layer import PART_COLOURS, SearchedLayer, remove_searched, write_searched
from fsod.geo.stac_scenes import StacScene
from fsod.marks import class_colour
from fsod.progress import warn
from fsod.report.scene_report import write_overview
from fsod.steps.predict_outputs import picture_path, remove_item, remove_pictures
from fsod.steps.predict_together import layer_of
from fsod.steps.scene_sayings import nothing_found, say_how_far, what_was_missed
from fsod.steps.searcher import Searcher


def write_alone(
    result: SceneResult, searcher: Searcher, out: Path, plan: PredictSettings, source: StacScene | None
) -> dict[str, Any]:
    """Writes what was found in one scene and all that belongs to it.

    Args:
        result: of the scene.
        searcher: that found it.
        out: the layer.
        plan: of the search.
        source: the STAC item that the scene is an asset of.

    Returns:
        All about the search, for the user to read.
    """
    names = searcher.class_names
    layer = layer_of(result, searcher)
    write_layer(out, layer)
    remove_searched(out)  # who is killed before it is written again has none
    if plan.stac:
        if source is None or not source.item:
            write_label_item(out, layer, kept_name(result.scene), None)
        else:
            write_label_item(out, layer, source.item, source.asset)
    else:
        remove_item(out)
    found = [names[c] for c in result.detections.class_ids]
    counts = {name: found.count(name) for name in names}
    searched = SearchedLayer(result.area, result.georeference, layer.scene, layer.attributes)
    searched = searched.saying(what_was_missed(searched.said, searcher, counts, [result]))
    write_searched(out, searched)
    if out.suffix.lower() in ON_A_MAP:
        write_style(out.with_suffix(".qml"), {name: class_colour(i) for i, name in enumerate(names)})
    picture, unseen = None, list[str]()
    if plan.pictures:
        picture, unseen = _write_preview(result, plan, searcher, out, searched)
    if picture is None:
        remove_pictures(out)
    warnings = [*result.warnings, *nothing_found(result, searcher), *unseen]
    warn([warning for warning in warnings if warning not in result.unlike])
    say_how_far(result)
    return {
        "layer": str(out),
        "preview": picture,
        "found": counts,
        "scores": {name: round(score, 4) for name, score in zip(names, searcher.scores, strict=True)},
        "searched": searched.attributes["summary"],
        "parts": {status: round(result.area.share(status), 6) for status in result.area.parts_px},
        "windows_run": result.windows_run,
        "windows_blank": result.windows_blank,
        "windows_outside": result.windows_outside,
        "windows_resumed": result.windows_resumed,
        "windows_left": result.windows_left,
        "windows_glanced": result.windows_glanced,
        "damaged": list(result.damaged),
        "warnings": warnings,
        "gsd_m": result.gsd_m,
        "seconds": result.seconds,
        "seconds_detecting": result.seconds_detecting,
        "machine": searcher.machine,
    }


def _write_preview(
    result: SceneResult, plan: PredictSettings, searcher: Searcher, out: Path, searched: SearchedLayer
) -> tuple[str | None, list[str]]:
    """Draws what was found over the whole scene, and the scene without it for the report, beside the layer ``out``.

    What was not searched is hatched in both.

    A scene that is damaged may have no such pictures, and then says so.
    """
    try:
        rgb = result.overview if result.overview is not None else _made_small(result.scene, plan, searcher)
    except UserError as error:
        return None, [f"no picture: {error}"]
    scale, names = rgb.shape[1] / result.width_px, list(searcher.class_names)
    rgb = hatched(rgb, result.area.drawn(rgb.shape[:2]), [PART_COLOURS[status] for status in STATUSES[1:]])
    parts = [
        (PART_COLOURS[status], f"{status} {result.area.share(status):.1%}")
        for status in result.area.parts_px
        if status in PART_COLOURS
    ]
    told = [
        (str(searched.attributes["summary"]), ""),
        *((text, "#{:02x}{:02x}{:02x}".format(*colour)) for colour, text in parts),
    ]
    write_overview(out, rgb, (result.width_px, result.height_px), names, told)
    path = picture_path(out)
    write_png(path, scene_preview(rgb, result.detections, scale, names, parts, searched.said), PREVIEW_MARK)
    return str(path), []


def _made_small(name: str, plan: PredictSettings, searcher: Searcher) -> NDArray[np.uint8]:
    """The file as it is stored made small."""
    with open_scene(
        name, bands=plan.bands, nodata=plan.nodata, like=searcher.shown, toned=False, north_up=False
    ) as scene:
        return scene.read_reduced(OVERVIEW_PX)[0]
