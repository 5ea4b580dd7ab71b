import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

from data_prep.pictures import open_picture
from data_prep.voc import prepare_voc
from fsod.data.coco_folder import load_folder, read_image, read_rgb
from fsod.errors import UserError
from fsod.geo.scene_opening import open_scene
from tests.command import fsod
from tests.painted import voc_xml, write

WIDTH, HEIGHT = 50, 30
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
SNOW = np.concatenate([RGB[:, :40], np.full((HEIGHT, 10, 3), 255, np.uint8)], 1)
DEEP = np.random.default_rng(1).integers(200, 3000, (4, HEIGHT, WIDTH), dtype=np.uint16)


def geotiff(path: Path, bands: NDArray[Any], **options: object) -> Path:
    count, height, width = bands.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=count, height=height, width=width, dtype=bands.dtype, **options
        ) as file:
            file.write(bands)
    return path


def seen_in_a_scene(path: Path) -> NDArray[np.uint8]:
    with open_scene(path) as scene:
        return scene.read_reduced(10_000)[0]


def test_a_georeferenced_jpeg_keeps_its_gsd(tmp_path: Path) -> None:
    """In UTM at its central meridian, where the grid is 0.04 % short: pixels of 0.3 m on the map are 0.3001 m."""
    Image.fromarray(RGB).save(tmp_path / "a.jpg")
    assert open_picture(tmp_path / "a.jpg").gsd_m is None
    (tmp_path / "a.jgw").write_text("0.3\n0\n0\n-0.3\n500000\n5000000\n")
    (tmp_path / "a.jpg.aux.xml").write_text("<PAMDataset><SRS>EPSG:32633</SRS></PAMDataset>")
    picture = open_picture(tmp_path / "a.jpg")
    assert picture.gsd_m == pytest.approx(0.3 / 0.9996, rel=1e-4)
    assert picture.rgb is None, "the file goes as it is"


def test_a_georeferenced_jpeg_of_a_data_set_keeps_its_gsd(tmp_path: Path) -> None:
    source, out = tmp_path / "set", tmp_path / "out"
    (source / "images").mkdir(parents=True)
    (source / "labels").mkdir()
    (source / "classes.txt").write_text("ship\n")
    for stem in ("a", "b"):
        Image.fromarray(RGB).save(source / "images" / f"{stem}.jpg")
        (source / "labels" / f"{stem}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (source / "images" / "a.jgw").write_text("0.3\n0\n0\n-0.3\n500000\n5000000\n")
    (source / "images" / "a.jpg.aux.xml").write_text("<PAMDataset><SRS>EPSG:32633</SRS></PAMDataset>")
    assert fsod("data", "prepare", "yolo", source, out) == 0
    first, second = load_folder(out).images
    assert first.gsd_m == pytest.approx(0.3 / 0.9996, rel=1e-4)
    assert second.gsd_m is None


@pytest.mark.parametrize(
    ("driver", "bands", "bits"),
    [*(("GTiff", bands, bits) for bands in (1, 3) for bits in range(1, 8)), *(("PNG", 1, bits) for bits in (1, 2, 4))],
)
def test_fewer_than_8_bits_are_as_bright_as_they_mean(tmp_path: Path, driver: str, bands: int, bits: int) -> None:
    most = 2**bits - 1
    pixels = np.random.default_rng(bits).integers(0, most + 1, (bands, 40, 60)).astype(np.uint8)
    path = tmp_path / {"GTiff": "a.tif", "PNG": "a.png"}[driver]
    shape: dict[str, Any] = {"width": 60, "height": 40, "count": bands, "dtype": "uint8", "nbits": bits}
    with rasterio.open(path, "w", driver=driver, **shape) as file:
        file.write(pixels)
    expected = np.rint(np.broadcast_to(pixels, (3, 40, 60)) * (255 / most)).transpose(1, 2, 0)
    picture = open_picture(path)
    shown = picture.rgb if picture.rgb is not None else np.asarray(Image.open(path).convert("RGB"))
    assert (shown == expected).all()
    assert (seen_in_a_scene(path) == expected).all()


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("a.jpg", Image.fromarray(RGB)),
        ("a.JPEG", Image.fromarray(RGB[..., 0])),
        ("a.png", Image.fromarray(RGB)),
        ("a.png", Image.fromarray(RGB[..., 0])),
        ("a.png", Image.fromarray(RGB).quantize(16)),
        ("a.tif", Image.fromarray(RGB)),
        ("a.bmp", Image.fromarray(RGB)),
    ],
)
def test_8_bit_goes_as_it_is(tmp_path: Path, name: str, image: Image.Image) -> None:
    image.save(tmp_path / name)
    picture = open_picture(tmp_path / name)
    assert (picture.width_px, picture.height_px, picture.scaling) == (WIDTH, HEIGHT, None)
    out = tmp_path / "out"
    out.mkdir()
    assert picture.place(out, "b") == f"b{Path(name).suffix.lower()}"
    assert (out / picture.place(out, "c")).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("options", [{"interleave": "band"}, {"interleave": "pixel"}, {"photometric": "RGB"}])
