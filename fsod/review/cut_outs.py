"""Pieces of a scene as small pictures: tiles of a map and chips of a wall, read when they are asked for."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fsod.geo.scene import Scene
from fsod.progress import console

OVERVIEW_PX = 2048
"""Longest side of the picture that stands for the whole scene; as ``fsod predict`` writes it."""

MOST_PX = 512
"""Longest side of a piece."""

_AT_ONCE = 4
_JPEG_QUALITY = 88

Rgb = NDArray[np.uint8]


class CutOuts:
    """Reads pieces of a scene in any size, from several threads.

    What is coarser than a picture of the whole scene comes from there, so that no piece takes a pass over a scene without
    overviews of its own. Where ``fsod predict`` has left no such picture, it is made in the background, and only coarse pieces
    wait for it. Everything else is a windowed read, which GDAL answers from the scene's own overviews where it has
    them.
    """

    def __init__(self, scene: Scene, overview: Path) -> None:
        """Takes an open scene and the picture of it that ``fsod predict`` wrote; where that is missing, the scene is read.

        Raises:
            UserError: it is missing, and the scene has too many pixels to make one.
        """
        self._scene = scene
        self._coarse_px = max(scene.width_px, scene.height_px) / OVERVIEW_PX
        self._whole: Future[Rgb] = Future()
        if self._coarse_px > 1:
            self._look_at_all(overview)
        self._free: queue.SimpleQueue[Scene] = queue.SimpleQueue()
        self._free.put(scene)
        self._turns = threading.Semaphore(_AT_ONCE)

    def jpeg(self, xyxy_px: tuple[int, int, int, int], side_px: int) -> bytes:
        """A square of the scene (left, top, right, bottom) as a JPEG of ``side_px``; black where it lies beyond the scene.

        Raises:
            UserError: the pixels cannot be read.
        """
        left, top, right, bottom = xyxy_px
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right, self._scene.width_px), min(bottom, self._scene.height_px)
        canvas = np.zeros((side_px, side_px, 3), np.uint8)
        if x1 < x2 and y1 < y2:
            scale = side_px / (right - left)
            column, row = round((x1 - left) * scale), round((y1 - top) * scale)
            width, height = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
            piece = self._read((x1, y1, x2, y2), (height, width))
            canvas[row : row + height, column : column + width] = piece[: side_px - row, : side_px - column]
        _, coded = cv2.imencode(".jpg", canvas[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        return bytes(coded.tobytes())

    def close(self) -> None:
        """Gives the handles back that no thread is reading with."""
        while not self._free.empty():
            self._free.get().close()

    def _read(self, xyxy_px: tuple[int, int, int, int], shape: tuple[int, int]) -> Rgb:
        x1, y1, x2, y2 = xyxy_px
        if self._coarse_px > 1 and (x2 - x1) / shape[1] >= self._coarse_px:
            whole = self._whole.result()
            down, across = whole.shape[0] / self._scene.height_px, whole.shape[1] / self._scene.width_px
            rows = slice(int(y1 * down), max(int(y1 * down) + 1, round(y2 * down)))
            columns = slice(int(x1 * across), max(int(x1 * across) + 1, round(x2 * across)))
            piece = cv2.resize(whole[rows, columns], shape[::-1], interpolation=cv2.INTER_AREA)
            return np.asarray(piece, np.uint8)
        with self._handle() as scene:
            return scene.read_rectangle(xyxy_px, shape)[0]

    def _look_at_all(self, overview: Path) -> None:
        """Sets the picture of the whole scene, now or soon."""
        scene = self._scene
        if (written := _written(scene, overview)) is not None:
            self._whole.set_result(written)
        elif scene.is_vast or scene.has_overviews:
            self._whole.set_result(scene.read_reduced(OVERVIEW_PX)[0])
        else:
            console.print(
                f"{scene.name}: is read once to show the whole of it, as {overview.name} is not beside the layer and the file "
                "has no overviews (gdaladdo makes them)"
            )
            threading.Thread(target=self._read_all, args=(scene.reopen(),), daemon=True).start()

    def _read_all(self, scene: Scene) -> None:
        try:
            with closing(scene):
                self._whole.set_result(scene.read_reduced(OVERVIEW_PX)[0])
        except Exception as error:  # noqa: BLE001 (raised where a piece of it is asked for)
            self._whole.set_exception(error)

    @contextmanager
    def _handle(self) -> Iterator[Scene]:
        """A handle of the scene that no other thread uses."""
        with self._turns:
            try:
                scene = self._free.get_nowait()
            except queue.Empty:
                scene = self._scene.reopen()
            try:
                yield scene
            finally:
                self._free.put(scene)


def _written(scene: Scene, overview: Path) -> Rgb | None:
    """The whole scene made small, as ``fsod predict`` wrote it; None where that is of another scene, damaged or not there."""
    try:
        with Image.open(overview) as picture:
            about = json.loads(picture.info["comment"])
            if about["size_px"] == [scene.width_px, scene.height_px]:
                return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, LookupError, TypeError, SyntaxError, Image.DecompressionBombError):
        pass
    return None
