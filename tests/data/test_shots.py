import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsod.data.coco_folder import CocoFolder, ImageRecord
from fsod.data.shots import (
    USUAL_K,
    ShotList,
    draw_shot_lists,
    draw_shots,
    images_to_draw_from,
    load_shots,
    refuse_scored_shots,
)
from fsod.errors import UserError

NAMES = ("ship", "bridge", "vehicle")


def make_folder() -> CocoFolder:
    """Ten images, each with 3 ships, 2 bridges and a vehicle: 30, 20, 10 boxes."""
    images = tuple(
        ImageRecord(
            id=i,
            path=Path(f"{i}.png"),
            source=str(i),
            width_px=100,
            height_px=100,
            boxes_xyxy_px=np.tile([1.0, 1.0, 9.0, 9.0], (6, 1)),
            class_ids=np.array([0, 1, 0, 2, 1, 0]),
            box_ids=np.arange(6) + 6 * i,
        )
        for i in range(10)
    )
    return CocoFolder(Path("here"), NAMES, images, "c0ffee")


FOLDER = make_folder()


@settings(max_examples=60, deadline=None)
@given(k=st.integers(1, 10), more=st.integers(0, 10), seed=st.integers(0, 2**40), order=st.permutations(NAMES))
def test_lists_are_exact_nested_and_independent_of_order(k: int, more: int, seed: int, order: list[str]) -> None:
    shots = draw_shots(FOLDER, order, k, seed)
    for name, ids in shots.box_ids.items():
        assert len(set(ids)) == len(ids) == k
        for box_id in ids:
            image, i = FOLDER.box_location[box_id]
            assert FOLDER.class_names[image.class_ids[i]] == name
    assert list(shots.box_ids) == sorted(NAMES)
    assert shots == draw_shots(FOLDER, NAMES, k, seed)
    assert draw_shots(FOLDER, order[:1], k, seed).box_ids[order[0]] == shots.box_ids[order[0]]
    larger = draw_shots(FOLDER, ["ship"], min(k + more, 30), seed).box_ids["ship"]
    assert larger[:k] == shots.box_ids["ship"]


def test_seeds_differ_and_every_box_has_the_same_chance() -> None:
    drawn = Counter(box_id for seed in range(3000) for box_id in draw_shots(FOLDER, ["ship"], 3, seed).box_ids["ship"])
    assert len(drawn) == 30
    # 300 expected each, standard deviation 16
    assert min(drawn.values()) > 220
    assert max(drawn.values()) < 380


@settings(max_examples=20, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**40), min_size=1, max_size=3, unique=True), names=st.sets(st.sampled_from(NAMES))
)
def test_the_lists_of_all_k_nest(seeds: list[int], names: set[str]) -> None:
    lists = draw_shot_lists(FOLDER, sorted({"ship", *names}), USUAL_K, seeds, leave_out_rare=True)
    assert [(shots.k, shots.seed) for shots in lists] == [(k, seed) for seed in seeds for k in USUAL_K]
    for smaller, larger in pairwise(lists):
        if smaller.seed == larger.seed:
            assert set(larger.box_ids) <= set(smaller.box_ids)
            assert all(larger.box_ids[name][: smaller.k] == smaller.box_ids[name] for name in larger.box_ids)
    for shots in lists:
        enough = {"ship": 30, "bridge": 20, "vehicle": 10}
        assert set(shots.box_ids) == {name for name in {"ship", *names} if enough[name] >= shots.k}
        assert all(len(set(ids)) == shots.k for ids in shots.box_ids.values())
        assert shots == draw_shots(FOLDER, list(shots.box_ids), shots.k, shots.seed)


def test_classes_with_too_few_boxes() -> None:
    with pytest.raises(
        UserError, match=r"30 shots of 'bridge' asked for, but only 20 .* without such classes \(--o\)$"
    ):
        draw_shot_lists(FOLDER, NAMES, USUAL_K, (0,), option="--o")
    with pytest.raises(UserError, match=r"ask for fewer$"):  # a run has no such option
        draw_shots(FOLDER, ["bridge"], 30, 0)
    with pytest.raises(UserError, match="31 shots per class asked for, but no class has that many"):
        draw_shot_lists(FOLDER, NAMES, (31, 40), (0,), leave_out_rare=True)
    assert [shots.k for shots in draw_shot_lists(FOLDER, NAMES, (1, 31), (0,), leave_out_rare=True)] == [1]


def test_draw_is_the_same_on_every_machine() -> None:
    shots = draw_shots(FOLDER, ["vehicle"], 3, 7)
    assert shots == ShotList(3, 7, "c0ffee", {"vehicle": (9, 51, 39)})


