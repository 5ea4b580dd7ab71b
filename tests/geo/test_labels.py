from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
import shapely.affinity
from affine import Affine

from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.labels import read_boxes, read_layer
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer, corners_px
from fsod.geo.mark_shapes import PointSize, hull_notes
from fsod.geo.scene import Scene
from fsod.geo.scene_opening import open_scene

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
        refused(good, r"no attribute 'kinds' \(did you mean 'kind'\?\); it has kind; .*--attribute", attribute="kinds")
        refused(good, "no layer 'other'; it has good", layer="other")
        (tmp_path / "text.geojson").write_text("{not json")
        refused(tmp_path / "text.geojson", "cannot be read as a vector file")
        (tmp_path / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
        refused(tmp_path / "empty.geojson", "holds no features")
        (tmp_path / "table.csv").write_text("kind\ntank\n")
        refused(tmp_path / "table.csv", "table without geometry")
        local = 'ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
        geopandas.read_file(good).set_crs(local, allow_override=True).to_file(tmp_path / "local.gpkg")
        refused(tmp_path / "local.gpkg", "its CRS cannot be converted to that of .*scene.tif")

        away = BOXES + np.array([[0], [500], [0]]) * [1, 0, 1, 0]
        refused(save(tmp_path / "away.gpkg", scene, away), r"feature 2: lies outside .*scene.tif \(120x90 px\)")
        refused(
            save(tmp_path / "none.gpkg", scene, kind=["a", None, " "]), "feature 2, 3: no class in its attribute kind"
        )
        collection = json.loads(geopandas.read_file(good).to_crs("EPSG:4326").to_json())
        for nested in (["tank", "ship"], {"name": "tank"}):
            collection["features"][1]["properties"]["kind"] = nested
            (tmp_path / "nested.geojson").write_text(json.dumps(collection))
            refused(tmp_path / "nested.geojson", "feature 2: no class in its attribute kind")

        frame = geopandas.read_file(good)
        frame.set_crs(None, allow_override=True).to_file(tmp_path / "nowhere.shp")
        refused(tmp_path / "nowhere.shp", "has no CRS")
        frame.set_geometry(frame.centroid).to_file(tmp_path / "points.gpkg")
        refused(tmp_path / "points.gpkg", "feature 1, 2, 3: a point, which needs a size")
        frame.to_file(tmp_path / "good.gpkg", layer="second")
        refused(good, "several layers; name one of good, second")
        assert len(read_boxes(good, "kind", scene, layer="second").class_names) == 3
        # degrees without a word about it, and a place that the scene's CRS cannot hold
        frame.set_crs("EPSG:4326", allow_override=True).to_file(tmp_path / "swapped.gpkg")
        refused(tmp_path / "swapped.gpkg", "feature 1, 2, 3: lies outside")


def test_a_picture_is_marked_downwards_or_as_in_qgis(make_raster: MakeRaster, tmp_path: Path) -> None:
    """QGIS lays a picture's top edge on y = 0 and counts upwards; a mark may reach over that edge."""
    over = np.array([[10, -4, 50, 60], [70, 5, 90, 25], [100, 70, 120, 90.0]])
    with open_made(make_raster) as scene:
        for factors in ([1, 1, 1, 1], [1, -1, 1, -1]):
            labels = read_boxes(save(tmp_path / "a.gpkg", scene, over * factors), "kind", scene)
            np.testing.assert_allclose(labels.boxes_xyxy_px, [[10, 0, 50, 60], *over[1:]])
        mixed = over * [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, 1, 1]]
        path = save(tmp_path / "mixed.gpkg", scene, mixed)
        with pytest.raises(UserError, match=r"mixed.gpkg: y is above 0 in feature 1 and below 0 in feature 2; pixels"):
            read_boxes(path, "kind", scene)
        away = save(tmp_path / "away.gpkg", scene, (over + np.array([0, 100, 0, 100])) * [1, -1, 1, -1])
        with pytest.raises(UserError, match=r"outside .* no usable CRS: .* y downwards from 0, or negative as in QGIS"):
            read_boxes(away, "kind", scene)


