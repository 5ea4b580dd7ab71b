"""Which raster a layer of detections was made of. The layer knows its name; where it lies has to be found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fsod.draw import is_preview
from fsod.geo.features import VectorFile, layer_in
from fsod.geo.scene_list import kept_name, short_name
from fsod.geo.verdicts import judged_scenes


def scene_of_layer(layer: VectorFile, name: str, marked: Sequence[str] = ()) -> Path | None:
    """The raster of a name: beside its layer, in the working folder, where scenes with marks lie, or beside these.

    A layer may come from anyone, so its name leads into no other folder. The picture of a scene ``s.png`` that lies beside its
    layer ``s.gpkg`` has the scene's name, but is not the scene.

    Args:
        layer: the file.
        name: of the scene, as the layer has it.
        marked: scenes with the marks that the layer's bank was made from.
    """
    name, scenes = Path(name).name, [Path(scene) for scene in marked]
    places = [
        Path(layer).parent / name,
        Path(name),
        *(scene for scene in scenes if scene.name == name),
        *(scene.parent / name for scene in scenes),
    ]
    return next((place for place in places if name and place.is_file() and not is_preview(place)), None)


def scenes_judged(layers: Sequence[VectorFile], layer: str | None, marked: Sequence[str]) -> list[str]:
    """The rasters that verdicts are on, beyond those marked; those that are not found are left out.

    Args:
        layers: judged layers of ``fsod predict``.
        layer: which layer to read of those files that have several.
        marked: scenes that are known already.

    Raises:
        UserError: as of ``judged_scenes``.
    """
    known = {kept_name(scene) for scene in marked}
    names = {short_name(scene) for scene in marked}
    found: dict[str, None] = {}
    for path in layers:
        for name in judged_scenes(path, layer=layer_in(path, layer)):
            if name in names and not (Path(path).parent / name).is_file():
                continue  # the marked one
            scene = scene_of_layer(path, name, marked)
            if scene is not None and kept_name(str(scene)) not in known:
                found[str(scene)] = None
    return list(found)
