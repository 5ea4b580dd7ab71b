"""Data sets of strangers: annotations in several formats, prepared folders, configurations and lists."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from data_prep.check import check_folder
from data_prep.reader_of import reader_of
from fsod.config_file import load_settings
from fsod.data.coco_folder import load_folder, read_ids
from fsod.data.shots import draw_shots, load_shots
from fsod.geo.scene_list import list_scenes
from tests.hostile.kind import Kind, both
from tests.made_folder import make_folder
from tests.painted import paint, voc_xml, write


def make_coco(folder: Path) -> None:
    """Two images."""
    for i in (1, 2):
        paint(folder / "train" / f"{i}.png")
    box = {"bbox": [10, 8, 20, 16], "area": 320, "iscrowd": 0, "segmentation": [[1, 1, 2, 2, 3, 3]]}
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 60, "height": 40} for i in (1, 2)],
        "categories": [{"id": 18, "name": "ship", "supercategory": "x"}, {"id": 3, "name": "car"}],
        "annotations": [{"id": i, "image_id": i, "category_id": 3, **box} for i in (1, 2)],
    }
    write(folder / "annotations" / "instances_train.json", json.dumps(content))


def make_voc(folder: Path) -> None:
    """Two images, two lists."""
    for stem in ("a", "b"):
        paint(folder / "JPEGImages" / f"{stem}.jpg")
        text = voc_xml([("ship", 11, 9, 30, 24)], extra="<difficult>0</difficult>")
        write(folder / "Annotations" / f"{stem}.xml", text)
        write(folder / "ImageSets" / "Main" / f"{'train' if stem == 'a' else 'test'}.txt", f"{stem}\n")


def make_yolo(folder: Path) -> None:
    """Two images, two splits."""
    for way in ("train/a", "val/b"):
        paint(folder / "images" / f"{way}.png")
        write(folder / "labels" / f"{way}.txt", "1 0.333333 0.400000 0.333333 0.400000\n" * 2)
    write(folder / "data.yaml", "path: .\ntrain: images/train\nval: images/val\nnames: {0: boat, 1: ship}\n")


def make_dota(folder: Path) -> None:
    """Two parts."""
    for part, stem in (("train", "P0000"), ("val", "P0001")):
        paint(folder / part / "images" / f"{stem}.png")
        text = "imagesource:GoogleEarth\ngsd:0.146343590398\n10 8 30 8 30 24 10 24 plane 0\n"
        write(folder / part / "labelTxt" / f"{stem}.txt", text * 2)


def make_nwpu(folder: Path) -> None:
    """Two images with, one without objects."""
    for stem in ("001", "002"):
        paint(folder / "positive image set" / f"{stem}.jpg")
        write(folder / "ground truth" / f"{stem}.txt", "(10,8),(30,24),1 \n(10,8),(30,24),10\n")
    paint(folder / "negative image set" / "001.jpg", [])


def make_dior(folder: Path) -> None:
    """Three lists."""
    for stem, part in (("00001", "trainval"), ("00002", "trainval"), ("11726", "test")):
        paint(folder / f"JPEGImages-{part}" / f"{stem}.jpg")
        write(folder / "Annotations" / f"{stem}.xml", voc_xml([("ship", 11, 9, 30, 24)]))
    for name, ids in (("train", "00001"), ("val", "00002"), ("test", "11726")):
        write(folder / "Main" / f"{name}.txt", ids)


def prepare_as(form: str) -> Callable[[Path], object]:
    """A reader of data sets, with and without ``skip_bad``."""

    def read(folder: Path, skip_bad: bool) -> None:
        reader_of(form)(folder, folder.parent / f"out-{skip_bad}", skip_bad=skip_bad)

    return lambda folder: both(lambda: read(folder, skip_bad=False), lambda: read(folder, skip_bad=True))


def make_prepared(folder: Path) -> None:
    """A prepared folder with a shot list."""
    made = make_folder(folder / "data", images=2)
    draw_shots(made, made.class_names, 1, 0).save(folder / "shots.json")


def read_prepared(folder: Path) -> None:
    """As steps and as ``fsod data check`` do."""

    def load() -> None:
        loaded = load_folder(folder / "data")
        both(
            lambda: load_shots(folder / "shots.json", loaded),
            lambda: loaded.select(read_ids(folder / "data" / "splits" / "train.txt")),
        )

    both(load, lambda: check_folder(folder / "data"))


def make_texts(folder: Path) -> None:
    """A configuration, a list of scenes."""
    shutil.copy(Path(__file__).parents[2] / "configs" / "nwpu.yaml", folder / "run.yaml")
    write(folder / "scenes.txt", "a.tif\nb.tif\n# c.tif\n")


def read_texts(folder: Path) -> None:
    """As every command does."""
    both(lambda: load_settings(folder / "run.yaml"), lambda: list_scenes([f"@{folder / 'scenes.txt'}"]))


DATA_SETS = {
    "coco": (make_coco, (".json",)),
    "voc": (make_voc, (".xml", ".txt")),
    "yolo": (make_yolo, (".txt", ".yaml")),
    "dota": (make_dota, (".txt",)),
    "nwpu": (make_nwpu, (".txt",)),
    "dior": (make_dior, (".xml", ".txt")),
}
DATA_SET_KINDS = (
    *(Kind(f"data set {f}", make, ends, prepare_as(f), 0.7) for f, (make, ends) in DATA_SETS.items()),
    Kind("image", make_coco, (".png",), prepare_as("coco"), 0.7),
    Kind("prepared", make_prepared, (".json", ".txt"), read_prepared, 0.7),
    Kind("texts", make_texts, (".yaml", ".txt"), read_texts),
)
