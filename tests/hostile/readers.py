"""What reads files of strangers, by kind: files as they should be, and the reader that gets them damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import geopandas
import numpy as np
import onnx
import pandas as pd
import rasterio
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.shutil import copy as copy_raster
from rasterio.transform import from_origin
from torch import nn

from data_prep.check import check_folder
from data_prep.formats import FORMATS
from data_prep.label_files import LabelSettings
from data_prep.vector import prepare_labels
from fsod.boxes import Detections
from fsod.config import OptimSettings, PredictSettings, load_settings
from fsod.data.coco import load_folder, read_ids
from fsod.data.shots import draw_shots, load_shots
from fsod.engine.onnx_infer import INPUT, METADATA_KEY, OUTPUT, OnnxHeader
from fsod.engine.stage import Stage, _resume, _save, adamw
from fsod.errors import UserError
from fsod.geo.area import read_area
from fsod.geo.journal import _line, _parse, files_fingerprint
from fsod.geo.labels import read_boxes
from fsod.geo.layer_files import write_layer
from fsod.geo.predict import predict_scene
from fsod.geo.scene import open_scene
from fsod.geo.scene_list import list_scenes
from fsod.geo.vector import Layer
from fsod.geo.verdicts import read_verdicts
from fsod.geo.windows import window_grid
from fsod.report.scene_report import scene_report, write_overview
from fsod.steps.kept_marks import earlier_marks
from fsod.steps.searcher import load_searcher
from fsod.store.checkpoint import LearnedFrom, load_checkpoint, save_checkpoint
from fsod.store.class_bank import read_bank
from fsod.store.official import open_official
from tests import untrained
from tests.labelled_scene import make_scene, save_labels
from tests.made_folder import make_folder
from tests.painted import paint, voc_xml, write

SIDE_PX = 96
UTM = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 0.5, 0.5)}
SHAPES = torch.Size([2, 3])


@dataclass(frozen=True)
class Kind:
    """Files that are read alike.

    Attributes:
        name: for messages.
        make: writes them, whole, into an empty folder.
        suffixes: of the files in it that are damaged.
        read: reads them; UserError where it refuses.
        share: of all cases; slow readers get fewer.
    """

    name: str
    make: Callable[[Path], object]
    suffixes: tuple[str, ...]
    read: Callable[[Path], object]
    share: float = 1.0


def pixels(bands: int, dtype: str = "uint8", high: int = 255) -> NDArray[Any]:
    """(bands, 96, 96) of chance."""
    return np.random.default_rng(0).integers(1, high, (bands, SIDE_PX, SIDE_PX)).astype(dtype)


def raster(path: Path, content: NDArray[Any], driver: str = "GTiff", **profile: Any) -> Path:
    """A raster of these pixels."""
    count, height, width = content.shape
    about = {"count": count, "height": height, "width": width, "dtype": content.dtype}
    with rasterio.open(path, "w", driver=driver, **{**about, **UTM, **profile}) as file:
        file.write(content)
    return path


def make_tiff(folder: Path) -> None:
    """8 bits, tiled and compressed."""
    raster(folder / "scene.tif", pixels(3), tiled=True, blockxsize=32, blockysize=32, compress="deflate")


def make_deep_tiff(folder: Path) -> None:
    """16 bits in strips, nodata declared."""
    raster(folder / "scene.tif", pixels(4, "uint16", 4000), compress="lzw", nodata=0)


def make_float_tiff(folder: Path) -> None:
    """Float with ground control points."""
    corners = [(0, 0), (0, 95), (95, 0), (95, 95)]
    gcps = [GroundControlPoint(r, c, 15 + c * 1e-5, 45 - r * 1e-5) for r, c in corners]
    raster(folder / "scene.tif", pixels(1, "float32", 4000), gcps=gcps, crs="EPSG:4326", transform=None)


def make_palette_png(folder: Path) -> None:
    """A PNG with a palette, a world file and GDAL's sidecar."""
    image = Image.fromarray(pixels(1)[0]).convert("P")
    image.save(folder / "scene.png")
    write(folder / "scene.wld", "0.5\n0\n0\n-0.5\n500000\n5000000\n")
    with rasterio.open(folder / "scene.png") as file:
        wkt = rasterio.CRS.from_epsg(32633).to_wkt()
        size = file.width
    band = f'<PAMRasterBand band="1"><NoDataValue>{size}</NoDataValue></PAMRasterBand>'
    write(folder / "scene.png.aux.xml", f"<PAMDataset><SRS>{wkt}</SRS>{band}</PAMDataset>")


def make_one_bit_png(folder: Path) -> None:
    """Black and white."""
    Image.fromarray(pixels(1)[0] > 127).save(folder / "scene.png")


