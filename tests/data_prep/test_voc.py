import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.source import Problem
from data_prep.source_files import read_list
from data_prep.voc import prepare_voc, prepare_voc_edges
from fsod.data.coco_folder import load_folder, read_ids
from fsod.errors import UserError
from tests.painted import BOTTOM, LEFT, RIGHT, TOP, assert_boxes_cover_the_paint, paint, read_or_refused, voc_xml, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """VOC2007 in miniature: a float coordinate, a part inside an object, class lists beside the official ones."""
    root = tmp_path / "VOC2007"
    for stem in ("000005", "000007", "000009"):
        paint(root / "JPEGImages" / f"{stem}.jpg")
    # the development kit: the first pixel is 1, the last pixel inside is xmax
    inside = (LEFT + 1, TOP + 1, RIGHT, BOTTOM)
    write(root / "Annotations" / "000005.xml", voc_xml([("ship", *inside)], extra="<difficult>0</difficult>"))
    part = "<part><name>mast</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    write(
        root / "Annotations" / "000007.xml",
        voc_xml([("boat", *inside[:3], "24.0")], extra=f"<difficult>1</difficult>{part}"),
    )
    write(root / "Annotations" / "000009.xml", '<?xml version="1.0" encoding="gbk"?>\n' + voc_xml([("ship", *inside)]))
    lists = root / "ImageSets" / "Main"
    write(lists / "train.txt", "000007\r\n000005\r\n")
    write(lists / "test.txt", "000009\n\n")
    write(lists / "ship_train.txt", "000005  1\n000007 -1\n")
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "prepared" / "voc"


def test_lists_name_images_with_spaces_and_may_go_on_after_the_name(tmp_path: Path) -> None:
    path, problems = tmp_path / "train.txt", list[Problem]()
    write(path, "port 1\nport 2  -1\nport 1\nsea\t1\nport\nbay ship\nnone 1\n")
    found = read_list(path, ["port", "port 1", "port 2", "sea", "bay"], problems)
    assert found == ["port 1", "port 2", "port 1", "sea", "port", "bay"]
    assert [problem.line for problem in problems] == [7]


def test_classes_that_differ_in_capitals_alone_are_said(
    source: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = source / "Annotations" / "000009.xml"
    path.write_text(path.read_text().replace("gbk", "latin-1").replace("ship", "Ship"))
    (said,) = prepare_voc(source, out)["warnings"]
    assert said.startswith("classes 'Ship' and 'ship' differ in capitals alone")
    assert f"warning: {said}" in capsys.readouterr().err


def test_round_trip(source: Path, out: Path) -> None:
    # expat reads one-byte encodings only; the same text in latin-1 is one
    path = source / "Annotations" / "000009.xml"
    path.write_text(path.read_text().replace("gbk", "latin-1"))
    card = prepare_voc(source, out)
    folder = load_folder(out)
    assert folder.class_names == ("boat", "ship")
    assert [image.path.name for image in folder.images] == ["000005.jpg", "000007.jpg", "000009.jpg"]
    assert (card["images"], card["boxes"], card["boxes_difficult"], card["refused"]) == (3, 3, 1, [])
    assert [a.get("difficult") for a in json.loads((out / "annotations.json").read_text())["annotations"]] == [
        None,
        1,
        None,
    ]
    assert read_ids(out / "splits" / "train.txt") == ["000007", "000005"]
    assert sorted(p.name for p in (out / "splits").iterdir()) == ["test.txt", "train.txt"]
    assert_boxes_cover_the_paint(folder)
    assert (out / "images" / "000005.jpg").read_bytes() == (source / "JPEGImages" / "000005.jpg").read_bytes()


def test_edges_count_from_zero(source: Path, out: Path) -> None:
    for stem in ("000005", "000007", "000009"):
        write(source / "Annotations" / f"{stem}.xml", voc_xml([("ship", LEFT, TOP, RIGHT, BOTTOM)]))
    prepare_voc_edges(source, out)
    assert_boxes_cover_the_paint(load_folder(out))


def test_the_whole_image_is_a_box_in_both_counts(source: Path, out: Path) -> None:
    write(source / "Annotations" / "000005.xml", voc_xml([("ship", 1, 1, 60, 40)]))
    write(source / "Annotations" / "000009.xml", voc_xml([("ship", 1, 1, 60, 40)]))
    prepare_voc(source, out)
    assert load_folder(out).images[0].boxes_xyxy_px.tolist() == [[0, 0, 60, 40]]
    write(source / "Annotations" / "000005.xml", voc_xml([("ship", 0, 0, 60, 40)]))
    prepare_voc_edges(source, out.with_name("edges"))
    assert load_folder(out.with_name("edges")).images[0].boxes_xyxy_px.tolist() == [[0, 0, 60, 40]]
    with pytest.raises(UserError, match=r"000005\.xml:4: 'ship' begins at \(0,0\), but VOC counts from 1"):
        prepare_voc(source, out.with_name("ones"))


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]>\n<annotation>&c;</annotation>'
OUTSIDE = (
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>\n<annotation><object><name>&b;</name></object></annotation>'
)


