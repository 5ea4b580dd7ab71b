"""A style for QGIS, which it takes by itself from a .qml file beside a layer of the same name."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from fsod.files import write_bytes
from fsod.geo.layer_table import ASK, VERDICT

CATEGORIES = "Symbology|Labeling|Fields|Forms|AttributeTable"
VERSION = "3.22.0"
HEAD_BYTES = 2**12
LINE_MM = "0.5"
LABEL = "coalesce(\"class\", '') || coalesce(' ' || format_number(\"score\", 2), '')"
POLYGONS = "2"
OUTSIDE = "8"
"""QGIS's placement of a label beside its polygon, so that it never covers the object."""

OTHER_COLOUR = (255, 255, 255)
"""RGB of objects of a class that the detector does not have, or of none yet: those that somebody has drawn."""

VERDICTS = {"not judged": "", "yes": "yes", "no": "no"}
"""What the drop-down of a verdict shows -> what it writes."""

Colour = tuple[int, int, int]


def write_style(path: Path, colours: Mapping[str, Colour]) -> None:
    """Boxes without fill, one colour a class, labelled with class and score; a drop-down for verdicts.

    Args:
        path: the layer's name with .qml.
        colours: class name -> RGB, 0..255.

    Raises:
        OSError: the file cannot be written; no half file is left behind.
    """
    style = _categorised("class", colours, LABEL, other=OTHER_COLOUR)
    _drop_down(SubElement(style, "fieldConfiguration"))
    # the attribute table opens with what is best asked first; QGIS fills in the columns that are not named
    table = {"sortExpression": f'"{ASK}"', "sortOrder": "0", "actionWidgetStyle": "dropDown"}
    SubElement(SubElement(style, "attributetableconfig", table), "columns")
    write_bytes(path, _document(style))


def polygon_style(attribute: str, colours: Mapping[str, Colour], label: str, hatched: Container[str] = ()) -> bytes:
    """Polygons, one colour a value of an attribute, as the content of a .qml file.

    Args:
        attribute: whose values tell polygons apart.
        colours: value -> RGB, 0..255.
        label: QGIS's expression of what is written beside each.
        hatched: values whose polygons are; the others are outlines alone, so that what lies below stays in sight.
    """
    return _document(_categorised(attribute, colours, label, hatched))


def is_style(path: Path) -> bool:
    """Whether a file is a style that fsod wrote."""
    with path.open("rb") as file:
        return f'version="{VERSION}" styleCategories="{CATEGORIES}"'.encode() in file.read(HEAD_BYTES)


def _categorised(
    attribute: str,
    colours: Mapping[str, Colour],
    label: str,
    hatched: Container[str] = (),
    other: Colour | None = None,
) -> Element:
    # no version of QGIS made it; this one reads it as it is, and every later one converts from it
    style = Element("qgis", version=VERSION, styleCategories=CATEGORIES, labelsEnabled="1")
    renderer = SubElement(style, "renderer-v2", type="categorizedSymbol", attr=attribute, enableorderby="0")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    shown = [(name, name, colour) for name, colour in colours.items()]
    # QGIS takes no value for all others, and shows nothing of what has no category
    shown += [] if other is None else [("", "other", other)]
    for i, (name, said, colour) in enumerate(shown):
        SubElement(categories, "category", value=name, label=said, symbol=str(i), render="true", type="string")
        symbol = SubElement(symbols, "symbol", type="fill", name=str(i), alpha="1", clip_to_extent="1")
        (_hatching if name in hatched else _outline)(symbol, colour)
    _label(SubElement(style, "labeling", type="simple"), label)
    return style


def _document(style: Element) -> bytes:
    SubElement(style, "layerGeometryType").text = POLYGONS
    ElementTree.indent(style)
    doctype = b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return doctype + ElementTree.tostring(style, encoding="utf-8") + b"\n"


def _hatching(symbol: Element, colour: Colour) -> None:
    layer = SubElement(symbol, "layer", {"class": "SimpleFill"}, enabled="1", locked="0")
    options = SubElement(layer, "Option", type="Map")
    settings = {"color": _rgba(colour), "style": "b_diagonal", "outline_color": _rgba(colour), "outline_style": "solid"}
    for name, value in {**settings, "outline_width": LINE_MM, "outline_width_unit": "MM"}.items():
        SubElement(options, "Option", name=name, type="QString", value=value)


def _outline(symbol: Element, colour: Colour) -> None:
    layer = SubElement(symbol, "layer", {"class": "SimpleLine"}, enabled="1", locked="0")
    options = SubElement(layer, "Option", type="Map")
    settings = {"line_color": _rgba(colour), "line_style": "solid", "line_width": LINE_MM, "line_width_unit": "MM"}
    for name, value in {**settings, "joinstyle": "miter"}.items():
        SubElement(options, "Option", name=name, type="QString", value=value)


def _label(labeling: Element, expression: str) -> None:
    settings = SubElement(labeling, "settings", calloutType="simple")
    white, dark = _rgba((255, 255, 255)), _rgba((20, 20, 20))
    font = {"fontSize": "8", "fontSizeUnit": "Point", "fontWeight": "50", "textColor": white, "textOpacity": "1"}
    text = SubElement(settings, "text-style", font, fieldName=expression, isExpression="1")
    halo = {"bufferSize": "0.8", "bufferSizeUnits": "MM", "bufferColor": dark, "bufferOpacity": "1"}
    SubElement(text, "text-buffer", halo, bufferDraw="1")
    SubElement(settings, "placement", placement=OUTSIDE, dist="0.5", distUnits="MM", priority="5")
    SubElement(settings, "rendering", drawLabels="1", obstacle="1")


def _drop_down(fields: Element) -> None:
    """QGIS's widget "Value Map": a list of maps of one pair each keeps the order."""
    widget = SubElement(
        SubElement(fields, "field", name=VERDICT, configurationFlags="None"), "editWidget", type="ValueMap"
    )
    options = SubElement(SubElement(widget, "config"), "Option", type="Map")
    pairs = SubElement(options, "Option", type="List", name="map")
    for shown, value in VERDICTS.items():
        SubElement(SubElement(pairs, "Option", type="Map"), "Option", type="QString", name=shown, value=value)


def _rgba(colour: Colour) -> str:
    return ",".join(str(v) for v in (*colour, 255))
