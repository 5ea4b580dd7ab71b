from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.labels import read_boxes, read_layer
from fsod.geo.layer_files import write_layer
from fsod.geo.scene import Scene, open_scene
from fsod.geo.vector import Layer, corners_px

MakeRaster = Callable[..., Path]

BOXES = np.array([[10, 20, 50, 60], [70, 5, 90, 25], [100, 70, 120, 90]], dtype=np.float64)
CLASSES = ["tank", "tank", "ship"]
STRAIGHT = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
ROTATED = Affine.translation(500_000, 5_000_000) @ Affine.rotation(25) @ Affine.scale(0.5, -0.5)


def open_made(make_raster: MakeRaster, **profile: object) -> Scene:
    return open_scene(make_raster(np.ones((1, 90, 120), np.uint8), **profile))


def save(path: Path, scene: Scene, boxes: np.ndarray = BOXES, crs: str | None = None, **columns: object) -> Path:
    """Boxes as polygons in ``crs``, or the scene's own."""
    rings = corners_px(boxes)
    polygons = shapely.polygons(scene.georeference.to_crs(rings.reshape(-1, 2)).reshape(rings.shape))
    frame = geopandas.GeoDataFrame(columns or {"kind": CLASSES}, geometry=polygons, crs=scene.georeference.crs)
    (frame if crs is None else frame.to_crs(crs)).to_file(path)
    return path


@pytest.mark.parametrize("transform", [STRAIGHT, ROTATED])
@pytest.mark.parametrize(
    ("name", "crs"),
    [
        ("a.geojson", "EPSG:4326"),
        ("a.gpkg", "EPSG:3857"),
        ("a.shp", "EPSG:32634"),
        ("a.fgb", None),
        ("a.gpkg", "EPSG:4258"),
    ],
)
def test_any_format_and_crs_comes_back_as_pixels(
    make_raster: MakeRaster, tmp_path: Path, transform: Affine, name: str, crs: str | None
) -> None:
    with open_made(make_raster, crs="EPSG:32633", transform=transform) as scene:
        labels = read_boxes(save(tmp_path / name, scene, crs=crs), "kind", scene)
    # GeoJSON keeps 7 decimals of a degree: 1 cm, 0.02 px
    order = np.argsort(labels.boxes_xyxy_px[:, 0])
    np.testing.assert_allclose(labels.boxes_xyxy_px[order], BOXES, atol=0.03)
    assert [labels.class_names[i] for i in order] == CLASSES


def test_our_own_geojson_reads_back(make_raster: MakeRaster, tmp_path: Path) -> None:
    found = Detections(BOXES, np.ones(3, np.float32), np.array([0, 0, 1]))
    with open_made(make_raster, crs="EPSG:3857", transform=STRAIGHT) as scene:
        layer = Layer(found, ["tank", "ship"], scene.georeference, "scene.tif", (scene.width_px, scene.height_px), {})
        write_layer(tmp_path / "a.geojson", layer)
        labels = read_boxes(tmp_path / "a.geojson", "class", scene)
    np.testing.assert_allclose(labels.boxes_xyxy_px, BOXES, atol=1e-3)
    assert labels.class_names == tuple(CLASSES)


def test_without_a_crs_coordinates_are_pixels(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster) as scene:
        labels = read_boxes(save(tmp_path / "a.gpkg", scene), "kind", scene)
    np.testing.assert_allclose(labels.boxes_xyxy_px, BOXES)


def test_a_box_over_the_edge_is_clipped(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, crs="EPSG:32633", transform=STRAIGHT) as scene:
        labels = read_boxes(save(tmp_path / "a.gpkg", scene, np.array([[-5, 80, 20, 99.0]]), kind=["x"]), "kind", scene)
    np.testing.assert_allclose(labels.boxes_xyxy_px, [[0, 80, 20, 90]], atol=1e-6)