def test_points_become_boxes_of_a_size_on_the_ground(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, crs="EPSG:32633", transform=STRAIGHT) as scene:
        frame = geopandas.read_file(save(tmp_path / "a.gpkg", scene))
        points = frame.geometry.centroid
        one, two = shapely.MultiPoint([points[2]]), shapely.MultiPoint([points[2], points[1]])
        several = shapely.GeometryCollection([frame.geometry[0], points[1]])
        mixed = geopandas.GeoSeries([frame.geometry[0], points[1], one, two, several], crs=frame.crs)
        geopandas.GeoDataFrame({"kind": [1, 2, 3, 4, 5]}, geometry=mixed).to_crs(4326).to_file(tmp_path / "mixed.gpkg")
        layer = read_layer(tmp_path / "mixed.gpkg", "kind", point_size=PointSize(10))
        assert layer.refused == {5: "a collection of shapes; split it into single parts"}
        placed = layer.place(scene)
        with pytest.raises(UserError, match=r"points of 61 m are larger than all of .* \(--size-m\)"):
            read_layer(tmp_path / "mixed.gpkg", "kind", point_size=PointSize(61)).place(scene)
    # 20 px of 0.5 m, less the 0.04 % by which the grid is short here
    second, third = [70, 5, 90, 25], [100, 70, 120, 90]
    np.testing.assert_allclose(placed.boxes_xyxy_px, [BOXES[0], second, third, third, second], atol=0.02)
    assert placed.class_names == ("1", "2", "3", "4", "4")
    np.testing.assert_array_equal(placed.features, [1, 2, 3, 4, 4])


def test_points_of_a_picture_have_a_size_in_its_pixels(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster) as scene:
        frame = geopandas.read_file(save(tmp_path / "a.gpkg", scene, BOXES * [1, -1, 1, -1]))
        frame.set_geometry(frame.centroid).to_file(tmp_path / "points.gpkg")
        in_px = read_layer(tmp_path / "points.gpkg", "kind", point_size=PointSize(pixels=20)).place(scene)
        np.testing.assert_allclose(in_px.boxes_xyxy_px, [[20, 30, 40, 50], [70, 5, 90, 25], [100, 70, 120, 90]])
        with pytest.raises(UserError, match=r"points.gpkg: .*scene.tif has no usable CRS, so metres .* \(--size-px\)"):
            read_layer(tmp_path / "points.gpkg", "kind", point_size=PointSize(5)).place(scene)
        with pytest.raises(
            UserError, match=r"points of 130 px are larger than all of .*scene.tif \(120x90 px\); .* \(--size-px\)"
        ):
            read_layer(tmp_path / "points.gpkg", "kind", point_size=PointSize(pixels=130)).place(scene)
        read_layer(tmp_path / "points.gpkg", "kind", point_size=PointSize(pixels=100)).place(scene)
    for wrong in ((None, None), (1, 1), (0, None), (float("nan"), None), (None, float("inf"))):
        with pytest.raises(UserError, match="size"):
            PointSize(*wrong)


def test_lines_and_turned_boxes_are_the_boxes_around_them(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, crs="EPSG:32633", transform=STRAIGHT) as scene:
        frame = geopandas.read_file(save(tmp_path / "a.gpkg", scene))
        keel = shapely.LineString([frame.geometry[0].bounds[:2], frame.geometry[0].bounds[2:]])
        turned = shapely.affinity.rotate(frame.geometry[1], 45)
        hull = shapely.box(*turned.bounds)
        frame.set_geometry([keel, turned, hull]).to_file(tmp_path / "drawn.gpkg")
        placed = read_boxes(tmp_path / "drawn.gpkg", "kind", scene)
    np.testing.assert_allclose(placed.boxes_xyxy_px[0], BOXES[0], atol=1e-6)
    np.testing.assert_allclose(placed.boxes_xyxy_px[1], placed.boxes_xyxy_px[2], atol=1e-6)
    assert hull_notes("drawn.gpkg", [placed.kinds[:1], placed.kinds[1:]]) == [
        "drawn.gpkg: 1 line taken as the upright box around it, which holds more than was drawn",
        "drawn.gpkg: 1 turned box taken as the upright box around it, which holds more than was drawn",
    ]
    assert hull_notes("drawn.gpkg", []) == []


def test_features_that_cannot_be_labels_are_told_apart(tmp_path: Path) -> None:
    line = shapely.LineString([(0, 0), (5, 5)])
    flat = shapely.Polygon([(0, 0), (5, 0), (9, 0)])
    level = shapely.LineString([(0, 0), (5, 0)])
    shapes = [shapely.box(0, 0, 5, 5), line, None, shapely.Polygon(), flat, shapely.box(-5, 0, 5, 8), level]
    frame = geopandas.GeoDataFrame({"kind": [1, 1, 1, 1, 1, None, 1]}, geometry=shapes, crs="EPSG:32633")
    frame.to_file(tmp_path / "a.gpkg")
    layer = read_layer(tmp_path / "a.gpkg", "kind")
    no = "no geometry; delete it"
    assert layer.refused == {6: "no class in its attribute kind", 3: no, 4: no, 5: "no area", 7: "no area"}
    assert layer.class_names == ("1", "1")


