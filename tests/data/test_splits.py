from pathlib import Path

import numpy as np
import pytest

from fsod.data.coco_folder import CocoFolder, ImageRecord
from fsod.data.splits import images_without, split_classes
from fsod.errors import UserError


def image(image_id: int, class_ids: list[int], cut_class_ids: list[int]) -> ImageRecord:
    return ImageRecord(
        id=image_id,
        path=Path(f"{image_id}.png"),
        source=str(image_id),
        width_px=10,
        height_px=10,
        boxes_xyxy_px=np.tile([1.0, 1.0, 5.0, 5.0], (len(class_ids), 1)),
        class_ids=np.array(class_ids, np.int64),
        box_ids=np.arange(len(class_ids)) + 10 * image_id,
        cut_boxes_xyxy_px=np.tile([0.0, 0.0, 1.0, 1.0], (len(cut_class_ids), 1)),
        cut_class_ids=np.array(cut_class_ids, np.int64),
    )


@pytest.fixture
def folder() -> CocoFolder:
    images = (image(1, [0, 1], []), image(2, [1], []), image(3, [1], [2]), image(4, [], []), image(5, [2, 2, 1], [0]))
    return CocoFolder(Path("here"), ("airplane", "harbor", "storage tank"), images, "hash")


def test_split_keeps_the_order_of_the_folder(folder: CocoFolder) -> None:
    split = split_classes(folder, ["storage tank", "airplane"])
    assert split.novel == ("airplane", "storage tank")
    assert split.base == ("harbor",)


def test_without_novel_classes_all_are_base(folder: CocoFolder) -> None:
    split = split_classes(folder, [])
    assert (split.base, split.novel) == (folder.class_names, ())


@pytest.mark.parametrize(
    ("novel", "message"),
    [
        (["airplan"], r"no class 'airplan' \(did you mean 'airplane'\?\)"),
        (["harbor", "airplane", "harbor"], "'harbor' is named twice"),
        (["harbor", "airplane", "storage tank"], "no base class is left, all 3"),
    ],
)
def test_bad_splits(folder: CocoFolder, novel: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        split_classes(folder, novel)


@pytest.mark.parametrize(
    ("names", "left"),
    [([], [1, 2, 3, 4, 5]), (["airplane"], [2, 3, 4]), (["storage tank"], [1, 2, 4]), (["harbor"], [4])],
)
def test_images_that_show_nothing_of_a_class(folder: CocoFolder, names: list[str], left: list[int]) -> None:
    chosen = images_without(folder, names)
    assert [i.id for i in chosen.images] == left
    assert chosen.sha256 == folder.sha256


def test_images_without_an_unknown_class(folder: CocoFolder) -> None:
    with pytest.raises(UserError, match="no class 'harbour'"):
        images_without(folder, ["harbour"])
