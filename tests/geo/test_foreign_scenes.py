"""Rasters as other programs write them: what they hold is seen as it was meant, or said."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from PIL import Image, ImageOps
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from fsod.band_rule import BandRule
from fsod.boxes import Detections
from fsod.errors import UserError
from fsod.geo.ground_frame import laid_out, plane_around
from fsod.geo.labels import read_boxes
from fsod.geo.layer_files import write_layer
from fsod.geo.layer_table import Layer
from fsod.geo.scene_opening import open_scene
from tests.geo.rasters import UTM, MakeRaster, all_pixels, noise


def test_bands_of_several_types_are_read(make_raster: MakeRaster, tmp_path: Path) -> None:
    make_raster(noise(1), "a.tif", **UTM)
    make_raster(noise(1, np.uint16, 60_000), "b.tif", **UTM)
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{i}"><SimpleSource><SourceFilename relativeToVRT="1">{file}.tif'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for i, (kind, file) in enumerate((("Byte", "a"), ("UInt16", "b"), ("Byte", "a")), 1)
    )
    mixed = tmp_path / "mixed.vrt"
    mixed.write_text(f'<VRTDataset rasterXSize="120" rasterYSize="80">{bands}</VRTDataset>')
    with open_scene(mixed) as scene:
        rgb, valid = all_pixels(scene)
    assert valid.all()
    assert (rgb[..., 0] == rgb[..., 2]).all()
    assert rgb[..., 1].min() == 0
    assert rgb[..., 1].max() == 255


def test_an_animation_is_called_one(tmp_path: Path) -> None:
    first, *others = [Image.fromarray(np.moveaxis(noise(3), 0, -1)) for _ in range(2)]
    first.save(tmp_path / "still.webp")
    first.save(tmp_path / "moving.webp", save_all=True, append_images=[ImageOps.invert(one) for one in others])
    open_scene(tmp_path / "still.webp").close()
    with pytest.raises(UserError, match=r"moving.webp: is an animation; save one of its pictures"):
        open_scene(tmp_path / "moving.webp")


@pytest.mark.parametrize("kind", ["Byte", "Float32"])
def test_a_palette_without_colours_is_grey_and_said(make_raster: MakeRaster, tmp_path: Path, kind: str) -> None:
    make_raster(noise(1), "a.tif", **UTM)
    path = tmp_path / "palette.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="120" rasterYSize="80"><VRTRasterBand dataType="{kind}" band="1"><ColorInterp>Palette'
        '</ColorInterp><SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with open_scene(path) as scene:
        rgb, _ = all_pixels(scene)
        assert "palette has no colours" in " ".join(scene.warnings)
    assert (rgb[..., 0] == rgb[..., 1]).all()
    assert rgb.std() > 50


def tagged_alpha(dataset: rasterio.io.DatasetWriter) -> None:
    dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]


def test_infrared_that_is_tagged_alpha_hides_nothing(make_raster: MakeRaster) -> None:
    pixels = noise(4)
    pixels[3, :, :60] = 0  # water
    path = make_raster(pixels, prepare=tagged_alpha, **UTM)
    with open_scene(path) as scene:
        rgb, valid = all_pixels(scene)
        assert "band 4 is tagged alpha and is a picture" in scene.warnings[0]
    assert valid.all()
    assert (rgb == pixels[:3].transpose(1, 2, 0)).all()
    with open_scene(path, bands=(4, 1, 2)) as scene:
        assert (all_pixels(scene)[0] == pixels[[3, 0, 1]].transpose(1, 2, 0)).all()


@pytest.mark.parametrize("opaque", [255, 128])
def test_alpha_hides(make_raster: MakeRaster, opaque: int) -> None:
    pixels = noise(4)
    pixels[3] = opaque
    pixels[3, :, :60] = 0
    with open_scene(make_raster(pixels, prepare=tagged_alpha, **UTM)) as scene:
        _, valid = all_pixels(scene)
        assert scene.warnings == ()
    assert (valid == (pixels[3] > 0)).all()


@pytest.mark.parametrize(
    ("names", "bands", "said"),
    [
        (("Blue", "Green", "Red", "NIR"), (3, 2, 1), ""),
        (("coastal blue", "blue", "green", "yellow", "red", "red edge"), (5, 3, 2), ""),
        (("NIR", "red", "green"), (1, 2, 3), "its bands are called NIR, red, green"),
        (("B02", "B03", "B04", "B08"), (3, 2, 1), ""),
        (("SR_B2", "SR_B3", "SR_B4", "SR_B5"), (1, 2, 3), "its bands are called SR_B2, SR_B3, SR_B4, SR_B5; 1,2,3 are"),
        ((None,) * 8, (1, 2, 3), "has 8 bands and does not say"),
        ((None,) * 3, (1, 2, 3), ""),
    ],
)
def test_bands_are_seen_by_their_names(
    make_raster: MakeRaster, names: tuple[str | None, ...], bands: tuple[int, ...], said: str
) -> None:
    def name(dataset: rasterio.io.DatasetWriter) -> None:
        dataset.descriptions = names
        dataset.colorinterp = [ColorInterp.undefined] * len(names)

    with open_scene(make_raster(noise(len(names)), prepare=name, photometric="minisblack", **UTM)) as scene:
        assert scene.rule.bands == bands
        assert said in " ".join(scene.warnings)
        assert bool(scene.warnings) == bool(said)
        if names[0] == "Blue":
            assert str(scene.rule) == "bands 3,2,1 by their descriptions as they are"


def test_bands_of_examples_are_followed_or_it_is_said(make_raster: MakeRaster) -> None:
    pixels = noise(4)
    silent = make_raster(pixels, photometric="minisblack", prepare=untagged, **UTM)
    named = BandRule(bands=(3, 2, 1), count=4, chosen="descriptions", names=("Red", "Green", "Blue"))
    with open_scene(silent, like=(named,)) as scene:
        assert (all_pixels(scene)[0] == pixels[[2, 1, 0]].transpose(1, 2, 0)).all()
        assert scene.warnings == ()
        assert str(scene.rule) == "bands 3,2,1 as of the examples as they are"
        assert scene.shown.chosen == "descriptions"
    of_eight = BandRule(bands=(5, 3, 2), count=8, chosen="option", names=("", "", ""))
    with open_scene(silent, like=(of_eight,)) as scene:
        assert scene.rule.bands == (1, 2, 3)
        (said,) = scene.warnings
        assert "the examples were shown in bands 5,3,2 of 8, which it is not known to have" in said
    with open_scene(silent, bands=(4, 3, 2), like=(of_eight,)) as scene:
        assert scene.rule.bands == (4, 3, 2)
        assert scene.warnings == ()
        assert scene.shown.chosen == "option"
    # of two rules the one that the scene has
    with open_scene(silent, like=(of_eight, named)) as scene:
        assert scene.rule.bands == (3, 2, 1)


def untagged(dataset: rasterio.io.DatasetWriter) -> None:
    dataset.colorinterp = [ColorInterp.undefined] * dataset.count


def test_nodata_of_examples_is_followed_where_the_file_leaves_it_open(make_raster: MakeRaster) -> None:
    pixels = noise(3, np.int16, 200)
    pixels[:, :, :1] = -5  # too little to be recognised
    like = (BandRule(bands=(1, 2, 3), count=3, chosen="default", nodata=-5),)
    with open_scene(make_raster(pixels, "open.tif", **UTM), like=like) as scene:
        assert (all_pixels(scene)[1] == (pixels[0] != -5)).all()
        assert scene.shown.nodata == -5
    with open_scene(make_raster(pixels, "declared.tif", nodata=7, **UTM), like=like) as scene:
        assert (all_pixels(scene)[1] == (pixels != 7).any(axis=0)).all()
    with open_scene(make_raster(noise(3), "bytes.tif", **UTM), like=like) as scene:
        assert all_pixels(scene)[1].all()
        assert scene.warnings == ()


@pytest.mark.parametrize("bits", range(1, 8))
def test_fewer_than_8_bits_are_as_bright_as_they_mean(make_raster: MakeRaster, bits: int) -> None:
    pixels = np.random.default_rng(bits).integers(0, 2**bits, (1, 80, 120)).astype(np.uint8)
    with open_scene(make_raster(pixels, nbits=bits, **UTM)) as scene:
        rgb, _ = all_pixels(scene)
    assert (rgb[..., 0] == np.rint(pixels[0] * (255 / (2**bits - 1)))).all()


def test_control_points_with_names_in_latin1_are_said(make_raster: MakeRaster, tmp_path: Path) -> None:
    gcps = [GroundControlPoint(row, col, 500_000 + col, 5_000_000 - row) for row, col in ((0, 0), (0, 9), (9, 0))]
    vrt = tmp_path / "points.vrt"
    rasterio.shutil.copy(make_raster(noise(3), gcps=gcps, crs="EPSG:32633"), vrt, driver="VRT")
    content = vrt.read_bytes()
    assert b'<GCP Id="1"' in content
    vrt.write_bytes(content.replace(b'<GCP Id="1"', b'<GCP Id="\xfc"'))
    with open_scene(vrt) as scene:
        assert "ground control points are not in UTF-8" in " ".join(scene.warnings)
        assert scene.georeference.crs is None


@pytest.mark.parametrize("on", ["a line", "a spot", "one point"])
def test_control_points_that_give_no_plane_are_said(make_raster: MakeRaster, on: str) -> None:
    points = {
        "a line": [(i * 10, i * 10) for i in range(5)],
        "a spot": [(10, 10)] * 4,
        "one point": [(10, 10)],
    }[on]
    gcps = [GroundControlPoint(row, col, 500_000 + col, 5_000_000 - row) for row, col in points]
    with open_scene(make_raster(noise(3), gcps=gcps, crs="EPSG:32633")) as scene:
        assert scene.georeference.crs is None
        assert "give no place on the ground" in scene.warnings[0]


def test_control_points_on_both_sides_of_180_degrees(make_raster: MakeRaster) -> None:
    gcps = [
        GroundControlPoint(row, col, (179.9994 + col * 1e-5 + 180) % 360 - 180, -row * 1e-5)
        for row in (0, 80)
        for col in (0, 120)
    ]
    with open_scene(make_raster(noise(3), gcps=gcps, crs="EPSG:4326")) as scene:
        assert "off by 0.0 px" in scene.warnings[0]
        assert not any("rotated" in warning for warning in scene.warnings)  # but for the last digits of the fit
        assert scene.georeference.gsd_m == pytest.approx(1.11, abs=0.01)
        lon, lat = scene.georeference.to_lonlat(np.array([[120.0, 80.0]]))[0]
        assert (lon + 180) % 360 - 180 == pytest.approx(-179.9994)
        assert lat == pytest.approx(-8e-4)


@pytest.mark.parametrize(("crs", "radius_m"), [("IAU_2015:49910", 3_396_190), ("IAU_2015:30100", 1_737_400)])
def test_other_bodies_have_places_and_sizes_of_their_own(
    make_raster: MakeRaster, tmp_path: Path, crs: str, radius_m: float
) -> None:
    """Craters of Mars, and of the Moon in degrees: layers lie on the scene, marks are found again, areas are true."""
    degree_m = np.pi * radius_m / 180
    pixel = 10.0 if pyproj.CRS(crs).is_projected else 10.0 / degree_m
    path = make_raster(noise(3), crs=crs, transform=Affine(pixel, 0, 20 * pixel, 0, -pixel, 40 * pixel))
    with open_scene(path) as scene:
        assert "is not on the Earth" in scene.warnings[0]
        place = scene.georeference
        assert place.gsd_m == pytest.approx(10, rel=1e-3)
        assert place.pixel_areas_m2(np.array([[60.0, 40.0]]))[0] == pytest.approx(100, rel=1e-3)
        boxes = np.array([[10.0, 20.0, 30.0, 50.0]])
        found = Layer(
            Detections(boxes, np.ones(1, np.float32), np.zeros(1, np.int64)), ["crater"], place, "s", (120, 80), {}
        )
        for suffix in (".gpkg", ".geojson"):
            layer = tmp_path / f"found{suffix}"
            write_layer(layer, found)
            assert read_boxes(layer, "class", scene).boxes_xyxy_px == pytest.approx(boxes, abs=0.01)
        shapes = geopandas.read_file(tmp_path / "found.gpkg", layer="detections").geometry
        (area_m2,) = shapely.area(laid_out(shapes, plane_around(shapes)))
        assert area_m2 == pytest.approx(60_000, rel=1e-3)


def test_pixels_without_area_have_no_place(make_raster: MakeRaster) -> None:
    with open_scene(make_raster(noise(3), crs="EPSG:32633", transform=Affine(1, 0, 5e5, 1, 0, 5e6))) as scene:
        assert scene.georeference.crs is None
        assert "gives pixels no area" in scene.warnings[0]


def test_a_file_of_several_rasters_names_them(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    for append in (False, True):
        options = {"APPEND_SUBDATASET": "YES"} if append else {}
        with rasterio.open(
            path, "w", driver="GTiff", width=120, height=80, count=3, dtype="uint8", **UTM, **options
        ) as file:
            file.write(noise(3))
    with open_scene(path) as scene:
        assert "holds 2 images, of which the first is read" in scene.warnings[0]
        assert "GTIFF_DIR:2:" in scene.warnings[0]


@pytest.mark.parametrize(("orientation", "said"), [(1, False), (6, True)])
def test_a_picture_that_others_turn_is_said(tmp_path: Path, orientation: int, said: bool) -> None:
    picture = Image.fromarray(np.zeros((80, 120, 3), np.uint8))
    tags = picture.getexif()
    tags[0x112] = orientation
    picture.save(tmp_path / "a.jpg", exif=tags)
    with open_scene(tmp_path / "a.jpg") as scene:
        assert any("EXIF tag has other programs turn it" in warning for warning in scene.warnings) == said


@pytest.mark.parametrize("has_crs", [True, False])
def test_a_pnm_that_does_not_say_where_it_lies_has_no_place(tmp_path: Path, has_crs: bool) -> None:
    """Its driver leaves the numbers of the geotransform as they were in memory."""
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6 8 8 255\n" + bytes(range(192)))
    if has_crs:
        wkt = rasterio.CRS.from_epsg(32633).to_wkt()
        Path(f"{path}.aux.xml").write_text(f"<PAMDataset><SRS>{wkt}</SRS></PAMDataset>")
    with open_scene(path) as scene:
        assert scene.file_georeference.transform.is_identity
        assert f"has no {'geotransform' if has_crs else 'CRS'}, so coordinates are pixels" in scene.warnings[0]


HDF5_OF_ONE = (
    b"c-rgqaB<`1lHy|K;9!7(|4`rn6*7Q|-)>KM?(g9e#Kcg+B!sLG2Dq3Q7#SGYco={bW5s5ec^(W@1DQW%YQRnaTEM8nz`(@B$Ov;dE}EH#fl+_~<R*wHE6|n9"
    b"TpU0jFf+mwIlwGf!7yaN;qBg%45MHajDk@x3Pu50fSHYxhhIokLRwByMO{nRz}U>v#@@-*!`m+~Bs?lMAvrBGC%>q)qPniJrM;_n!sKZ)=geQUbj9j*8@FuV"
    b"wHE+de?CG"
)
"""A file of 8 x 8 px, zlib and base 85."""


def test_an_hdf5_of_one_raster_is_opened_again(tmp_path: Path) -> None:
    """Threads do so; it says that it is of another driver than the one that opens it."""
    path = tmp_path / "one.h5"
    path.write_bytes(zlib.decompress(base64.b85decode(HDF5_OF_ONE)))
    with open_scene(path) as scene, scene.reopen() as again:
        assert again.read_rectangle((0, 0, 8, 8))[0][..., 0].tolist() == (3 * np.arange(64).reshape(8, 8)).tolist()


def test_a_folder_says_how_to_name_its_rasters(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"; it holds no rasters$"):
        open_scene(tmp_path)
    for name in ("a.PNG", "b.PNG", "c.tif", "a.pgw", "b.pgw", "c.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"name its rasters: '.*/\*\.PNG'"):
        open_scene(tmp_path)


@pytest.mark.parametrize("bits", ["junk", "0", "-3", "", "99999", "8", "\u0664"])
def test_bits_that_cannot_be_change_nothing(make_raster: MakeRaster, tmp_path: Path, bits: str) -> None:
    pixels = noise(1)
    make_raster(pixels, "a.tif")
    (path := tmp_path / "bits.vrt").write_text(
        '<VRTDataset rasterXSize="120" rasterYSize="80"><VRTRasterBand dataType="Byte" band="1"><Metadata '
        f'domain="IMAGE_STRUCTURE"><MDI key="NBITS">{bits}</MDI></Metadata><SimpleSource><SourceFilename '
        'relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>',
        encoding="utf-8",
    )
    with open_scene(path) as scene:
        assert (all_pixels(scene)[0][..., 0] == pixels[0]).all()
