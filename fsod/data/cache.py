"""Decoded pixels on disk: one memory-mapped uint8 file for all images of a folder.

Training cuts small crops out of large images. Decoding the whole JPEG for each crop would cost more than the network
on two cores; a slice of the map costs microseconds, and the operating system shares the pages among workers.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsod.data.coco import CocoFolder, ImageRecord, read_image
from fsod.files import whole


class PixelCache:
    """Pixels of a folder's images by position, (H, W, 3) uint8 RGB views.

    The file is kept in ``FOLDER/.cache`` under a name made of the images, their sizes, times and the annotations, so a
    changed folder gets a new one.
    """

    def __init__(self, folder: CocoFolder) -> None:
        self.images = folder.images
        sizes = [image.width_px * image.height_px * 3 for image in folder.images]
        self.offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        path = folder.root / ".cache" / f"pixels-{_fingerprint(folder)}.u8"
        if not path.is_file():
            self._fill(path)
        self.pixels = np.memmap(path, dtype=np.uint8, mode="r")

    def _fill(self, path: Path) -> None:
        with whole(path) as temporary:
            pixels = np.memmap(temporary, dtype=np.uint8, mode="w+", shape=(int(self.offsets[-1]),))

            def copy(i: int) -> None:
                pixels[self.offsets[i] : self.offsets[i + 1]] = read_image(self.images[i]).reshape(-1)

            with ThreadPoolExecutor() as pool:
                list(pool.map(copy, range(len(self.images))))
            pixels.flush()

    def __getitem__(self, i: int) -> NDArray[np.uint8]:
        image: ImageRecord = self.images[i]
        flat = self.pixels[self.offsets[i] : self.offsets[i + 1]]
        return flat.reshape(image.height_px, image.width_px, 3)


def _fingerprint(folder: CocoFolder) -> str:
    digest = hashlib.sha256(folder.sha256.encode())
    for image in folder.images:
        modified = image.path.stat().st_mtime_ns if image.path.is_file() else 0
        digest.update(f"{image.id} {modified}".encode())
    return digest.hexdigest()[:16]
