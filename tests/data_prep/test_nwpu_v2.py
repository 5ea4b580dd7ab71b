from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.nwpu import CLASS_NAMES
from data_prep.nwpu_v2 import prepare_nwpu_v2
from fsod.data.coco_folder import load_folder, read_ids
from tests.painted import PAINTED, assert_boxes_cover_the_paint, paint, read_or_refused, voc_xml, write

# as circulating copies have them, in alphabetical order
NAMES = [
    "airplane",
    "baseball",
    "basketball",
    "bridge",
    "groundtrackfield",
    "harbor",
    "ship",
    "storagetank",
    "tenniscourt",
    "vehicle",
]
ORIGINAL = (
    "airplane",
    "baseball diamond",
    "basketball court",
    "bridge",
    "ground track field",
    "harbor",
    "ship",
    "storage tank",
    "tennis court",
    "vehicle",
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "NWPU2017"
    for i, name in enumerate(NAMES):
        paint(root / "JPEGImages" / f"{i:03d}.jpg")
        write(root / "Annotations" / f"{i:03d}.xml", voc_xml([(name, *PAINTED)], extra="<difficult>0</difficult>"))
    for name, ids in (("train", range(6)), ("val", range(6, 8)), ("trainval", range(8)), ("test", range(8, 10))):
        write(root / "ImageSets" / "Main" / f"{name}.txt", "".join(f"{i:03d}\n" for i in ids))
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "prepared" / "nwpu_v2"


def test_round_trip_with_the_names_of_the_original_set(source: Path, out: Path) -> None:
    card = prepare_nwpu_v2(source, out)
    folder = load_folder(out)
    assert folder.class_names == CLASS_NAMES
    assert tuple(CLASS_NAMES[i.class_ids[0]] for i in folder.images) == ORIGINAL
    assert_boxes_cover_the_paint(folder)
    assert read_ids(out / "splits" / "test.txt") == ["008", "009"]
    assert len(read_ids(out / "splits" / "trainval.txt")) == 8
    assert card["renamed_classes"]["groundtrackfield"] == "ground track field"
    assert {card["renamed_classes"].get(name, name) for name in NAMES} == set(CLASS_NAMES)


def test_the_originals_own_names_are_read_too(source: Path, out: Path) -> None:
    for i, name in enumerate(ORIGINAL):
        write(source / "Annotations" / f"{i:03d}.xml", voc_xml([(name, *PAINTED)]))
    assert prepare_nwpu_v2(source, out)["boxes"] == 10


def test_an_unknown_class(source: Path, out: Path) -> None:
    write(source / "Annotations" / "003.xml", voc_xml([("windmill", *PAINTED)]))
    card = read_or_refused(prepare_nwpu_v2, source, out)
    assert card is not None
    assert card["refused"] == [{"where": "Annotations/003.xml:4", "why": "unknown class 'windmill'"}]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("<>/annotionbjec1 &;", max_size=40), st.integers(0, 150))
def test_fuzzed_files_are_read_or_refused_by_name(source: Path, out: Path, text: str, at: int) -> None:
    good = voc_xml([("ship", *PAINTED)])
    write(source / "Annotations" / "003.xml", good[:at] + text + good[at:])
    read_or_refused(prepare_nwpu_v2, source, out)
