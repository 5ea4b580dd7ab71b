"""A second run notices every change of what the first one read, also where sizes and times stay."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from PIL import Image
from shapely.affinity import translate

from data_prep.coco import prepare_coco
from data_prep.prepared import prepare_prepared
from data_prep.tile import tile_folder
from data_prep.vector_labels import prepare_labels
from fsod.data.coco_folder import load_folder
from fsod.errors import UserError
from tests.labelled_scene import BY_CLASS, make_scene, save_labels
from tests.made_folder import make_folder

STALE = "prepared from other content"


def labels_again(scenes: Path, labels: Path) -> Callable[[], object]:
    """The command, run once."""

    def run() -> object:
        return prepare_labels(scenes, labels, scenes.parent / "out", BY_CLASS)

    first = run()
    assert run() == first, "nothing to do"
    return run


def replaced(path: Path, other: bytes) -> None:
    """As a program leaves it that keeps sizes and times."""
    before = path.stat()
    assert len(other) == before.st_size
    assert other != path.read_bytes()
    path.write_bytes(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def vrt(path: Path, source: Path) -> Path:
    """A VRT of three bands of another raster of 130x100 px in the same folder."""
    with rasterio.open(source) as file:
        crs, transform = file.crs.to_wkt(), ", ".join(map(str, file.transform.to_gdal()))
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{i}"><SimpleSource><SourceFilename relativeToVRT="1">{source.name}'
        f"</SourceFilename><SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand>"
        for i in (1, 2, 3)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="130" rasterYSize="100"><SRS>{crs}</SRS><GeoTransform>{transform}</GeoTransform>'
        f"{bands}</VRTDataset>"
    )
    return path


def test_a_copy_with_another_time_is_the_same(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "a.tif")
    labels = save_labels(tmp_path / "a.gpkg", scene)
    run = labels_again(scene, labels)
    os.utime(scene, (1, 1))
    os.utime(labels, (1, 1))
    assert run()


def test_a_geopackage_that_is_edited_while_it_is_open(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "a.tif")
    labels = save_labels(tmp_path / "a.gpkg", scene)
    with closing(sqlite3.connect(labels)) as qgis:
        for name, value in {"ST_IsEmpty": 0, "ST_MinX": 0, "ST_MaxX": 1, "ST_MinY": 0, "ST_MaxY": 1}.items():
            qgis.create_function(name, 1, lambda _, value=value: value)  # which triggers of the format call
        qgis.execute("PRAGMA journal_mode=wal")
        run = labels_again(scene, labels)
        before = labels.read_bytes()
        qgis.execute("UPDATE a SET class = 'crane' WHERE class = 'ship'")
        qgis.commit()
        assert labels.read_bytes() == before, "the change is in a.gpkg-wal alone"
        with pytest.raises(UserError, match=STALE):
            run()


@pytest.mark.parametrize(
    ("name", "driver"),
    [("x.gdb", "OpenFileGDB"), ("x.tab", "MapInfo File"), ("x.mif", "MapInfo File"), ("x.shp", None)],
)
def test_label_files_of_many_parts(tmp_path: Path, name: str, driver: str | None) -> None:
    scene = make_scene(tmp_path / "a.tif")
    frame = geopandas.read_file(save_labels(tmp_path / "of.gpkg", scene))
    frame.to_file(tmp_path / name, driver=driver)
    run = labels_again(scene, tmp_path / name)
    folder = load_folder(tmp_path / "out")
    assert folder.class_names == ("ship", "tank")
    assert len(folder.images[0].boxes_xyxy_px) == 3
    for part in tmp_path.glob("x.*"):
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    frame.assign(**{"class": frame["class"].str[::-1]}).to_file(tmp_path / name, driver=driver)
    with pytest.raises(UserError, match=STALE):
        run()


def test_a_label_without_a_class_that_is_moved(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "a.tif")
    frame = geopandas.read_file(save_labels(tmp_path / "a.gpkg", scene, names=["tank", "tank", None]))
    settings = replace(BY_CLASS, skip_bad=True, window_px=64, overlap_px=0)

    def run() -> object:
        return prepare_labels(scene, tmp_path / "a.gpkg", tmp_path / "out", settings)

    assert run() == run()
    frame.geometry = [*frame.geometry[:2], translate(frame.geometry[2], -40, 30)]
    frame.to_file(tmp_path / "a.gpkg")
    with pytest.raises(UserError, match=STALE):
        run()


def test_a_folder_of_geodatabases_beside_their_scenes(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    for stem in ("a", "b"):
        labels = save_labels(tmp_path / f"{stem}.gpkg", make_scene(scenes / f"{stem}.tif"))
        (tmp_path / "labels").mkdir(exist_ok=True)
        geopandas.read_file(labels).to_file(tmp_path / "labels" / f"{stem}.gdb", driver="OpenFileGDB")
    card = prepare_labels(scenes, tmp_path / "labels", tmp_path / "out", BY_CLASS)
    assert (card["scenes"], card["boxes"]) == (2, 6)


def test_a_raster_exported_anew(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "a.tif")
    run = labels_again(scene, save_labels(tmp_path / "a.gpkg", scene))
    replaced(scene, make_scene(tmp_path / "other.tif", ground=50).read_bytes())
    with pytest.raises(UserError, match=STALE):
        run()


@pytest.mark.parametrize("depth", [1, 2])
def test_a_source_of_a_vrt(tmp_path: Path, depth: int) -> None:
    source = scene = make_scene(tmp_path / "source.tif")
    labels = save_labels(tmp_path / "a.gpkg", scene)
    for i in range(depth):
        scene = vrt(tmp_path / f"{i}.vrt", scene)
    run = labels_again(scene, labels)
    replaced(source, make_scene(tmp_path / "other.tif", ground=50).read_bytes())
    with pytest.raises(UserError, match=STALE):
        run()


@pytest.mark.parametrize("sidecar", ["world file", "aux.xml", "mask"])
def test_a_file_that_is_put_beside_a_scene(tmp_path: Path, sidecar: str) -> None:
    scene = make_scene(tmp_path / "a.tif", crs=None, transform=None)
    frame = geopandas.GeoDataFrame(
        {"class": ["ship"]}, geometry=geopandas.GeoSeries.from_wkt(["POLYGON((5 5,9 5,9 9,5 5))"])
    )
    frame.to_file(tmp_path / "a.geojson")
    run = labels_again(scene, tmp_path / "a.geojson")
    if sidecar == "world file":
        (tmp_path / "a.tfw").write_text("1\n0\n0\n-1\n0\n90\n")
    elif sidecar == "aux.xml":
        (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset><SRS>EPSG:32633</SRS></PAMDataset>")
    else:
        with rasterio.open(scene, "r+") as file:
            file.write_mask(np.zeros((100, 130), bool))
    with pytest.raises(UserError, match=STALE):
        run()


def test_an_image_of_a_data_set_and_of_a_prepared_folder(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "made").root
    image = root / "images" / "003.png"

    def tile() -> object:
        return tile_folder(load_folder(root), tmp_path / "tiles", window_px=64, overlap_px=0)

    runs = [
        lambda: prepare_coco(root, tmp_path / "coco"),
        lambda: prepare_prepared(root, tmp_path / "prepared"),
        tile,
    ]
    for run in runs:
        assert run() == run()
    # other pixels in a file of the same length; another file, as those prepared are links to this one
    pixels = np.asarray(Image.open(image)).copy()
    pixels[0, 0] ^= 1
    size, times = image.stat().st_size, image.stat()
    image.unlink()
    Image.fromarray(pixels).save(image)
    with image.open("ab") as file:
        file.write(b"\0" * (size - image.stat().st_size))
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    for run in runs:
        with pytest.raises(UserError, match=STALE):
            run()


def test_a_world_file_beside_an_image_of_a_data_set(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "made").root
    prepare_coco(root, tmp_path / "coco")
    (root / "images" / "003.pgw").write_text("1\n0\n0\n-1\n0\n90\n")
    with pytest.raises(UserError, match=STALE):
        prepare_coco(root, tmp_path / "coco")