@pytest.mark.parametrize(
    ("names", "k", "message"),
    [
        (["vehicle"], 11, "11 shots of 'vehicle' asked for, but only 10"),
        (["vehicle"], 0, "at least 1"),
        (["vehicles"], 1, r"no class 'vehicles' \(did you mean 'vehicle'\?\)"),
    ],
)
def test_bad_draws(names: list[str], k: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw_shots(FOLDER, names, k, 0)


def test_only_the_images_given_are_drawn_from() -> None:
    half = FOLDER.select(["1", "2", "3"])
    shots = draw_shots(half, NAMES, 3, 0)
    assert {FOLDER.box_location[i][0].id for ids in shots.box_ids.values() for i in ids} <= {1, 2, 3}
    with pytest.raises(UserError, match="only 3"):
        draw_shots(half, NAMES, 4, 0)


def test_an_object_in_two_tiles_is_one_object() -> None:
    first, second = FOLDER.images[:2]
    boxes = second.boxes_xyxy_px.copy()
    boxes[:, 2] += 1  # the second tile shows more of each
    tiles = (
        replace(first, source_box_ids=np.arange(6)),
        replace(second, source_box_ids=np.arange(6), boxes_xyxy_px=boxes),
    )
    folder = replace(FOLDER, images=tiles)
    shots = draw_shots(folder, ["ship"], 3, 0)
    assert set(shots.box_ids["ship"]) == {6, 8, 11}
    with pytest.raises(UserError, match="only 3"):
        draw_shots(folder, ["ship"], 4, 0)


def test_tiles_and_originals_give_the_same_objects() -> None:
    tiles = tuple(
        replace(image, id=image.id + 100, box_ids=image.box_ids + 1000, source_box_ids=image.box_ids)
        for image in FOLDER.images
    )
    on_tiles = draw_shots(replace(FOLDER, images=tiles), NAMES, 5, 3).box_ids
    on_originals = draw_shots(FOLDER, NAMES, 5, 3).box_ids
    assert {name: tuple(i - 1000 for i in ids) for name, ids in on_tiles.items()} == on_originals


def test_saved_and_loaded(tmp_path: Path) -> None:
    shots = draw_shots(FOLDER, NAMES, 5, 1)
    shots.save(tmp_path / "shots" / "k5.json")
    assert load_shots(tmp_path / "shots" / "k5.json", FOLDER) == shots


def test_another_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shots.json"
    draw_shots(FOLDER, NAMES, 5, 1).save(path)
    with pytest.raises(UserError, match="drawn from other annotations"):
        load_shots(path, replace(FOLDER, sha256="0ther"))


def test_a_shot_outside_the_chosen_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shots.json"
    draw_shots(FOLDER, ["vehicle"], 10, 1).save(path)
    with pytest.raises(UserError, match="box 3 is not a 'vehicle' among the images"):
        load_shots(path, FOLDER.select(["1", "2", "3", "4", "5", "6", "7", "8", "9"]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 2}, "'vehicle' has 3 different boxes, but the list says 2"),
        ({"box_ids": {"vehicle": [3, 3, 9]}}, "'vehicle' has 2 different boxes"),
        ({"box_ids": {"vehicle": [0, 3, 9]}}, "box 0 is not a 'vehicle'"),
        ({"box_ids": {"vehicle": [3, 9, 9999]}}, "box 9999 is not a 'vehicle'"),
        ({"box_ids": {"boat": [3, 9, 15]}}, "no class 'boat'"),
        ({"box_ids": [1]}, "not a shot list"),
        ({"box_ids": {"vehicle": "abc"}}, "not a shot list"),
        ({"k": None}, "not a shot list"),
    ],
)
def test_a_changed_list_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "shots.json"
    draw_shots(FOLDER, ["vehicle"], 3, 1).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=message) as caught:
        load_shots(path, FOLDER)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\xff", b"3", b"[" * 100_000])
def test_files_that_are_not_shot_lists(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "shots.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a shot list"):
        load_shots(path, FOLDER)
    with pytest.raises(UserError, match="cannot read"):
        load_shots(tmp_path / "gone.json", FOLDER)


def test_shots_on_images_that_are_scored_are_refused_by_name() -> None:
    part = replace(FOLDER, images=FOLDER.images[:4])
    shots = draw_shots(part, NAMES, 3, 0)
    refuse_scored_shots(shots, FOLDER, replace(FOLDER, images=FOLDER.images[4:]), Path("k3.json"))
    with pytest.raises(
        UserError, match=r"k3\.json: its box \d+ of 'bridge' lies on \d\.png, .* 10 images to be scored"
    ):
        refuse_scored_shots(shots, FOLDER, FOLDER, Path("k3.json"))
    # of an image cut into tiles another tile shows the same ground
    box = next(iter(shots.box_ids["ship"]))
    shown = FOLDER.box_location[box][0]
    tile = replace(FOLDER.images[9], source=shown.source)
    with pytest.raises(UserError, match=f"box {box} of 'ship' lies on {shown.path.name}"):
        refuse_scored_shots(
            replace(shots, box_ids={"ship": (box,)}), FOLDER, replace(FOLDER, images=(tile,)), Path("k3.json")
        )


def test_nobody_draws_from_test_images_by_default(tmp_path: Path) -> None:
    folder = replace(FOLDER, root=tmp_path)
    assert images_to_draw_from(folder, None) == folder
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "test.txt").write_text("1\n")
    with pytest.raises(UserError, match=r"has test images, from which no example may come; .*--ids .*train\.txt"):
        images_to_draw_from(folder, None)
    assert [image.id for image in images_to_draw_from(folder, ["3", "4"]).images] == [3, 4]
