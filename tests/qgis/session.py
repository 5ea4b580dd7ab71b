"""What is done in QGIS for the tests, in QGIS's own Python: ``python3 session.py FOLDER`` writes FOLDER/did.json."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

os.environ["QT_QPA_PLATFORM"] = "offscreen"
FOLDER = Path(sys.argv[1])
PLUGINS = FOLDER / "profiles" / "profiles" / "default" / "python" / "plugins"
sys.path[:0] = [str(PLUGINS), "/usr/share/qgis/python/plugins"]

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsExpression,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsRenderContext,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QCoreApplication, QEvent, Qt
from qgis.PyQt.QtGui import QKeyEvent
from qgis.PyQt.QtWidgets import QMainWindow

app = QgsApplication([], True)
app.initQgis()

import processing
from fsod_qgis import classFactory
from fsod_qgis.fsod_setting import EXECUTABLE
from fsod_qgis.judging import Judging
from processing.core.Processing import Processing
from processing.core.ProcessingConfig import ProcessingConfig

Processing.initialize()
window = QMainWindow()
canvas = QgsMapCanvas()
window.setCentralWidget(canvas)
window.resize(900, 600)
iface = Mock()
iface.mainWindow.return_value, iface.mapCanvas.return_value = window, canvas
iface.addDockWidget = window.addDockWidget
plugin = classFactory(iface)
plugin.initGui()
window.show()

project = QgsProject.instance()
PATIENCE_S = 30
SCENE = str(FOLDER / "scene.tif")
BOX = "POLYGON((500010 4999970, 500020 4999970, 500020 4999960, 500010 4999960, 500010 4999970))"


def provider() -> Any:
    """The algorithms that there are."""
    return sorted(one.id() for one in QgsApplication.processingRegistry().providerById("fsod").algorithms())


def memory() -> Any:
    """Enrolls from a layer in memory, in another CRS, with an edit that is not saved."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:3035&field=kind:string&field=class:string", "marks", "memory")
    there = QgsCoordinateTransform(QgsCoordinateReferenceSystem("EPSG:32633"), layer.crs(), project)
    project.addMapLayer(layer)
    layer.startEditing()
    for _ in range(2):
        feature = QgsFeature(layer.fields())
        geometry = QgsGeometry.fromWkt(BOX)
        geometry.transform(there)
        feature.setGeometry(geometry)
        feature.setAttributes(["ship", "x"])
        layer.addFeature(feature)
    given = {"SCENES": [SCENE], "EXAMPLES": [layer.id()], "FIELD": "kind", "OUTPUT": str(FOLDER / "bank.safetensors")}
    processing.run("fsod:enroll", given)
    layer.rollBack()
    return told("examples")


def write_ahead() -> Any:
    """Finetunes with verdicts on a layer that QGIS holds open; its newest rows are not in the file itself yet."""
    path = FOLDER / "held.gpkg"
    path.write_bytes((FOLDER / "detections.gpkg").read_bytes())
    layer = QgsVectorLayer(str(path), "held", "ogr")
    project.addMapLayer(layer)
    layer.startEditing()
    field = layer.fields().lookupField("verdict")
    for feature in layer.getFeatures():
        layer.changeAttributeValue(feature.id(), field, "yes")
    layer.commitChanges()
    wal = Path(f"{path}-wal")
    held = wal.is_file() and wal.stat().st_size > 0
    raster = QgsRasterLayer(f"/vsizip/{FOLDER}/scene.zip/scene.tif", "zipped")
    project.addMapLayer(raster)
    detector = FOLDER / "learned.safetensors"
    given = {"SCENES": [raster.id()], "VERDICTS": [layer.id()], "MINUTES": 0.5, "OUTPUT": str(detector)}
    processing.run("fsod:finetune", given)
    return {"held": held, **told("verdicts")}


def nonsense() -> Any:
    """What is said of things that cannot be taken."""
    table = QgsVectorLayer("None?field=class:string", "prices", "memory")
    shapes = QgsVectorLayer("Polygon?crs=EPSG:4326&field=name:string", "parcels", "memory")
    project.addMapLayers([table, shapes])
    bank = str(FOLDER / "any.safetensors")
    said = {
        "table": refused("fsod:enroll", {"SCENES": [SCENE], "EXAMPLES": [table.id()], "OUTPUT": bank}),
        "attribute": refused("fsod:enroll", {"SCENES": [SCENE], "EXAMPLES": [shapes.id()], "OUTPUT": bank}),
        "nothing": refused("fsod:enroll", {"SCENES": [SCENE], "OUTPUT": bank}),
        "scene": refused("fsod:find", {"INPUT": "/gone/scene.tif", "BANK": bank, "OUTPUT": str(FOLDER / "f.gpkg")}),
    }
    ProcessingConfig.settings[EXECUTABLE].value = "/gone/fsod"  # it was there when it was set
    able, said["fsod"] = QgsApplication.processingRegistry().createAlgorithmById("fsod:find").canExecute()
    ProcessingConfig.settings[EXECUTABLE].value = ""
    return {**said, "able": able}


