import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from data_prep.folder import place_file
from data_prep.nwpu import CLASS_NAMES, NEGATIVE, POSITIVE, SPLITS, TRUTH, prepare_nwpu
from fsod.data.coco_folder import load_folder, read_ids, read_image
from fsod.errors import UserError
from tests.forked import Forked

SHARED = Path(os.environ.get("FSOD_SHARED", "../shared")) / "data" / "nwpu_vhr10"
WIDTH, HEIGHT = 60, 40


def write_image(path: Path, seed: int = 0) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=90)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The official layout with its quirks: 002 and 004 are on our train list, 003 on our test list, 001 on neither."""
    root = tmp_path / "NWPU VHR-10 dataset"
    for name in (POSITIVE, NEGATIVE, TRUTH):
        (root / name).mkdir(parents=True)
    for number in (1, 2, 3, 4):
        write_image(root / POSITIVE / f"{number:03d}.jpg", number)
    for number in (1, 2):
        write_image(root / NEGATIVE / f"{number:03d}.jpg", 100 + number)
    truth = root / TRUTH
    (truth / "001.txt").write_bytes(b"(  5,  6),( 15, 26),1 \r\n\r\n(0,0),(60,40),10\r\n")
    (truth / "002.txt").write_bytes(b"\xef\xbb\xbf(1,1),(9,9),3 \n\n\n(11,1),(19,9),3 \n   \n")
    (truth / "003.txt").write_bytes(b" (  5 ,6 ),(15, 26 ) , 4")  # no line end, as twelve of the real files
    (truth / "004.txt").write_bytes(b"(5,6),(15,26),9\n")
    (root / "readme.txt").write_text("cite Cheng et al.")
    (root / POSITIVE / "Thumbs.db").write_bytes(b"x")
    (root / POSITIVE / "._001.jpg").write_bytes(b"x")
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "prepared" / "nwpu"


def test_everything_is_read_to_the_box(source: Path, out: Path) -> None:
    card = prepare_nwpu(source, out)
    folder = load_folder(out)
    assert folder.class_names == CLASS_NAMES
    assert [(i.id, i.path.name) for i in folder.images] == [
        (1, "001.jpg"),
        (2, "002.jpg"),
        (3, "003.jpg"),
        (4, "004.jpg"),
        (1001, "neg_001.jpg"),
        (1002, "neg_002.jpg"),
    ]
    boxes = [[(*b, CLASS_NAMES[c]) for b, c in zip(i.boxes_xyxy_px, i.class_ids, strict=True)] for i in folder.images]
    assert boxes == [
        [(5, 6, 15, 26, "airplane"), (0, 0, 60, 40, "vehicle")],
        [(1, 1, 9, 9, "storage tank"), (11, 1, 19, 9, "storage tank")],
        [(5, 6, 15, 26, "baseball diamond")],
        [(5, 6, 15, 26, "bridge")],
        [],
        [],
    ]
    assert (card["images"], card["images_without_boxes"], card["boxes"], card["refused"]) == (6, 2, 6, [])
    assert card["classes"]["storage tank"] == {"boxes": 2, "images": 1}
    assert card["classes"]["ship"] == {"boxes": 0, "images": 0}
    assert json.loads((out / "card.json").read_text()) == card


def test_images_keep_their_bytes(source: Path, out: Path) -> None:
    prepare_nwpu(source, out)
    assert (out / "images" / "002.jpg").read_bytes() == (source / POSITIVE / "002.jpg").read_bytes()
    assert (out / "images" / "neg_002.jpg").read_bytes() == (source / NEGATIVE / "002.jpg").read_bytes()
    for image in load_folder(out).images:
        assert read_image(image).shape == (HEIGHT, WIDTH, 3)


def test_without_hard_links_images_are_copied(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    prepare_nwpu(source, out)
    assert (out / "images" / "002.jpg").read_bytes() == (source / POSITIVE / "002.jpg").read_bytes()
    assert (out / "images" / "002.jpg").stat().st_nlink == 1


def test_our_lists_hold_what_is_there(source: Path, out: Path) -> None:
    card = prepare_nwpu(source, out)
    assert read_ids(out / "splits" / "train.txt") == ["002", "004"]
    assert read_ids(out / "splits" / "test.txt") == ["003"]
    assert card["lists"]["train"] == {"listed": 371, "written": 2, "absent": 369}
    assert card["lists"]["test"] == {"listed": 146, "written": 1, "absent": 145}
    assert card["lists"]["images_in_no_list"] == 3


def test_pixels_count_from_zero_and_become_edges_as_they_stand(source: Path, out: Path) -> None:
    """A drawn rectangle whose first and last pixels are the file's numbers, as the real ones were found to be."""
    drawing = Image.new("RGB", (WIDTH, HEIGHT))
    ImageDraw.Draw(drawing).rectangle((10, 8, 29, 23), fill="white")  # both corners inclusive, counted from 0
    drawing.save(source / POSITIVE / "004.jpg", quality=100)
    (source / TRUTH / "004.txt").write_text("(10,8),(29,23),2\n")
    prepare_nwpu(source, out)
    image = load_folder(out).select(["004"]).images[0]
    x1, y1, x2, y2 = image.boxes_xyxy_px[0].astype(int)
    white = read_image(image)[..., 0] > 128
    assert white[y1:y2, x1:x2].all()
    assert not white[:, x1 - 1].any()
    assert not white[y1 - 1].any()
    assert white.sum() == (x2 - x1 + 1) * (
        y2 - y1 + 1
    )  # the last row and column are outside by the half pixel we accept


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("(1,1),(9,9)", "malformed line"),
        ("1,1,9,9,3", "malformed line"),
        ("(1,1),(9,9),3,4", "malformed line"),
        ("(1.5,1),(9,9),3", "malformed line"),
        ("(١,1),(9,9),3", "malformed line"),
        ("(1,1),(9999999999999999999,9),3", "malformed line"),
        ("x" * 5000, "malformed line"),
        ("(1,1),(9,9),0", "unknown class number 0"),
        ("(1,1),(9,9),11", "unknown class number 11"),
        ("(1,1),(61,9),3", r"box \(1,1\),\(61,9\) lies outside its image of 60x40 px"),
        ("(1,1),(9,41),3", "lies outside"),
        ("(-1,1),(9,9),3", "lies outside"),
        ("(9,1),(9,9),3", "has no area"),
        ("(9,9),(1,1),3", "has no area"),
    ],
)
def test_a_bad_line_names_file_and_line(source: Path, out: Path, line: str, why: str) -> None:
    (source / TRUTH / "002.txt").write_text(f"(1,1),(9,9),3\n\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=why) as caught:
        prepare_nwpu(source, out)
    message = str(caught.value)
    assert message.startswith(f"{source / TRUTH / '002.txt'}:3: ")
    assert "\n" not in message
    assert len(message) < 400
    assert not out.exists()
    assert not any(out.parent.glob("*"))

    card = prepare_nwpu(source, out, skip_bad=True)
    assert [refused["where"] for refused in card["refused"]] == [f"{TRUTH}/002.txt:3"]
    assert 2 not in [image.id for image in load_folder(out).images], "an object of it was not read"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("name", "damage", "why", "images_left"),
    [
        (f"{POSITIVE}/003.jpg", truncate, "not a readable image", 5),
        (f"{NEGATIVE}/001.jpg", truncate, "not a readable image", 5),
        (f"{POSITIVE}/003.jpg", lambda p: p.write_bytes(b""), "cannot be opened as a raster", 5),
        (f"{POSITIVE}/003.jpg", lambda p: p.rename(p.with_name("three.jpg")), "is not named by a number", 5),
        (f"{POSITIVE}/003.jpg", lambda p: p.unlink(), "has no image", 5),
        (f"{TRUTH}/003.txt", lambda p: p.unlink(), "has no ground truth", 5),
        (f"{TRUTH}/003.txt", lambda p: p.write_text("\n \n"), "holds no usable box", 5),
    ],
)
def test_a_bad_image_is_named_or_left_out(
    source: Path, out: Path, name: str, damage: Callable[[Path], object], why: str, images_left: int
) -> None:
    damage(source / name)
    with pytest.raises(UserError, match=why) as caught:
        prepare_nwpu(source, out)
    assert str(source) in str(caught.value)
    assert not out.exists()
    card = prepare_nwpu(source, out, skip_bad=True)
    assert any(why in refused["why"] for refused in card["refused"])
    assert card["images"] == images_left == len(load_folder(out).images)


