"""A folder of map tiles, read as if it were one raster: EPSG:3857, four bands of 8 bits, transparent where no tile is.

It has what ``fsod.geo`` asks of rasterio's ``DatasetReader``, and no more. Tiles may differ in kind (JPEG inside, PNG with
transparency along the edge); each is decoded as red, green, blue and alpha. Lower zooms are its overviews where they cover all
of it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterWindow

from fsod.errors import UserError, one_line
from fsod.geo.tile_names import PICTURES, TileName

TILES = "tiles"
"""What stands in the place of GDAL's driver."""

HALF_WORLD = math.pi * 6378137.0
"""Metres of EPSG:3857 from the middle of the map to its edge."""

HIGHEST_ZOOM = 30
KEPT_BYTES = 2**28
"""Of decoded tiles that a handle keeps: a row of windows of a scene 65,000 px wide in tiles of 256 px."""

MOST_PX = 2**24
"""Pixels that are put together at once; a larger read is made in parts."""

AROUND_PX = 2
"""Pixels beside what is asked for that resampling looks at."""

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
"""Kinds of pixels of 8 bits, as Pillow calls them."""

Place = tuple[int, int]
"""Column and row of a tile, from the north-west."""


class TileMosaic:
    """The tiles of one zoom, from the first column and row that has one to the last.

    Attributes:
        width: in pixels.
        height: in pixels.
        transform: to EPSG:3857.
    """

    driver = TILES
    count = 4
    dtypes = ("uint8",) * 4
    colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    descriptions = (None,) * 4
    mask_flag_enums = ([MaskFlags.per_dataset, MaskFlags.alpha],) * 3 + ([MaskFlags.all_valid],)
    subdatasets: tuple[str, ...] = ()
    gcps: tuple[list[object], None] = ([], None)
    rpcs = None

    def __init__(self, name: TileName, nodata: float | None = None) -> None:
        """Looks which tiles there are, and at none of them but for its size.

        Args:
            name: of the tiles.
            nodata: colour of all three bands that stands for nothing.

        Raises:
            UserError: no tiles, none of this zoom, or a name that is no place on the map.
        """
        zooms = sorted(int(path.name) for path in _entries(name.root) if path.name.isdigit() and path.is_dir())
        self._zoom, self._tiles = _first_with_tiles(name, zooms)
        self._nodata = nodata
        self.crs = CRS.from_epsg(3857)
        places = np.array(list(self._tiles))
        (self._x0, self._y0), last = places.min(axis=0).tolist(), places.max(axis=0)
        self._side = _side_px(next(iter(self._tiles.values())))
        self.width, self.height = ((last - [self._x0, self._y0] + 1) * self._side).tolist()
        metres = 2 * HALF_WORLD / (self._side * 2**self._zoom)
        left, top = (metres * self._side * first - HALF_WORLD for first in (self._x0, self._y0))
        self.transform = Affine(metres, 0, left, 0, -metres, -top)
        self.block_shapes = [(self._side, self._side)] * 4
        self._levels = {self._zoom: self._tiles, **self._covering(name, zooms)}
        self._decoded: OrderedDict[Path, NDArray[np.uint8]] = OrderedDict()

    def _covering(self, name: TileName, zooms: list[int]) -> dict[int, dict[Place, Path]]:
        """Lower zooms that show all of the tiles."""
        levels: dict[int, dict[Place, Path]] = {}
        for zoom in (zoom for zoom in zooms if zoom < self._zoom):
            tiles = _tiles_of(name, zoom)
            shift = self._zoom - zoom
            if {(x >> shift, y >> shift) for x, y in self._tiles} <= tiles.keys():
                levels[zoom] = tiles
        return levels

    @property
    def files(self) -> list[str]:
        """Of the zoom that is read."""
        return [str(path) for path in self._tiles.values()]

    def overviews(self, band: int) -> list[int]:
        """Factors that there are smaller copies of, the same for each band."""
        return sorted(2 ** (self._zoom - zoom) for zoom in self._levels if zoom < self._zoom)

    def tags(self, band: int = 0, ns: str | None = None) -> dict[str, str]:
        """None."""
        return {}

    def close(self) -> None:
        """Forgets what has been decoded."""
        self._decoded.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read_masks(
        self, bands: Sequence[int], *, window: RasterWindow, out_shape: tuple[int, ...]
    ) -> NDArray[np.uint8]:
        """Alpha, for each of the bands."""
        alpha = self.read(4, window=window, out_shape=out_shape[-2:])
        return np.broadcast_to(alpha, (len(bands), *alpha.shape))

    def read(
        self,
        bands: int | Sequence[int],
        *,
        window: RasterWindow,
        out_shape: tuple[int, ...] | None = None,
        resampling: Resampling = Resampling.nearest,
    ) -> NDArray[np.uint8]:
        """Pixels of a rectangle, resampled to a shape: (bands, h, w), or (h, w) of one band; as rasterio's method.

        Raises:
            OSError: a tile that cannot be read.
        """
        shape = (int(window.height), int(window.width)) if out_shape is None else (out_shape[-2], out_shape[-1])
        pixels = self._read(window, shape, resampling)
        return pixels[bands - 1] if isinstance(bands, int) else pixels[[band - 1 for band in bands]]

    def _read(self, window: RasterWindow, shape: tuple[int, int], how: Resampling) -> NDArray[np.uint8]:
        reduction = min(window.height / shape[0], window.width / shape[1])
        zoom = min(zoom for zoom in self._levels if 2 ** (self._zoom - zoom) <= max(1, reduction * (1 + 1e-9)))
        factor = 2 ** (self._zoom - zoom)
        if window.height * window.width / factor**2 > MOST_PX and max(shape) > 1:
            return self._in_two(window, shape, how)
        # in the pixels of the whole map at that zoom
        left, top = (
            (self._x0 * self._side + window.col_off) / factor,
            (self._y0 * self._side + window.row_off) / factor,
        )
        width, height = window.width / factor, window.height / factor
        if shape == (height, width) and left == int(left) and top == int(top):
            return self._mosaic(zoom, int(left), int(top), int(width), int(height))
        world = self._side * 2**zoom
        x1, y1 = (max(0, math.floor(start) - AROUND_PX) for start in (left, top))
        x2, y2 = (min(world, math.ceil(end) + AROUND_PX) for end in (left + width, top + height))
        with MemoryFile() as memory:
            size = {"width": x2 - x1, "height": y2 - y1, "count": 4, "dtype": "uint8"}
            with memory.open(driver="GTiff", photometric="RGB", transform=self.transform, **size) as file:
                file.write(self._mosaic(zoom, x1, y1, x2 - x1, y2 - y1))
            with memory.open() as file:
                own = RasterWindow(left - x1, top - y1, width, height)
                return np.asarray(file.read(window=own, out_shape=(4, *shape), resampling=how))

    def _in_two(self, window: RasterWindow, shape: tuple[int, int], how: Resampling) -> NDArray[np.uint8]:
        """The same in two parts side by side, or one above the other."""
        axis = 0 if shape[0] >= shape[1] else 1
        first = shape[axis] // 2
        parts, start = [], 0
        for count in (first, shape[axis] - first):
            begin, length = start / shape[axis], count / shape[axis]
            if axis == 0:
                place = (window.col_off, window.row_off + begin * window.height, window.width, length * window.height)
                parts.append(self._read(RasterWindow(*place), (count, shape[1]), how))
            else:
                place = (window.col_off + begin * window.width, window.row_off, length * window.width, window.height)
                parts.append(self._read(RasterWindow(*place), (shape[0], count), how))
            start += count
        return np.concatenate(parts, axis=axis + 1)

    def _mosaic(self, zoom: int, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """A rectangle of the whole map at a zoom, (4, height, width); 0 where no tile is."""
        pixels = np.zeros((4, height, width), np.uint8)
        tiles, side = self._levels[zoom], self._side
        for y in range(top // side, (top + height - 1) // side + 1):
            for x in range(left // side, (left + width - 1) // side + 1):
                if (path := tiles.get((x, y))) is None:
                    continue
                tile = self._tile(path)
                x1, y1 = max(left, x * side), max(top, y * side)
                x2, y2 = min(left + width, (x + 1) * side), min(top + height, (y + 1) * side)
                part = tile[:, y1 - y * side : y2 - y * side, x1 - x * side : x2 - x * side]
                pixels[:, y1 - top : y2 - top, x1 - left : x2 - left] = part
        if self._nodata is not None:
            pixels[3, (pixels[:3] == self._nodata).all(axis=0)] = 0
        return pixels

    def _tile(self, path: Path) -> NDArray[np.uint8]:
        """Red, green, blue and alpha of a tile (4, side, side)."""
        if path in self._decoded:
            self._decoded.move_to_end(path)
            return self._decoded[path]
        try:
            with Image.open(path, formats=["PNG", "JPEG", "WEBP"]) as image:
                if image.size != (self._side, self._side) or image.mode not in MODES:
                    kind = f"{image.width} x {image.height} px of kind {image.mode}"
                    raise ValueError(f"has {kind}; the first tile has {self._side} x {self._side} px of 8 bits")
                pixels = np.ascontiguousarray(np.moveaxis(np.asarray(image.convert("RGBA")), -1, 0))
        except (OSError, ValueError, SyntaxError, EOFError, ImportError, Image.DecompressionBombError) as error:
            raise OSError(f"{path}: {one_line(error)}") from None  # Pillow does not say which
        self._decoded[path] = pixels
        if len(self._decoded) * pixels.nbytes > KEPT_BYTES:
            self._decoded.popitem(last=False)
        return pixels


def _first_with_tiles(name: TileName, zooms: list[int]) -> tuple[int, dict[Place, Path]]:
    """The zoom to read and its tiles."""
    for zoom in [name.zoom] if name.zoom is not None else reversed(zooms):
        if tiles := _tiles_of(name, zoom) if zoom in zooms else {}:
            return zoom, tiles
    if name.zoom is None or not zooms:
        raise UserError(f"{name.root}: holds no tiles Z/X/Y.png (or .jpg, .webp)")
    raise UserError(f"{name.root}: holds no tiles of zoom {name.zoom}; it has {', '.join(map(str, zooms))}")


def _tiles_of(name: TileName, zoom: int) -> dict[Place, Path]:
    """The tiles of one zoom by their place, in order."""
    if zoom > HIGHEST_ZOOM:
        raise UserError(f"{name.root / str(zoom)}: not a zoom level of a map; these go up to {HIGHEST_ZOOM}")
    tiles: dict[Place, Path] = {}
    last = 2**zoom - 1
    for column in _entries(name.root / str(zoom)):
        if not (column.name.isdigit() and column.is_dir()):
            continue
        for path in _entries(column):
            if not path.stem.isdigit() or path.suffix.lower() not in PICTURES:
                continue
            x, y = int(column.name), int(path.stem)
            if max(x, y) > last:
                raise UserError(f"{path}: zoom {zoom} has columns and rows 0 to {last} only")
            tiles[x, last - y if name.upwards else y] = path
    return dict(sorted(tiles.items()))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read as a folder of tiles ({error.strerror or error})") from error


def _side_px(path: Path) -> int:
    """Of a tile, by its header."""
    try:
        with Image.open(path, formats=["PNG", "JPEG", "WEBP"]) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, ImportError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as a tile ({one_line(error)})") from error
    if width != height or not 16 <= width <= 4096:
        raise UserError(f"{path}: a tile of {width} x {height} px; tiles are squares of 16 to 4096 px")
    return width
