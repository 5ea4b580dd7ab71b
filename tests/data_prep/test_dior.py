from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.dior import CLASS_NAMES, prepare_dior
from fsod.data.coco_folder import load_folder, read_ids
from fsod.errors import UserError
from tests.painted import PAINTED, assert_boxes_cover_the_paint, paint, read_or_refused, voc_xml, write

TRAINVAL, TEST = ("00001", "00002", "00003"), ("11726", "11727")


def put_labels(folder: Path, stems: tuple[str, ...], names: tuple[str, ...]) -> None:
    for stem, name in zip(stems, names, strict=True):
        write(folder / f"{stem}.xml", voc_xml([(name, *PAINTED)]))


def put_images(folder: Path, stems: tuple[str, ...]) -> None:
    for stem in stems:
        paint(folder / f"{stem}.jpg")


def old(root: Path) -> Path:
    put_images(root / "JPEGImages-trainval", TRAINVAL)
    put_images(root / "JPEGImages-test", TEST)
    put_labels(root / "Annotations", TRAINVAL, ("Expressway-Service-area", "airplane", "golffield"))
    put_labels(root / "Annotations", TEST, ("Expressway-toll-station", "trainstation"))
    for name, ids in (("train", TRAINVAL[:2]), ("val", TRAINVAL[2:]), ("test", TEST)):
        write(root / "Main" / f"{name}.txt", "\r\n".join(ids) + "\r\n")
    return root


def new(root: Path) -> Path:
    old(root)
    boxes = root / "Annotations" / "Horizontal Bounding Boxes"
    boxes.mkdir()
    for path in root.glob("Annotations/*.xml"):
        path.rename(boxes / path.name)
    # DIOR-R's files have the same names and other content
    oriented = "<robndbox><x_left_top>1</x_left_top></robndbox>"
    write(
        root / "Annotations" / "Oriented Bounding Boxes" / "00001.xml", voc_xml([("ship", 1, 1, 2, 2)], extra=oriented)
    )
    (root / "ImageSets").mkdir()
    (root / "Main").rename(root / "ImageSets" / "Main")
    return root


def torchgeo(root: Path) -> Path:
    put_images(root / "Images" / "trainval", TRAINVAL)
    put_images(root / "Images" / "test", TEST)
    put_labels(root / "Annotations" / "trainval", TRAINVAL, ("expresswayservicearea", "airplane", "golffield"))
    rows = [f"Images/trainval/{i}.jpg,Annotations/trainval/{i}.xml,train" for i in TRAINVAL[:2]]
    rows += [f"Images/trainval/{i}.jpg,Annotations/trainval/{i}.xml,val" for i in TRAINVAL[2:]]
    rows += [f"Images/test/{i}.jpg,,test" for i in TEST]
    write(root / "sample_df.csv", "\n".join(["image_path,label_path,split", *rows]) + "\n")
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "prepared" / "dior"


@pytest.mark.parametrize("content", ["", "<html><body>Please log in.</body></html>", "image_path;label_path;split\n"])
def test_another_file_in_place_of_the_table_is_named(tmp_path: Path, out: Path, content: str) -> None:
    """No checksum of it is published, so a download takes it as it comes."""
    write(torchgeo(tmp_path) / "sample_df.csv", content)
    with pytest.raises(UserError, match=r"sample_df\.csv:1: is not torchgeo's table.*image_path and split"):
        prepare_dior(tmp_path, out)


def twice(root: Path) -> Path:
    """Each archive unpacked into a folder of its own name."""
    new(root)
    for way in ("JPEGImages-trainval", "JPEGImages-test", "Annotations", "ImageSets"):
        (root / way).rename(root / "moved")
        (root / way).mkdir()
        (root / "moved").rename(root / way / way)
    return root


