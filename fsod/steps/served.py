"""The detector behind MLflow's scoring server: requests in, boxes out.

A request's row is an image (PNG or JPEG, base64) or the path of a GeoTIFF below the one folder that the server was
started with. What a row says is never trusted: neither with other formats, which may point at files and servers of their
own, nor with other folders, nor with sizes without bound.
"""

from __future__ import annotations

import os
import threading
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas
import shapely
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from pydantic import ValidationError
from rasterio.io import MemoryFile

from fsod.config import PredictSettings
from fsod.errors import UserError, first_problem
from fsod.geo.layer_table import Layer
from fsod.geo.raster_file import open_dataset
from fsod.geo.raster_in_memory import is_in_memory
from fsod.inference.infer import warm_up
from fsod.steps.scene_sayings import of_pixels
from fsod.steps.scene_search import search_scene
from fsod.steps.searcher import load_searcher

if TYPE_CHECKING:
    from mlflow.pyfunc import PythonModelContext

SCENES = "FSOD_SCENES"
"""Environment variable: the folder that scenes may be read from. None are where it is not set."""

MAX_IMAGE_BYTES = 64 * 2**20
MAX_IMAGE_PX = 100_000_000
"""A few kilobytes can claim any size. Larger images go by path: a GeoTIFF is read window by window."""

ROW = "a row needs either 'image' (base64 of a PNG or JPEG) or 'scene' (path of a GeoTIFF)"

IMAGE_FORMATS = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
"""First bytes -> GDAL's driver. Others may refer to files and URLs: VRT, even GeoTIFF."""

SCENE_FORMAT = "GTiff"


class ServedDetector(mlflow.pyfunc.PythonModel):
    """A class bank and its weights, as MLflow wants a model.

    Artifacts: ``bank``, and ``weights`` unless the bank was exported. The model's configuration holds the keys of
    ``PredictSettings``; ``SERVING_MODEL_CONFIG`` (JSON) overrides them when a server starts.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Reads bank and weights; UserError if they, the settings or the folder of scenes cannot be used."""
        try:
            self._plan = PredictSettings.model_validate(context.model_config or {})
        except ValidationError as error:
            raise UserError(f"model configuration: {first_problem(error)}") from error
        self._scenes = scene_folder()
        weights = context.artifacts.get("weights")
        self._searcher = load_searcher(Path(context.artifacts["bank"]), weights and Path(weights), self._plan)
        self._turn = threading.Lock()
        warm_up(self._searcher.detect, self._plan.batch, self._searcher.window_px)

    def predict(
        self, context: PythonModelContext, model_input: pandas.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Detections of every row, see the signature in ``register``; rows are done one after the other, requests too.

        Raises:
            MlflowException: a row cannot be answered, and why; the server makes it status 400.
        """
        rows = model_input.to_dict("records")
        try:
            if not rows:  # MLflow drops columns that it does not know
                raise UserError(f"no rows; {ROW}")
            with self._turn:  # two at once would take twice the memory and be no faster
                return [self._answer(row) for row in rows]
        except UserError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error

    def _answer(self, row: dict[str, Any]) -> dict[str, Any]:
        # a column that only other rows fill is None or NaN here
        given = {key: text for key in ("image", "scene") if isinstance(text := row.get(key), str) and text}
        if len(given) != 1:
            raise UserError(ROW)
        if "scene" in given:
            path = scene_path(given["scene"], self._scenes)
            return self._search(str(path), SCENE_FORMAT, given["scene"])
        content = decode_image(given["image"])
        driver = image_format(content)
        with MemoryFile(content) as file:
            check_size(file.name, driver)
            return self._search(file.name, driver, "image")

    def _search(self, path: str, driver: str, called: str) -> dict[str, Any]:
        """What is found in a raster, which messages call as the request did: the folders here are nobody's business.

        GDAL's ``driver`` alone reads it: left to choose, GDAL takes a JPEG with the right comment for a VRT.
        """
        try:
            result = search_scene(path, self._searcher, self._plan, driver=driver)
        except UserError as error:
            raise UserError(str(error).replace(path, called)) from error
        names, size_px = self._searcher.class_names, (result.width_px, result.height_px)
        frame = Layer(result.detections, names, result.georeference, called, size_px, {}).frame(lonlat=True)
        said = [warning.replace(path, called) for warning in result.warnings]
        if is_in_memory(path):
            said = of_pixels(said, self._plan)
        on_a_map = result.georeference.crs is not None
        return {
            "width_px": result.width_px,
            "height_px": result.height_px,
            "gsd_m": result.gsd_m,
            "detections": [
                {
                    "class": row["class"],
                    "score": row["score"],
                    "box_xyxy_px": [row["x1_px"], row["y1_px"], row["x2_px"], row["y2_px"]],
                    "lonlat": shapely.geometry.mapping(shape) if on_a_map and (shape := row["geometry"]) else None,
                }
                for row in frame.to_dict("records")
            ],
            "warnings": said,
        }


def scene_folder() -> Path | None:
    """The folder that ``SCENES`` names, without links; UserError if it is no folder, None if none is named."""
    name = os.environ.get(SCENES)
    if not name:
        return None
    if not Path(name).is_dir():
        raise UserError(f"{SCENES}={name}: no such folder; scenes are read from it")
    return Path(name).resolve()


def scene_path(text: str, folder: Path | None) -> Path:
    """The GeoTIFF that a request names, relative to the folder or absolute.

    Raises:
        UserError: no folder, a path that leaves it (by ``..`` or a link), no such file, no GeoTIFF.
    """
    if folder is None:
        raise UserError(f"scene: this server reads no scenes; start it with {SCENES}=FOLDER, or send an image")
    shown = text if len(text) <= 200 else text[:200] + "..."
    try:
        path = (folder / text).resolve()
        within, there = path.is_relative_to(folder), path.is_file()
    except (OSError, ValueError) as error:
        raise UserError(f"scene {shown!r}: no such file") from error
    if not within:
        raise UserError(f"scene {shown!r}: lies outside the folder that this server reads scenes from")
    if not there:
        raise UserError(f"scene {shown!r}: no such file in the folder that this server reads scenes from")
    try:
        open_dataset(str(path), SCENE_FORMAT).close()  # no VRT or the like: it may refer to anything
    except UserError as error:
        raise UserError(f"scene {shown!r}: cannot be opened as a GeoTIFF") from error
    return path


def decode_image(text: str) -> bytes:
    """The file that base64 stands for; UserError if it is too long, or not base64."""
    if len(text) > MAX_IMAGE_BYTES * 4 // 3:
        raise UserError(f"image: more than {MAX_IMAGE_BYTES // 2**20} MiB; large rasters go by path, as 'scene'")
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise UserError(f"image: not base64 ({error})") from error


def image_format(content: bytes) -> str:
    """GDAL's name of a file's format by its first bytes; UserError if it is not one of ``IMAGE_FORMATS``."""
    for start, name in IMAGE_FORMATS.items():
        if content.startswith(start):
            return name
    raise UserError("image: neither PNG nor JPEG; rasters of other formats go by path, as 'scene'")


def check_size(path: str, driver: str) -> None:
    """UserError unless an image can be opened and is of a size to be decoded; its pixels are not touched."""
    try:
        with open_dataset(path, driver) as image:
            width, height = image.width, image.height
    except UserError as error:
        raise UserError(f"image: a damaged {driver}") from error
    if width * height > MAX_IMAGE_PX:
        raise UserError(f"image: {width} x {height} px is more than {MAX_IMAGE_PX // 10**6} million; send it in parts")