def make_jpeg(folder: Path) -> None:
    """With a world file and a projection beside it."""
    Image.fromarray(pixels(3).transpose(1, 2, 0)).save(folder / "scene.jpg")
    write(folder / "scene.jgw", "0.5\n0\n0\n-0.5\n500000\n5000000\n")
    write(folder / "scene.prj", rasterio.CRS.from_epsg(32633).to_wkt())


def make_vrt(folder: Path) -> None:
    """A view of a TIFF."""
    copy_raster(raster(folder / "source.tif", pixels(3)), folder / "scene.vrt", driver="VRT")


def read_scene(folder: Path) -> None:
    """As ``fsod predict`` does: its whole, its first and its last window."""
    for path in [*folder.glob("scene.tif"), *folder.glob("scene.vrt"), *folder.glob("scene.[pj][np]g")]:
        with open_scene(path) as scene:
            scene.read_reduced(256)
            grid = window_grid(scene.grid_width_px, scene.grid_height_px, 64, 32)
            for window in (grid[0], grid[-1]):
                scene.read_window(window)
            files_fingerprint(scene.files)
        if scene.width_px == SIDE_PX:
            predict_scene(path, find_nothing, window_px=96, overlap_px=32, batch=1)


def find_nothing(images: NDArray[np.uint8]) -> list[Detections]:
    """A detector."""
    return [Detections(np.zeros((0, 4)), np.zeros(0, np.float32), np.zeros(0, np.int64)) for _ in images]


def find_one(images: NDArray[np.uint8]) -> list[Detections]:
    """A detector."""
    box = np.array([[10.0, 10.0, 30.0, 30.0]])
    return [Detections(box, np.full(1, 0.5, np.float32), np.zeros(1, np.int64)) for _ in images]


def make_journal(folder: Path) -> None:
    """Of a run that was killed at its end."""
    raster(folder / "scene.tif", pixels(3))
    search_with_journal(folder)


def search_with_journal(folder: Path) -> None:
    """A run that goes on from its journal."""
    journal = folder / "found.journal"
    if journal.exists():
        first, end, rest = journal.read_bytes().partition(b"\n")
        header = _parse(first + end)
        if header is not None and "scene" in header:  # files have been copied since, which is another scene
            header["scene"] = files_fingerprint((str(folder / "scene.tif"),))
            journal.write_bytes(_line(header) + rest)
    predict_scene(
        folder / "scene.tif",
        find_one,
        window_px=64,
        overlap_px=32,
        batch=1,
        journal=journal,
        detector={"weights": "w", "score": 0.2},
    )


def labels_as(suffix: str) -> Callable[[Path], object]:
    """A scene with labels in a vector format."""
    return lambda folder: save_labels(folder / f"labels{suffix}", make_scene(folder / "scene.tif"), crs="EPSG:4326")


def make_parquet(folder: Path) -> None:
    """The same as GeoParquet."""
    save_labels(folder / "other.gpkg", make_scene(folder / "scene.tif"))
    geopandas.read_file(folder / "other.gpkg").to_parquet(folder / "labels.parquet")


def make_kml(folder: Path) -> None:
    """The same by hand."""
    with rasterio.open(make_scene(folder / "scene.tif")) as file:
        x, y = rasterio.warp.transform(file.crs, "EPSG:4326", [500010, 500030], [4999990, 4999970])
    ring = " ".join(f"{a},{b}" for a, b in [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[0])])
    place = f"<Polygon><outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing></outerBoundaryIs></Polygon>"
    head = '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark><name>a</name>'
    data = '<ExtendedData><Data name="class"><value>ship</value></Data></ExtendedData>'
    write(folder / "labels.kml", f"{head}{data}{place}</Placemark></Document></kml>")


def read_labels(folder: Path) -> None:
    """As examples, and as an area."""
    path = next(p for p in sorted(folder.glob("labels.*")) if p.suffix in VECTORS)
    with open_scene(folder / "scene.tif") as scene:
        both(lambda: read_boxes(path, "class", scene), lambda: read_area(path, scene).shape)


VECTORS = (".geojson", ".gpkg", ".fgb", ".shp", ".parquet", ".kml")


def label_folder(folder: Path) -> None:
    """As a data set of scenes and labels."""
    settings = LabelSettings("class", window_px=64, overlap_px=0, skip_bad=True)
    prepare_labels(folder / "scene.tif", folder / "labels.geojson", folder / "out", settings)


