"""Decoded pixels on disk: a memory-mapped uint8 file for each image of a folder.

Training cuts small crops out of large images. Decoding the whole JPEG for each crop would cost more than the network
on two cores; a slice of the map costs microseconds, and the operating system shares the pages among workers.

::

    FOLDER/.cache/pixels/ID-FINGERPRINT.u8    rows of RGB; the fingerprint is of the image file's size and time

Whatever selections of a folder's images are used, each image is there once.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsod.data.coco_folder import CocoFolder, ImageRecord, read_image
from fsod.errors import UserError
from fsod.files import atomic_write

AT_ONCE_PX = 2**27
"""Of images that are decoded at the same time: Pillow needs up to 11 bytes a pixel, so that is 1.5 GB."""


class PixelCache:
    """Pixels of a folder's images by position, (H, W, 3) uint8 RGB views.

    A changed image gets a new file in the place of the old one. Two runs may fill one cache at once: each puts whole
    files there, and equal ones.
    """

    def __init__(self, folder: CocoFolder) -> None:
        self.images = folder.images
        kept = folder.root / ".cache" / "pixels"
        self.paths = [kept / f"{image.id}-{_fingerprint(image)}.u8" for image in folder.images]
        there = {path.name for path in kept.iterdir()} if kept.is_dir() else set()
        missing = [i for i, path in enumerate(self.paths) if path.name not in there]
        if missing:
            self._remove_outdated(kept, there, missing)
            largest_px = max(self.images[i].width_px * self.images[i].height_px for i in missing)
            at_once = min(os.cpu_count() or 1, max(1, AT_ONCE_PX // largest_px))
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(self._fill, missing))

    def _fill(self, i: int) -> None:
        with atomic_write(self.paths[i]) as temporary:
            read_image(self.images[i]).tofile(temporary)

    def _remove_outdated(self, kept: Path, there: set[str], missing: list[int]) -> None:
        """Removes what images looked like before they changed, and what was kept in other ways before."""
        changed = {str(self.images[i].id) for i in missing}
        for name in there:
            if name.endswith(".u8") and name.partition("-")[0] in changed:
                (kept / name).unlink(missing_ok=True)
        for path in kept.parent.glob("pixels-*.u8"):
            path.unlink(missing_ok=True)

    def __getitem__(self, i: int) -> NDArray[np.uint8]:
        """The pixels; UserError if another run has removed them, as an image has changed meanwhile."""
        image = self.images[i]
        # opened each time: a handle for each image of a large folder would be more than a process may have
        try:
            return np.memmap(self.paths[i], dtype=np.uint8, mode="r", shape=(image.height_px, image.width_px, 3))
        except FileNotFoundError as error:
            raise UserError(
                f"{self.paths[i]}: was removed while in use, perhaps by another run after a change of {image.path.name}; "
                "run the same command again"
            ) from error


def _fingerprint(image: ImageRecord) -> str:
    """Of the image's size on the disk and in pixels, and of the time of its last change."""
    there = image.path.stat() if image.path.is_file() else None
    file = (there.st_size, there.st_mtime_ns) if there else ()
    said = f"{image.path.name} {image.width_px} {image.height_px} {file}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]