def test_bad_input_is_named(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, crs="EPSG:32633", transform=STRAIGHT) as scene:

        def refused(path: Path, message: str, attribute: str = "kind", layer: str | None = None) -> None:
            with pytest.raises(UserError, match=message) as caught:
                read_boxes(path, attribute, scene, layer=layer)
            assert path.name in str(caught.value)
            assert "\n" not in str(caught.value)

        good = save(tmp_path / "good.gpkg", scene)
        refused(tmp_path / "missing.gpkg", "no such vector file")
        refused(good, r"no attribute 'kinds' \(did you mean 'kind'\?\); it has kind", attribute="kinds")
        refused(good, "no layer 'other'; it has good", layer="other")
        (tmp_path / "text.geojson").write_text("{not json")
        refused(tmp_path / "text.geojson", "cannot be read as a vector file")
        (tmp_path / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
        refused(tmp_path / "empty.geojson", "holds no features")
        (tmp_path / "table.csv").write_text("kind\ntank\n")
        refused(tmp_path / "table.csv", "table without geometry")
        local = 'ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
        geopandas.read_file(good).set_crs(local, allow_override=True).to_file(tmp_path / "local.gpkg")
        refused(tmp_path / "local.gpkg", "its CRS does not lead to that of .*scene.tif")

        away = BOXES + np.array([[0], [500], [0]]) * [1, 0, 1, 0]
        refused(save(tmp_path / "away.gpkg", scene, away), r"feature 2: lies outside .*scene.tif \(120x90 px\)")
        refused(save(tmp_path / "none.gpkg", scene, kind=["a", None, " "]), "feature 2, 3: no class in kind")

        frame = geopandas.read_file(good)
        frame.set_crs(None, allow_override=True).to_file(tmp_path / "nowhere.shp")
        refused(tmp_path / "nowhere.shp", "has no CRS")
        frame.set_geometry(frame.centroid).to_file(tmp_path / "points.gpkg")
        refused(tmp_path / "points.gpkg", "feature 1, 2, 3: no polygon")
        frame.to_file(tmp_path / "good.gpkg", layer="second")
        refused(good, "several layers; name one of good, second")
        assert len(read_boxes(good, "kind", scene, layer="second").class_names) == 3
        # degrees without a word about it, and a place that the scene's CRS cannot hold
        frame.set_crs("EPSG:4326", allow_override=True).to_file(tmp_path / "swapped.gpkg")
        refused(tmp_path / "swapped.gpkg", "feature 1, 2, 3: lies outside")


def test_pixels_counted_downwards_negative_get_a_hint(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster) as scene:
        path = save(tmp_path / "a.gpkg", scene, BOXES * [1, -1, 1, -1])
        with pytest.raises(
            UserError, match="has no usable CRS: coordinates must be its pixels, with y downwards from 0"
        ):
            read_boxes(path, "kind", scene)


def test_points_become_boxes_of_a_size_on_the_ground(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, crs="EPSG:32633", transform=STRAIGHT) as scene:
        frame = geopandas.read_file(save(tmp_path / "a.gpkg", scene))
        points = frame.geometry.centroid
        one, two = shapely.MultiPoint([points[2]]), shapely.MultiPoint([points[2], points[0]])
        mixed = geopandas.GeoSeries([frame.geometry[0], points[1], one, two], crs=frame.crs)
        geopandas.GeoDataFrame({"kind": [1, 2, 3, 4]}, geometry=mixed).to_crs(4326).to_file(tmp_path / "mixed.gpkg")
        layer = read_layer(tmp_path / "mixed.gpkg", "kind", point_size_m=10)
        assert layer.refused == {4: "no polygon"}
        placed = layer.place(scene)
    # 20 px of 0.5 m, less the 0.04 % by which the grid is short here
    np.testing.assert_allclose(placed.boxes_xyxy_px, [BOXES[0], [70, 5, 90, 25], [100, 70, 120, 90]], atol=0.02)
    assert placed.class_names == ("1", "2", "3")
    np.testing.assert_array_equal(placed.features, [1, 2, 3])


def test_features_that_cannot_be_labels_are_told_apart(tmp_path: Path) -> None:
    line = shapely.LineString([(0, 0), (5, 5)])
    flat = shapely.Polygon([(0, 0), (5, 0), (9, 0)])
    shapes = [shapely.box(0, 0, 5, 5), line, None, shapely.Polygon(), flat, shapely.box(-5, 0, 5, 8)]
    frame = geopandas.GeoDataFrame({"kind": [1, 1, 1, 1, 1, None]}, geometry=shapes, crs="EPSG:32633")
    frame.to_file(tmp_path / "a.gpkg")
    layer = read_layer(tmp_path / "a.gpkg", "kind")
    no = "no polygon"
    assert layer.refused == {6: "no class in kind", 2: no, 3: no, 4: no, 5: "no area"}
    assert layer.class_names == ("1",)


def test_a_class_that_would_steer_a_terminal_is_refused(tmp_path: Path) -> None:
    boxes = [shapely.box(0, 0, 5, 5), shapely.box(5, 0, 9, 5)]
    frame = geopandas.GeoDataFrame({"kind": ["ship", "\x1b[2J"]}, geometry=boxes, crs="EPSG:32633")
    frame.to_file(tmp_path / "a.gpkg")
    layer = read_layer(tmp_path / "a.gpkg", "kind")
    assert layer.refused == {2: "a class with characters that cannot be printed"}
    assert layer.class_names == ("ship",)


def test_a_share_of_a_box_is_visible(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, crs="EPSG:32633", transform=STRAIGHT) as scene:
        boxes = np.array([[-30, 10, 10, 20], [0, 0, 20, 20], [110, 80, 130, 100.0]])
        placed = read_boxes(save(tmp_path / "a.gpkg", scene, boxes), "kind", scene)
    np.testing.assert_allclose(placed.visible, [0.25, 1, 0.25], atol=1e-6)