@pytest.mark.parametrize("layout", [old, new, twice])
def test_round_trip_of_the_official_layouts(tmp_path: Path, out: Path, layout: Callable[[Path], Path]) -> None:
    card = prepare_dior(layout(tmp_path / "DIOR"), out)
    folder = load_folder(out)
    assert folder.class_names == CLASS_NAMES
    assert [(i.id, i.path.name, CLASS_NAMES[i.class_ids[0]]) for i in folder.images] == [
        (1, "00001.jpg", "Expressway-Service-area"),
        (2, "00002.jpg", "airplane"),
        (3, "00003.jpg", "golffield"),
        (4, "11726.jpg", "Expressway-toll-station"),
        (5, "11727.jpg", "trainstation"),
    ]
    assert_boxes_cover_the_paint(folder)
    lists = {path.stem: tuple(read_ids(path)) for path in (out / "splits").iterdir()}
    assert lists == {"train": TRAINVAL[:2], "val": TRAINVAL[2:], "trainval": TRAINVAL, "test": TEST}
    assert (card["boxes"], card["refused"], card["unlabelled_test_images_left_out"]) == (5, [], 0)


def test_torchgeos_repack_has_no_test_labels(tmp_path: Path, out: Path) -> None:
    card = prepare_dior(torchgeo(tmp_path / "dior"), out)
    folder = load_folder(out)
    assert [CLASS_NAMES[i.class_ids[0]] for i in folder.images] == ["Expressway-Service-area", "airplane", "golffield"]
    assert_boxes_cover_the_paint(folder)
    lists = {path.stem: tuple(read_ids(path)) for path in (out / "splits").iterdir()}
    assert lists == {"train": TRAINVAL[:2], "val": TRAINVAL[2:], "trainval": TRAINVAL}
    assert (card["images"], card["refused"], card["unlabelled_test_images_left_out"]) == (3, [], 2)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Expressway Service Area", "Expressway-Service-area"),
        ("expressway-toll-station", "Expressway-toll-station"),
        ("ground track field", "groundtrackfield"),
        ("Windmill", "windmill"),
        ("golfcourse", None),
        ("", None),
    ],
)
def test_spellings_of_a_class(tmp_path: Path, out: Path, said: str, read: str | None) -> None:
    source = old(tmp_path / "DIOR")
    write(source / "Annotations" / "00002.xml", voc_xml([(said, *PAINTED)]))
    card = read_or_refused(prepare_dior, source, out)
    assert card is not None
    if read is None:
        assert card["refused"][0]["where"] == "Annotations/00002.xml:4"
    else:
        assert card["classes"][read]["boxes"] >= 1
        assert card["refused"] == []


@pytest.mark.parametrize("bounds", [(0, 0, 60, 40), (1, 1, 60, 40)])
def test_boxes_up_to_the_edge_are_no_problem_wherever_counting_starts(
    tmp_path: Path, out: Path, bounds: tuple[int, int, int, int]
) -> None:
    source = old(tmp_path / "DIOR")
    write(source / "Annotations" / "00002.xml", voc_xml([("dam", *bounds)]))
    prepare_dior(source, out)
    assert load_folder(out).images[1].boxes_xyxy_px.tolist() == [list(bounds)]


def test_oriented_boxes_alone_are_refused(tmp_path: Path, out: Path) -> None:
    source = new(tmp_path / "DIOR")
    (source / "Annotations" / "Horizontal Bounding Boxes").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="has oriented boxes only"):
        prepare_dior(source, out)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.binary(max_size=80) | st.text('image_path,split\n"\r/.05train', max_size=80).map(str.encode))
def test_a_fuzzed_table_is_read_or_refused_by_name(tmp_path: Path, out: Path, table: bytes) -> None:
    source = tmp_path / "dior"
    if not source.exists():
        torchgeo(source)
    write(source / "sample_df.csv", b"image_path,label_path,split\n" + table)
    card = read_or_refused(prepare_dior, source, out)
    assert card is not None
    assert card["boxes"] == 3