@pytest.mark.parametrize(
    ("xml", "line", "why"),
    [
        (BOMB, 1, "document type declaration"),
        (OUTSIDE, 1, "document type declaration"),
        ("<annotation>\n<object>\n</annotation>", 3, "not well-formed XML: mismatched tag"),
        ("", 1, "not well-formed XML: no element found"),
        ("<annotation>&nbsp;</annotation>", 1, "undefined entity"),
        ('<?xml version="1.0" encoding="gbk"?><annotation/>', 1, "multi-byte encodings"),
        ("<html/>", 1, "not a VOC annotation"),
        (voc_xml([("ship", 1, 1, 9, 9)], (40, 60)), 3, "boxes are for an image of 40x60 px, but the image is 60x40"),
    ],
)
def test_a_bad_file_leaves_out_its_image(source: Path, out: Path, xml: str, line: int, why: str) -> None:
    write(source / "Annotations" / "000009.xml", voc_xml([]))
    write(source / "Annotations" / "000007.xml", xml)
    card = read_or_refused(prepare_voc, source, out)
    assert card is not None
    assert card["images"] == 2
    assert [(r["where"], why in r["why"]) for r in card["refused"]] == [(f"Annotations/000007.xml:{line}", True)]
    assert card["lists"]["train"] == {"listed": 2, "written": 1, "absent": 1}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (("ship", 5, 5, 5, 4), "has no area"),
        (("ship", 5, 5, 61, 9), "lies outside its image of 60x40 px"),
        (("ship", 5, 5, "x", 9), "<xmax> of 'ship' is 'x', expected a number"),
        (("ship", 5, 5, "nan", 9), "is 'nan', expected a number"),
        (("ship", 5, 5, "1_0", 9), "is '1_0', expected a number"),
        ((" ", 5, 5, 8, 9), "an object without a <name>"),
    ],
)
def test_a_bad_box_is_named_by_its_line(
    source: Path, out: Path, values: tuple[str, int, int, int, int], why: str
) -> None:
    write(source / "Annotations" / "000009.xml", voc_xml([]))
    write(source / "Annotations" / "000007.xml", voc_xml([("ship", 1, 1, 9, 9), values]))
    card = read_or_refused(prepare_voc, source, out)
    assert card is not None
    assert [(r["where"], why in r["why"]) for r in card["refused"]] == [("Annotations/000007.xml:8", True)]
    assert (card["images"], card["boxes"]) == (2, 1)


def test_a_class_that_would_tell_a_terminal_something_is_refused(source: Path, out: Path) -> None:
    write(source / "Annotations" / "000009.xml", voc_xml([("ship\u202egnp", 1, 1, 9, 9)]))
    card = read_or_refused(prepare_voc, source, out)
    assert card is not None
    assert "has characters that cannot be printed" in card["refused"][0]["why"]
    assert list(card["classes"]) == ["boat", "ship"]


def test_difficult_objects_are_boxes_that_say_so(source: Path, out: Path) -> None:
    write(source / "Annotations" / "000009.xml", voc_xml([]))
    prepare_voc(source, out)
    assert [image.difficult.tolist() for image in load_folder(out).images] == [[False], [True], []]


@pytest.mark.parametrize(("said", "read"), [("1", True), ("True", True), ("Unspecified", False), ("", False)])
def test_difficult_as_other_programs_write_it(source: Path, out: Path, said: str, read: bool) -> None:
    write(source / "Annotations" / "000009.xml", voc_xml([]))
    write(
        source / "Annotations" / "000007.xml",
        voc_xml([("boat", LEFT + 1, TOP + 1, RIGHT, BOTTOM)], extra=f"<difficult>{said}</difficult>"),
    )
    prepare_voc(source, out)
    assert load_folder(out).images[1].difficult.tolist() == [read]