def finding() -> Any:
    """Finds inside an extent; the layer comes into the project with its style."""
    given = {"INPUT": SCENE, "BANK": str(FOLDER / "bank.safetensors"), "OUTPUT": str(FOLDER / "found.gpkg")}
    extent = "500000,500040,4999940,5000000 [EPSG:32633]"
    result = processing.runAndLoadResults("fsod:find", {**given, "EXTENT": extent, "SCORE": 0.25})
    layer = project.mapLayer(result["OUTPUT"]) or next(
        one for one in project.mapLayers().values() if one.source().startswith(given["OUTPUT"])
    )
    remembered = json.loads(layer.customProperty("fsod/find"))
    seen = {"name": layer.name(), "style": layer.renderer().type(), "remembered": remembered}
    seen["drawn"] = [drawn(layer, name, score) for name, score in (("ship", 0.5), ("boat", None), (None, None))]
    return {"found": result["FOUND"], **seen, **told("aoi")}


def finding_on_a_picture() -> Any:
    """Finds on a raster without a coordinate system; nothing is to be placed anywhere, whatever the file says."""
    placed: list[str] = []

    def note(layers: list[Any]) -> None:
        placed.extend(layer.crs().authid() for layer in layers)

    project.layersAdded.connect(note)
    given = {
        "INPUT": str(FOLDER / "picture.png"),
        "BANK": str(FOLDER / "bank.safetensors"),
        "OUTPUT": "TEMPORARY_OUTPUT",
    }
    processing.runAndLoadResults("fsod:find", given)
    many = {"INPUT": [given["INPUT"]], "BANK": given["BANK"], "FOLDER": str(FOLDER / "many")}
    processing.runAndLoadResults("fsod:findmany", many)
    project.layersAdded.disconnect(note)
    names = [layer.name() for layer in project.mapLayers().values() if layer.name().startswith("picture")]
    return {"placed": placed, "names": names}


class Cancelling(QgsProcessingFeedback):
    """Cancels once the program has begun."""

    def isCanceled(self) -> bool:
        return (FOLDER / "slow").read_text() == "started"


def cancelling() -> Any:
    """Cancels what would never end."""
    (FOLDER / "slow").write_text("")
    given = {"INPUT": SCENE, "BANK": str(FOLDER / "bank.safetensors"), "OUTPUT": str(FOLDER / "never.gpkg")}
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("fsod:find")
    context = QgsProcessingContext()
    context.setProject(project)
    result, _ = algorithm.run(given, context, Cancelling(False))
    state = (FOLDER / "slow").read_text()
    (FOLDER / "slow").unlink()
    return {"result": result, "state": state}


def judging() -> Any:
    """Goes through detections by keys, on a map of another CRS."""
    raster = QgsRasterLayer(SCENE, "scene")
    path = FOLDER / "judged.gpkg"
    path.write_bytes((FOLDER / "detections.gpkg").read_bytes())
    layer = QgsVectorLayer(str(path), "judged", "ogr")
    project.addMapLayers([raster, layer])
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    dock, panel = plugin.dock, plugin.dock.judge
    dock.setUserVisible(True)
    QCoreApplication.processEvents()
    panel.choose(layer)
    shown = []
    for key in "YNSBS":
        shown.append([panel.judging.feature()["ask"], sees(panel.judging.feature(), layer)])
        press(canvas if key != "N" else dock, key)
    there = QgsVectorLayer(str(path), "again", "ogr")
    verdicts = {feature["ask"]: feature["verdict"] or "" for feature in there.getFeatures()}
    counts = panel.judging.counts
    return {"shown": shown, "verdicts": verdicts, "counts": [counts.yes, counts.no, counts.total], "text": texts(panel)}


def drawing() -> Any:
    """Draws an object that was missed, which has neither class nor score yet, and goes on to it; then takes it back."""
    panel = plugin.dock.judge
    layer = panel.layer
    layer.startEditing()
    feature = QgsFeature(layer.fields())
    feature.setGeometry(QgsGeometry.fromWkt(BOX))
    layer.addFeature(feature)
    shown = []
    for key in "SSY":
        shown.append(str(panel._what.text()))
        press(canvas, key)
    counts = panel.judging.counts
    layer.rollBack()
    return {"shown": shown, "counts": [counts.yes, counts.no, counts.total], "after": panel.judging.counts.total}