def test_two_images_of_one_number(source: Path, out: Path) -> None:
    write_image(source / POSITIVE / "2.jpg")
    (source / TRUTH / "2.txt").write_text("(1,1),(9,9),3\n")
    with pytest.raises(UserError, match=r"2\.jpg: has the number of 002\.jpg"):
        prepare_nwpu(source, out)


def test_not_the_official_layout(source: Path, out: Path) -> None:
    with pytest.raises(UserError, match=r"no 'positive image set' in it; did you mean '.*NWPU VHR-10 dataset'\?"):
        prepare_nwpu(source.parent, out)
    with pytest.raises(UserError, match="no such folder"):
        prepare_nwpu(source / "nowhere", out)


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_second_run_does_nothing(source: Path, out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    card = prepare_nwpu(source, out)
    times = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    capfd.readouterr()
    assert prepare_nwpu(source, out) == card
    assert "nothing to do" in capfd.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == times


def test_other_content_is_not_written_over(source: Path, out: Path) -> None:
    prepare_nwpu(source, out)
    before = all_bytes(out)
    (source / TRUTH / "004.txt").write_text("(5,6),(15,27),9\n")
    with pytest.raises(UserError, match="other content or with other settings; remove it"):
        prepare_nwpu(source, out)
    with pytest.raises(UserError, match="not a folder made by fsod"):
        prepare_nwpu(source, source)
    assert all_bytes(out) == before


def test_killed_half_way_and_run_again(
    source: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process kills itself at the third image placed: nothing appears, and the next run writes the same bytes."""
    number = itertools.count(1)

    def place_and_die(*arguments: Path) -> None:
        place_file(*arguments)
        if next(number) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    def prepare_and_die() -> None:
        monkeypatch.setattr("data_prep.pictures.place_file", place_and_die)
        prepare_nwpu(source, out)

    assert Forked(prepare_and_die).exit_code() == -signal.SIGKILL
    assert not out.exists()
    prepare_nwpu(source, out)
    prepare_nwpu(source, tmp_path / "undisturbed")
    assert all_bytes(out) == all_bytes(tmp_path / "undisturbed")
    assert [p.name for p in out.parent.iterdir()] == [out.name]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.binary(max_size=60)
    | st.text("(), \n\t\r0123456789-", max_size=60).map(str.encode)
    | st.lists(
        st.from_regex(r"\((-?[0-9]{1,2}), ?[0-9]\),\([0-9]{2},[0-9]{2}\),[0-9]{1,2}", fullmatch=True), max_size=4
    ).map(lambda lines: "\n".join(lines).encode())
)
def test_fuzzed_ground_truth_is_read_or_refused_by_name(source: Path, out: Path, text: bytes) -> None:
    (source / TRUTH / "002.txt").write_bytes(text)
    shutil.rmtree(out, ignore_errors=True)
    card = prepare_nwpu(source, out, skip_bad=True)
    folder = load_folder(out)
    lines = sum(1 for line in text.decode("utf-8-sig", "replace").replace("\r", "\n").split("\n") if line.strip())
    refused = [r for r in card["refused"] if r["where"].startswith(f"{TRUTH}/002.txt:")]
    if refused:  # then the image is left out, with whatever else it shows
        assert card["boxes"] == 4
    else:
        assert card["boxes"] - 4 == lines  # every line is a box
    assert len(folder.box_location) == card["boxes"]
    if card["refused"]:
        with pytest.raises(UserError, match=r"002\.txt"):
            prepare_nwpu(source, out.with_name("strict"))


def test_shipped_lists_are_consistent() -> None:
    train, test = read_ids(SPLITS / "train.txt"), read_ids(SPLITS / "test.txt")
    assert (len(set(train)), len(set(test))) == (371, 146)
    assert not set(train) & set(test)
    strict = read_ids(SPLITS / "train_strict.txt")
    assert len(set(strict)) == 354
    assert set(strict) < set(train)
    groups = json.loads((SPLITS.parents[2] / "experiments/nwpu_overlap/results.json").read_text())["groups"]
    assert [group for group in groups if set(group) & set(strict) and set(group) & set(test)] == []
    for name in ("s1_novel", "s2_novel"):
        assert set(read_ids(SPLITS / f"{name}.txt")) < set(CLASS_NAMES)


# boxes / images of a class in our train and test list, counted by another program (../shared/data/README.md)
REAL_COUNTS = {
    "airplane": (390, 51, 172, 21),
    "ship": (164, 32, 73, 13),
    "storage tank": (414, 15, 133, 7),
    "baseball diamond": (215, 100, 96, 40),
    "tennis court": (302, 61, 107, 25),
    "basketball court": (89, 46, 38, 21),
    "ground track field": (92, 92, 36, 36),
    "harbor": (106, 15, 75, 6),
    "bridge": (70, 38, 30, 15),
    "vehicle": (285, 48, 199, 20),
}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the real NWPU VHR-10 is not at {SHARED}; set FSOD_SHARED")
    out = tmp_path_factory.mktemp("real") / "nwpu"
    prepare_nwpu(SHARED, out)
    return out


def test_real_counts_to_the_box(real: Path) -> None:
    folder = load_folder(real)
    counts: dict[str, tuple[int, ...]] = dict.fromkeys(CLASS_NAMES, ())
    for name in ("train", "test"):
        chosen = folder.select(read_ids(real / "splits" / f"{name}.txt"))
        for i, class_name in enumerate(CLASS_NAMES):
            per_image = [int((image.class_ids == i).sum()) for image in chosen.images]
            counts[class_name] += (sum(per_image), sum(n > 0 for n in per_image))
    assert counts == REAL_COUNTS
    assert json.loads((real / "card.json").read_text())["refused"] == []


def test_real_groups_of_overlapping_images_stay_on_one_side(real: Path) -> None:
    side = {i: name for name in ("train", "test") for i in read_ids(real / "splits" / f"{name}.txt")}
    groups = [line.split() for line in read_ids(SHARED / "splits" / "overlapping_scenes.txt")]
    assert len(groups) == 22  # those of the 28 with two or more images among the 517
    for group in groups:
        assert len({side[i] for i in group if i in side}) <= 1