@pytest.mark.parametrize("name", ["\x1b[2J", "x" * 10**6])
def test_a_class_that_would_steer_or_fill_a_terminal_is_refused(tmp_path: Path, name: str) -> None:
    boxes = [shapely.box(0, 0, 5, 5), shapely.box(5, 0, 9, 5)]
    frame = geopandas.GeoDataFrame({"kind": ["ship", name]}, geometry=boxes, crs="EPSG:32633")
    frame.to_file(tmp_path / "a.gpkg")
    layer = read_layer(tmp_path / "a.gpkg", "kind")
    assert layer.refused == {2: "a class with characters that cannot be printed, or too many"}
    assert layer.class_names == ("ship",)


def test_a_share_of_a_box_is_visible(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, crs="EPSG:32633", transform=STRAIGHT) as scene:
        boxes = np.array([[-30, 10, 10, 20], [0, 0, 20, 20], [110, 80, 130, 100.0]])
        placed = read_boxes(save(tmp_path / "a.gpkg", scene, boxes), "kind", scene)
    np.testing.assert_allclose(placed.visible, [0.25, 1, 0.25], atol=1e-6)


def test_parts_of_a_feature_are_examples_of_their_own(make_raster: MakeRaster, tmp_path: Path) -> None:
    with open_made(make_raster, crs="EPSG:32633", transform=STRAIGHT) as scene:
        one = geopandas.read_file(save(tmp_path / "a.gpkg", scene)).geometry
        parts = [shapely.MultiPolygon([one[0], one[1]]), shapely.MultiPolygon([one[2]])]
        geopandas.GeoDataFrame({"kind": ["tank", "ship"]}, geometry=parts, crs=one.crs).to_file(tmp_path / "d.gpkg")
        labels = read_boxes(tmp_path / "d.gpkg", "kind", scene)
        np.testing.assert_allclose(labels.boxes_xyxy_px, BOXES, atol=1e-6)
        assert labels.class_names == ("tank", "tank", "ship")
        assert labels.features.tolist() == [1, 1, 2]
        assert labels.numbers.tolist() == [1, 2, 3]
        # one part away is a feature that is not wholly on the scene
        away = shapely.MultiPolygon([one[0], shapely.affinity.translate(one[1], 1e4)])
        geopandas.GeoDataFrame({"kind": ["tank"]}, geometry=[away], crs=one.crs).to_file(tmp_path / "e.gpkg")
        with pytest.raises(UserError, match="feature 1: lies outside"):
            read_boxes(tmp_path / "e.gpkg", "kind", scene)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(0.001, 0, 179.97, 0, -0.001, 0.05)),
        ("EPSG:4326", Affine(0.001, 0, -180.03, 0, -0.001, 0.05)),
        ("EPSG:4258", Affine(0.001, 0, 179.97, 0, -0.001, 0.05)),
        ("EPSG:3832", Affine(100, 0, 3_336_000, 0, -100, 5000)),
    ],
)
@pytest.mark.parametrize("suffix", [".geojson", ".gpkg"])
def test_our_own_boxes_across_180_degrees_read_back_whole(
    make_raster: MakeRaster, tmp_path: Path, crs: str, transform: Affine, suffix: str
) -> None:
    """GeoJSON cuts them there, and the scene may count its longitudes from 0 to 360."""
    found = Detections(BOXES, np.ones(3, np.float32), np.array([0, 0, 1]))
    with open_made(make_raster, crs=crs, transform=transform) as scene:
        size_px = scene.width_px, scene.height_px
        write_layer(tmp_path / f"a{suffix}", Layer(found, ["tank", "ship"], scene.georeference, "s", size_px, {}))
        labels = read_boxes(tmp_path / f"a{suffix}", "class", scene)
    np.testing.assert_allclose(labels.boxes_xyxy_px, BOXES, atol=1e-3)
    if suffix == ".geojson":
        assert set(geopandas.read_file(tmp_path / "a.geojson").geom_type) == {"Polygon", "MultiPolygon"}


@pytest.mark.parametrize("name", ["scene.tif", "lon_0_to_360.tif"])
def test_on_inputs_that_failed(shared: Path, name: str) -> None:
    cases = shared / "data" / "cases"
    if not cases.is_dir():
        pytest.skip(f"inputs that failed are not here: {cases}")
    with open_scene(cases / name) as scene:
        if name == "scene.tif":
            six = read_boxes(cases / "examples.geojson", "class", scene).boxes_xyxy_px
            for other in ("dissolved.geojson", "layer_styles.gpkg"):
                again = read_boxes(cases / other, "class", scene).boxes_xyxy_px
                assert len(again) == 6
                np.testing.assert_allclose(np.sort(again, axis=0), np.sort(six, axis=0), atol=0.1)
        else:
            path = cases / "found_on_lon_0_to_360.geojson"
            boxes = geopandas.read_file(path)[["x1_px", "y1_px", "x2_px", "y2_px"]].to_numpy()
            np.testing.assert_allclose(read_boxes(path, "class", scene).boxes_xyxy_px, boxes, atol=0.01)