@pytest.mark.parametrize("count", [3, 4])
def test_8_bit_tiffs_are_read_the_same_however_they_are_made(
    tmp_path: Path, options: dict[str, str], count: int
) -> None:
    bands = np.concatenate([RGB, RGB[..., :1] // 2], 2).transpose(2, 0, 1)[:count]
    path = geotiff(tmp_path / "a.tif", bands, **options, **({"alpha": "no"} if count == 4 else {}))
    (tmp_path / "out").mkdir()
    placed = tmp_path / "out" / open_picture(path).place(tmp_path / "out", "b")
    np.testing.assert_array_equal(read_rgb(placed), RGB)


def rgb_png16(path: Path) -> Path:
    """16-bit RGB PNG, which Pillow opens as 8-bit RGB and takes the upper half of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="PNG", count=3, height=HEIGHT, width=WIDTH, dtype="uint16") as file:
            file.write(DEEP[:3])
    return path


def transparent_png(path: Path) -> Path:
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:, :9] = 0
    Image.fromarray(np.concatenate([RGB, alpha], 2)).save(path)
    return path


@pytest.mark.parametrize(
    ("make", "scaling"),
    [
        (lambda p: geotiff(p / "a.tif", DEEP[:3], photometric="RGB"), "bands 1,2,3 scaled from"),
        (lambda p: geotiff(p / "a.tif", DEEP[:1]), "bands 1 scaled from"),
        (lambda p: geotiff(p / "a.tif", DEEP), "bands 1,2,3 the first scaled from"),
        (lambda p: geotiff(p / "a.tif", DEEP.astype(np.float32)), "bands 1,2,3 the first scaled from"),
        (
            lambda p: geotiff(p / "a.tif", SNOW.transpose(2, 0, 1), photometric="RGB", nodata=255),
            "bands 1,2,3 as they are",
        ),
        (lambda p: rgb_png16(p / "a.png"), "bands 1,2,3 scaled from"),
        (lambda p: transparent_png(p / "a.png"), "bands 1,2,3 as they are"),
    ],
)
def test_what_a_scene_would_show_otherwise_becomes_png(
    tmp_path: Path, make: Callable[[Path], Path], scaling: str
) -> None:
    path = make(tmp_path)
    picture = open_picture(path)
    assert picture.scaling is not None
    assert picture.scaling.startswith(scaling)
    (tmp_path / "out").mkdir()
    placed = tmp_path / "out" / picture.place(tmp_path / "out", "b")
    assert placed.name == "b.png"
    np.testing.assert_array_equal(read_rgb(placed), seen_in_a_scene(path))
    assert len(np.unique(read_rgb(placed))) > 100  # and not the black that the upper half of 12 bits would be


def test_a_georeferenced_source_tells_its_gsd_and_how_it_was_scaled(tmp_path: Path) -> None:
    source = tmp_path / "VOC"
    place: dict[str, Any] = {"crs": "EPSG:32618", "transform": from_origin(500_000, 4_500_000, 0.5, 0.5)}
    for name in ("Annotations", "JPEGImages"):
        (source / name).mkdir(parents=True)
    geotiff(source / "JPEGImages" / "deep.tif", DEEP, **place)
    geotiff(source / "JPEGImages" / "plain.tif", RGB.transpose(2, 0, 1), photometric="RGB", interleave="pixel", **place)
    for stem in ("deep", "plain"):
        write(source / "Annotations" / f"{stem}.xml", voc_xml([("ship", 1, 1, 9, 9)], (WIDTH, HEIGHT)))
    card = prepare_voc(source, tmp_path / "out")
    deep, plain = load_folder(tmp_path / "out").images
    assert (deep.path.name, plain.path.name) == ("deep.png", "plain.tif")
    assert deep.gsd_m == pytest.approx(0.5, rel=2e-3)
    assert plain.gsd_m == deep.gsd_m
    assert card["images_scaled_to_png"] == 1
    assert '"pixels": "bands 1,2,3 the first scaled from ' in (tmp_path / "out" / "annotations.json").read_text()
    np.testing.assert_array_equal(read_image(deep), seen_in_a_scene(source / "JPEGImages" / "deep.tif"))


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(path, exif=exif)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_an_image_to_be_turned_is_refused(tmp_path: Path, name: str) -> None:
    turned(tmp_path / name)
    with pytest.raises(UserError, match=r"a\.\w+: its EXIF orientation says to turn it"):
        open_picture(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.95])
def test_a_truncated_image_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    Image.fromarray(np.tile(RGB, (8, 8, 1))).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"a\.\w+: ") as caught:
        open_picture(path)
    assert "\n" not in str(caught.value)


def test_an_image_that_a_prepared_folder_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "deflate",
        "sparse_ok": True,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", width=20_000, height=20_000, count=3, dtype="uint8", **options):
            pass
    with pytest.raises(UserError, match=r"20000x20000 px are too many for one image"):
        open_picture(path)
    with pytest.raises(UserError, match="no such image"):
        open_picture(tmp_path / "b.tif")


def test_half_a_deep_png_is_refused(tmp_path: Path) -> None:
    path = rgb_png16(tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match="not a readable image"):
        open_picture(path)