def found_as(suffix: str) -> Callable[[Path], object]:
    """A layer of detections with all that belongs to it."""

    def make(folder: Path) -> None:
        with open_scene(make_scene(folder / "scene.tif")) as scene:
            georeference = scene.file_georeference
        found = Detections(np.array([[10.0, 20, 50, 60]] * 3), np.full(3, 0.5, np.float32), np.zeros(3, np.int64))
        about: dict[str, str | float | bool | None] = {"weights": "w", "gsd_m": 0.5, "time": "2024-01-01T00:00:00Z"}
        path = folder / f"found{suffix}"
        layer = Layer(found, ["ship"], georeference, "scene.tif", (130, 100), about, np.arange(1, 4))
        write_layer(path, layer)
        write_overview(path, np.full((50, 65, 3), 99, np.uint8), (130, 100), ["ship"])
        if suffix == ".geojson":
            path.write_text(
                path.read_text()
                .replace('"verdict": null', '"verdict": "yes"')
                .replace('"verdict": ""', '"verdict": "yes"')
            )
        elif suffix == ".csv":
            table = pd.read_csv(path)
            table["verdict"] = "yes"
            table.to_csv(path, index=False)
        elif suffix == ".gpkg":
            frame = geopandas.read_file(path)
            frame["verdict"] = "yes"
            path.unlink()
            frame.to_file(path)

    return make


def read_layer_of_detections(folder: Path) -> None:
    """As a report does, and as a layer of verdicts."""
    path = next(p for p in sorted(folder.glob("found.*")) if p.suffix in (".geojson", ".gpkg", ".csv", ".json", ".fgb"))
    with open_scene(folder / "scene.tif") as scene:
        report, judge = lambda: scene_report(path, folder / "out.html"), lambda: read_verdicts(path, [scene])
        both(*([report] if path.suffix == ".json" else [report, judge]))


def both(*read: Callable[[], object]) -> None:
    """All of these, where one refuses too; what the last refuses is what is refused."""
    refused: list[UserError] = []
    for one in read:
        try:
            one()
        except UserError as error:
            refused.append(error)
    if refused:
        raise refused[-1]


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
        FORMATS[form](folder, folder.parent / f"out-{skip_bad}", skip_bad=skip_bad)

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


def make_bank(folder: Path) -> None:
    """A bank, its weights and a detector of an analyst's marks."""
    untrained.make_bank(folder)
    loaded = load_checkpoint(folder / "weights.safetensors")
    marks: dict[str, Any] = {
        "scene": str(Path(__file__)),  # it only has to be there
        "size_px": [SIDE_PX, SIDE_PX],
        "gsd_m": 0.5,
        "boxes_xyxy_px": [[1.0, 2.0, 30.0, 40.0]],
        "class_names": ["boat"],
        "refused_xyxy_px": [[50.0, 50.0, 60.0, 60.0]],
        "refused_names": ["not boat"],
        "areas": "MULTIPOLYGON (((0 0, 0 50, 50 50, 50 0, 0 0)))",
    }
    origins: dict[str, dict[str, Any]] = {
        name: {"row": "refined", "score": 0.3, "reported": True, "examples": 5, "gsd_m": 0.5}
        for name in loaded.class_names
    }
    about = LearnedFrom(origins=origins, gsd_m=0.5, enlargement=1.5, marks=[marks])
    save_checkpoint(folder / "detector.safetensors", replace(loaded, learned_from=about), torch.float16)
    (folder / "bank.safetensors").rename(folder / "some.safetensors")


IMAGE = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3)).astype(np.uint8)


def read_a_bank(folder: Path) -> None:
    """As ``fsod bank list`` and ``fsod predict`` do; ``fsod finetune --from`` for what is a detector."""
    path = next(p for p in (folder / "some.safetensors", folder / "detector.safetensors") if p.is_file())
    bank = read_bank(path)
    assert len(bank.scores) == len(bank.class_names)
    search = lambda: use(load_searcher(path, None, PredictSettings()), folder)
    both(*([] if path.name == "some.safetensors" else [lambda: earlier_marks(path)]), search)


def use(searcher: Any, folder: Path) -> None:
    """Searches an image."""
    assert len(searcher.scores) == len(searcher.class_names)
    searcher.told_xyxy_px(str(folder / "scene.tif"))
    for found in searcher.detect(IMAGE):
        assert (found.class_ids < len(searcher.class_names)).all()


def make_only(name: str) -> Callable[[Path], object]:
    """Of a bank's files the weights, and this one."""

    def make(folder: Path) -> None:
        make_bank(folder)
        for path in folder.glob("*.safetensors"):
            if path.name not in (name, "weights.safetensors"):
                path.unlink()

    return make