def judging_in_a_checkbox() -> Any:
    """Judges a layer whose verdicts are true or false."""
    layer = QgsVectorLayer(str(FOLDER / "checkbox.gpkg"), "checkbox", "ogr")
    judging = Judging(layer)
    judging.judge("yes")
    layer.startEditing()
    judging.judge("no")
    layer.commitChanges()
    there = QgsVectorLayer(layer.source(), "again", "ogr")
    return {feature["ask"]: str(feature["verdict"]) for feature in there.getFeatures()}


def learning() -> Any:
    """Lets fsod learn from the judged layer, and waits for what it finds then."""
    dock = plugin.dock
    layer = dock.judge.layer
    layer.setCustomProperty("fsod/find", json.dumps({"INPUT": SCENE, "BANK": str(FOLDER / "old.safetensors")}))
    dock.learn.take(layer)
    dock.learn.learn()
    deadline_s = time.monotonic() + PATIENCE_S
    while dock.learn._learning.at_work and time.monotonic() < deadline_s:
        QCoreApplication.processEvents()
        time.sleep(0.02)
    files = sorted(path.name for path in FOLDER.glob("*_2*"))
    return {"layer": dock.judge.layer.name(), "files": files, "status": dock.learn._status.text(), **told("")}


def reporting() -> Any:
    """Reports a layer of a GeoPackage that has others, and the only one of another."""
    names = {}
    for source in (f"{FOLDER}/several.gpkg|layername=ships 2026", f"{FOLDER}/detections.gpkg"):
        layer = QgsVectorLayer(source, "found", "ogr")
        project.addMapLayer(layer)
        processing.run("fsod:report", {"INPUT": layer.id(), "OUTPUT": str(FOLDER / "page.html")})
        arguments = told("")["arguments"]
        names[Path(arguments[1]).name] = arguments[2:4]
    return names


def press(widget: Any, key: str) -> None:
    """As a person would."""
    code = getattr(Qt.Key, f"Key_{key}")
    event = QKeyEvent(QEvent.Type.KeyPress, code, Qt.KeyboardModifier.NoModifier)
    QCoreApplication.sendEvent(widget, event)


def sees(feature: Any, layer: Any) -> bool:
    """Whether the map is zoomed to a feature."""
    there = QgsCoordinateTransform(layer.crs(), canvas.mapSettings().destinationCrs(), project)
    bounds: QgsRectangle = there.transformBoundingBox(feature.geometry().boundingBox())
    return bool(canvas.extent().contains(bounds)) and canvas.extent().width() < 20 * bounds.width()


def texts(panel: Any) -> str:
    """What the panel says of the count."""
    return str(panel._judged.text())


def drawn(layer: Any, class_name: str | None, score: float | None) -> Any:
    """How the map shows an object: the colour of its outline, empty for none, and what is written beside it."""
    feature = QgsFeature(layer.fields())
    feature["class"], feature["score"] = class_name, score
    renderer, context = layer.renderer().clone(), QgsRenderContext()
    renderer.startRender(context, layer.fields())
    context.expressionContext().setFeature(feature)
    symbol = renderer.symbolForFeature(feature, context)
    colour = "" if symbol is None else symbol.color().name()
    text = QgsExpression(layer.labeling().settings().fieldName).evaluate(context.expressionContext())
    renderer.stopRender(context)
    return [colour, text]


def told(option: str) -> dict[str, Any]:
    """What the program was given last."""
    arguments = json.loads((FOLDER / "given" / "arguments.json").read_text())
    copy = FOLDER / "given" / f"{option}.gpkg"
    if not copy.is_file():
        return {"arguments": arguments}
    layer = QgsVectorLayer(str(copy), "copy", "ogr")
    rows = [feature.attributes()[1:] for feature in layer.getFeatures()]
    return {"arguments": arguments, "crs": layer.crs().authid(), "rows": rows}


def refused(algorithm: str, parameters: dict[str, Any]) -> str:
    """What an algorithm says against these parameters."""
    feedback = QgsProcessingFeedback(False)
    try:
        processing.run(algorithm, parameters, feedback=feedback)
    except QgsProcessingException as error:
        return f"{error} {feedback.textLog()}"
    return ""


def main() -> None:
    did: dict[str, Any] = {}
    scenes: list[Callable[[], Any]] = [provider, memory, write_ahead, nonsense, finding]
    scenes += [finding_on_a_picture, cancelling, judging, drawing, learning, reporting, judging_in_a_checkbox]
    for scene in scenes:
        try:
            did[scene.__name__] = scene()
        except Exception:  # noqa: BLE001, the tests tell it
            did[scene.__name__] = {"failed": traceback.format_exc()}
    plugin.unload()
    (FOLDER / "did.json").write_text(json.dumps(did, default=str))
    os._exit(0)  # QGIS's own end outside its window is not what is tested


main()