def test_kaggle_writes_annotations_small(source: Path, out: Path) -> None:
    write(source / "Annotations" / "000009.xml", voc_xml([]))
    (source / "Annotations").rename(source / "moved")
    (source / "moved").rename(source / "annotations")
    (source / "JPEGImages").rename(source / "images")
    assert prepare_voc(source, out)["boxes"] == 2


def test_label_studio_calls_the_folder_images(source: Path, out: Path) -> None:
    write(source / "Annotations" / "000009.xml", voc_xml([]))
    (source / "JPEGImages").rename(source / "images")
    assert prepare_voc(source, out)["boxes"] == 2


@pytest.mark.parametrize("parts", [("train", "valid"), ("", "")])
def test_roboflow_puts_annotations_beside_their_images(tmp_path: Path, out: Path, parts: tuple[str, str]) -> None:
    root = tmp_path / "export"
    for part, stem in zip(parts, ("a_jpg.rf.1", "b_jpg.rf.2"), strict=True):
        paint(root / part / f"{stem}.jpg")
        write(root / part / f"{stem}.xml", voc_xml([("ship", LEFT + 1, TOP + 1, RIGHT, BOTTOM)]))
    write(root / "README.roboflow.txt", "exported")
    card = prepare_voc(root, out)
    assert card["boxes"] == 2
    assert_boxes_cover_the_paint(load_folder(out))
    if parts[0]:
        assert read_ids(out / "splits" / "valid.txt") == ["b_jpg.rf.2"]
    else:
        assert card["lists"] == {"images_in_no_list": 2}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: (s / "Annotations" / "000007.xml").unlink(), "000007.jpg: has no annotation file"),
        (lambda s: (s / "JPEGImages" / "000007.jpg").unlink(), "000007.xml: has no image"),
        (lambda s: paint(s / "JPEGImages" / "000007.png"), "000007.png: has the name of"),
        (lambda s: paint(s / "JPEGImages" / "#7.jpg"), "#7.jpg: has a name that cannot stand in a list"),
        (
            lambda s: write(s / "ImageSets" / "Main" / "val.txt", "\n12\n"),
            "val.txt:2: names '12', but there is no such image",
        ),
        (lambda s: write(s / "JPEGImages" / "000007.jpg", b"\xff\xd8"), "000007.jpg: "),
    ],
)
def test_what_does_not_fit_together(source: Path, out: Path, change: Callable[[Path], object], why: str) -> None:
    write(source / "Annotations" / "000009.xml", voc_xml([]))
    change(source)
    card = read_or_refused(prepare_voc, source, out)
    assert card is not None
    assert any(why in f"{r['where']}: {r['why']}" for r in card["refused"])


def test_not_this_layout(source: Path, out: Path) -> None:
    with pytest.raises(UserError, match=r"no 'Annotations' or 'annotations' in it; did you mean '.*VOC2007'\?"):
        prepare_voc(source.parent, out)
    with pytest.raises(UserError, match="no such folder"):
        prepare_voc(source / "nowhere", out)


GOOD = voc_xml([("ship", 5, 6, 20, 30), ("boat", 1, 1, 60, 40)])


@st.composite
def mangled(draw: st.DrawFn, text: str = GOOD) -> bytes:
    """A good file with a few stretches cut out, doubled or replaced."""
    raw = text.encode()
    for _ in range(draw(st.integers(1, 3))):
        at, to = sorted(draw(st.tuples(st.integers(0, len(raw)), st.integers(0, len(raw)))))
        middle = draw(
            st.sampled_from([b"", raw[at:to] * 2, b"<", b"-1", b"1e9", b"\x00", b"\xff", b"&a;"])
            | st.binary(max_size=4)
        )
        raw = raw[:at] + middle + raw[to:]
    return raw


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(xml=mangled() | st.binary(max_size=40), ids=mangled("000005\n000007\n") | st.just(b""))
def test_fuzzed_files_are_read_or_refused_by_name(source: Path, out: Path, xml: bytes, ids: bytes) -> None:
    write(source / "Annotations" / "000009.xml", voc_xml([]))
    write(source / "Annotations" / "000005.xml", xml)
    write(source / "ImageSets" / "Main" / "train.txt", ids)
    read_or_refused(prepare_voc, source, out)