def make_onnx(folder: Path) -> None:
    """A network as ``fsod export`` makes them, but for what it computes."""
    image = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, 64, 64])
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, 6, 84])
    rows = np.repeat([15.0, 20, 30, 40, 0.5, 0.5], 84)  # centre, size, a score for each class
    value = helper.make_tensor("value", TensorProto.FLOAT, [1, 6, 84], rows)
    graph = helper.make_graph([helper.make_node("Identity", ["value"], [OUTPUT])], "made", [image], [output], [value])
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])
    header = OnnxHeader(
        class_names=("boat", "car"),
        scores=(0.2, 0.3),
        weights_sha256="w",
        bank_sha256="b",
        gsd_m=0.5,
        window_px=64,
        suppression=untrained.SETTINGS.evaluate,
    )
    helper.set_model_props(model, {METADATA_KEY: header.model_dump_json()})
    onnx.save(model, folder / "bank.onnx")


def read_onnx(folder: Path) -> None:
    """As ``fsod predict`` does."""
    use(load_searcher(folder / "bank.onnx", None, PredictSettings()), folder)


def make_archive(folder: Path) -> None:
    """What YOLOv7's training writes, but small."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    torch.save({"model": net.state_dict(), "ema": None, "epoch": 3, "best": (1, 2)}, folder / "weights.pt")


def read_archive(folder: Path) -> None:
    """All its tensors."""
    weights = open_official(folder / "weights.pt")
    for name in weights.shapes:
        weights.read(name)


def stage_of(folder: Path) -> Stage:
    """A stage that is never run."""
    return Stage("made", cast(Any, None), cast(Any, None), OptimSettings(steps=4), folder / "made.state", "same")


def make_state(folder: Path) -> None:
    """Of a training that was killed."""
    net = nn.Linear(3, 2)
    optimizer = adamw(net, OptimSettings(steps=4))
    net(torch.zeros(1, 3)).sum().backward()
    optimizer.step()
    _save(stage_of(folder), 2, net, net, optimizer)


def resume(folder: Path) -> None:
    """A training that goes on."""
    net = nn.Linear(3, 2)
    assert 0 <= _resume(stage_of(folder), net, nn.Linear(3, 2), adamw(net, OptimSettings(steps=4))) <= 4


def make_texts(folder: Path) -> None:
    """A configuration, a list of scenes."""
    shutil.copy(Path(__file__).parents[2] / "configs" / "nwpu.yaml", folder / "run.yaml")
    write(folder / "scenes.txt", "a.tif\nb.tif\n# c.tif\n")


def read_texts(folder: Path) -> None:
    """As every command does."""
    both(lambda: load_settings(folder / "run.yaml"), lambda: list_scenes([f"@{folder / 'scenes.txt'}"]))


RASTER_SUFFIXES = (".tif", ".png", ".jpg", ".vrt", ".wld", ".jgw", ".prj", ".aux.xml")
RASTERS = (make_tiff, make_deep_tiff, make_float_tiff, make_palette_png, make_one_bit_png, make_jpeg, make_vrt)
LABELS = {
    **{suffix[1:]: labels_as(suffix) for suffix in (".geojson", ".gpkg", ".fgb", ".shp")},
    "parquet": make_parquet,
    "kml": make_kml,
}
SIDECARS = (".shx", ".dbf", ".prj", ".cpg")
DATA_SETS = {
    "coco": (make_coco, (".json",)),
    "voc": (make_voc, (".xml", ".txt")),
    "yolo": (make_yolo, (".txt", ".yaml")),
    "dota": (make_dota, (".txt",)),
    "nwpu": (make_nwpu, (".txt",)),
    "dior": (make_dior, (".xml", ".txt")),
}
KINDS = (
    *(Kind(f"raster {make.__name__[5:]}", make, RASTER_SUFFIXES, read_scene) for make in RASTERS),
    *(Kind(f"labels {name}", make, (*VECTORS, *SIDECARS), read_labels) for name, make in LABELS.items()),
    Kind("label folder", labels_as(".geojson"), (".geojson",), label_folder, 0.3),
    *(
        Kind(f"found {s}", found_as(s), (s, ".overview.jpg"), read_layer_of_detections, 0.7)
        for s in (".geojson", ".gpkg", ".csv", ".json")
    ),
    *(Kind(f"data set {f}", make, ends, prepare_as(f), 0.7) for f, (make, ends) in DATA_SETS.items()),
    Kind("image", make_coco, (".png",), prepare_as("coco"), 0.7),
    Kind("prepared", make_prepared, (".json", ".txt"), read_prepared, 0.7),
    Kind("bank", make_only("some.safetensors"), ("some.safetensors",), read_a_bank, 0.7),
    Kind("detector", make_only("detector.safetensors"), ("detector.safetensors",), read_a_bank, 0.4),
    Kind("onnx", make_onnx, (".onnx",), read_onnx),
    Kind("journal", make_journal, (".journal",), search_with_journal),
    Kind("archive", make_archive, (".pt",), read_archive),
    Kind("state", make_state, (".state",), resume),
    Kind("texts", make_texts, (".yaml", ".txt"), read_texts),
)
