from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from fsod.geo.qgis_style import write_style
from fsod.marks import class_colour

NAMES = ("storage tank", 'Straße, "x" <&>\'')


def written(path: Path) -> ElementTree.Element:
    write_style(path, {name: class_colour(i) for i, name in enumerate(NAMES)})
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE qgis")
    return ElementTree.parse(path).getroot()


def test_a_class_has_the_outline_that_it_has_in_the_picture(tmp_path: Path) -> None:
    renderer = written(tmp_path / "found.qml").find("renderer-v2[@type='categorizedSymbol'][@attr='class']")
    assert renderer is not None
    categories = renderer.findall("categories/category")
    assert [c.get("value") for c in categories] == [*NAMES, ""]  # QGIS's value for all others
    for i, category in enumerate(categories[: len(NAMES)]):
        layers = renderer.findall(f"symbols/symbol[@name='{category.get('symbol')}']/layer")
        # lines only: a fill would hide the object
        assert [layer.get("class") for layer in layers] == ["SimpleLine"]
        colour = layers[0].find("Option/Option[@name='line_color']")
        assert colour is not None
        assert colour.get("value") == ",".join(map(str, (*class_colour(i), 255)))


def test_labels_are_class_and_score(tmp_path: Path) -> None:
    style = written(tmp_path / "found.qml")
    text = style.find("labeling[@type='simple']/settings/text-style")
    assert style.get("labelsEnabled") == "1"
    assert text is not None
    assert text.get("isExpression") == "1"
    assert text.get("fieldName") == "coalesce(\"class\", '') || coalesce(' ' || format_number(\"score\", 2), '')"


def test_a_verdict_is_chosen_from_a_list(tmp_path: Path) -> None:
    """As QGIS 3.22 writes a field with the widget Value Map."""
    style = written(tmp_path / "found.qml")
    assert {"Fields", "Forms", "AttributeTable"} <= set(style.get("styleCategories", "").split("|"))
    options = style.findall(
        "fieldConfiguration/field[@name='verdict']/editWidget[@type='ValueMap']/config/Option[@type='Map']"
        "/Option[@name='map'][@type='List']/Option[@type='Map']/Option[@type='QString']"
    )
    assert [(o.get("name"), o.get("value")) for o in options] == [("not judged", ""), ("yes", "yes"), ("no", "no")]
    table = style.find("attributetableconfig[@sortOrder='0']")
    assert table is not None
    assert table.get("sortExpression") == '"ask"'


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_style(tmp_path / "found.qml", {"a": (1, 2, 3)})
    assert not list(tmp_path.iterdir())
