from __future__ import annotations

from dataclasses import replace

import numpy as np

from fsod.data.photographs.album import Album
from fsod.data.photographs.collage import Collage
from fsod.data.photographs.cut_classes import CutClass
from fsod.data.photographs.standing_out import unlikeness
from fsod.data.photographs.warp import affine
from tests.made_photographs import made_photograph

EAST = np.array([1.0, 0.0])


def empty(size_px: int = 160) -> Collage:
    image = np.full((size_px, size_px, 3), (120, 118, 110), np.uint8)
    return Collage(image, np.zeros((size_px, size_px), np.uint8), EAST)


def class_of(album: Album, like: tuple[float, float], **changes: object) -> CutClass:
    """The things of photograph 0 that look like the one at ``like``."""
    things = album.things(0)
    one = min(things, key=lambda thing: float(np.linalg.norm(thing.centre_px - like)))
    members = tuple(thing for thing, apart in zip(things, unlikeness(things, one), strict=True) if apart < 1)
    cut = CutClass(0, members, 1.0, 1.0, np.ones(3), "alone", 0.0, 0.4)
    return replace(cut, **changes)  # type: ignore[arg-type]


def test_a_box_is_what_is_seen_of_a_pasted_thing() -> None:
    album, collage = Album([made_photograph(0)]), empty()
    red = class_of(album, (28, 90), enlarged=1.5)
    for seed in range(4):
        collage.paste_group(np.random.default_rng(seed), album, red, 1, 3, 1.0)
    assert collage.class_ids
    assert set(collage.class_ids) == {3}
    redness = collage.image[..., 0].astype(int) - collage.image[..., 1]
    for x1, y1, x2, y2 in np.array(collage.boxes_xyxy_px).astype(int):
        assert redness[y1:y2, x1:x2].max() > 90
        around = redness[max(y1 - 4, 0) : y2 + 4, max(x1 - 4, 0) : x2 + 4].copy()
        around[y1 - max(y1 - 4, 0) : y2 - max(y1 - 4, 0), x1 - max(x1 - 4, 0) : x2 - max(x1 - 4, 0)] = 0
        assert around.max() < 90


def test_pasted_things_do_not_hide_each_other() -> None:
    album, collage = Album([made_photograph(0)]), empty()
    dark = class_of(album, (80, 24), arrangement="row")
    rng = np.random.default_rng(1)
    for _ in range(8):
        collage.paste_group(rng, album, dark, 5, 0, 1.0)
    boxes = np.array(collage.boxes_xyxy_px)
    assert len(boxes) > 10
    sides = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    shared = sides.clip(0).prod(2) - np.diag((boxes[:, 2:] - boxes[:, :2]).prod(1))
    assert shared.max() < 0.25 * (boxes[:, 2:] - boxes[:, :2]).prod(1).min()


def test_a_row_is_tight_and_at_one_angle() -> None:
    album = Album([made_photograph(0)])
    bright = class_of(album, (32, 36), arrangement="row")
    rows = []
    for seed in range(6):
        collage = empty(256)
        collage.paste_group(np.random.default_rng(seed), album, bright, 4, 0, 1.0)
        boxes = np.array(collage.boxes_xyxy_px)
        if len(boxes) == 4 and boxes.min() > 0 and boxes.max() < 256:  # none is cut off by the edge
            rows.append((boxes[:, :2] + boxes[:, 2:]) / 2)
    assert len(rows) >= 2
    for centres in rows:
        steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
        assert steps.max() < 12 * 1.5 * 1.15  # its short side is 12 px
        assert np.linalg.svd(centres - centres.mean(0))[1][1] < 4  # on a line


def test_a_thing_that_could_not_be_seen_is_not_labelled() -> None:
    album, collage = Album([made_photograph(0)]), empty()
    red = class_of(album, (28, 90))
    collage.image[:] = album.photographs[0][90, 28]
    collage.paste_group(np.random.default_rng(0), album, red, 3, 0, 1.0)
    assert collage.boxes_xyxy_px == []


def test_shadows_darken_the_ground_beside_a_thing_only() -> None:
    album = Album([made_photograph(0)])
    bright = class_of(album, (32, 36), height=0.6)
    collage = empty()
    collage.paste_group(np.random.default_rng(5), album, bright, 1, 0, 1.0)
    ((x1, y1, x2, y2),) = np.array(collage.boxes_xyxy_px).astype(int)
    before = empty().image
    darker = before.astype(int).sum(2) - collage.image.astype(int).sum(2) > 30
    assert darker[y1:y2, x2 : x2 + 6].any()
    assert not darker[:, : max(x1 - 2, 0)].any()


def test_what_is_at_home_is_labelled_and_what_may_be_of_a_class_is_set_aside() -> None:
    album = Album([made_photograph(0), made_photograph(1)])
    dark, red = class_of(album, (80, 24)), class_of(album, (28, 90))
    as_it_is = affine(np.zeros(2), np.zeros(2), 0.0, 1.0)

    home = empty(128)
    home.label_own(album, 0, as_it_is, [dark], at_home=0)
    assert home.class_ids == [0, 0, 0]
    assert home.ignored_xyxy_px == []
    centres = sorted(((box[:2] + box[2:]) / 2 - 0.5).round().astype(int).tolist() for box in home.boxes_xyxy_px)
    assert np.abs(np.array(centres) - sorted([[80, 24], [100, 60], [70, 95]])).max() <= 1

    elsewhere = empty(128)
    elsewhere.label_own(album, 1, as_it_is, [dark], at_home=None)
    assert elsewhere.class_ids == []
    assert len(elsewhere.ignored_xyxy_px) == 3

    mixed = empty(128)
    mixed.label_own(album, 0, as_it_is, [red, dark], at_home=0)
    assert mixed.class_ids == [0]
    assert len(mixed.ignored_xyxy_px) == 3
