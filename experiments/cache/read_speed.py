"""Images a second that training reads from the memory-mapped cache and by decoding JPEGs, with two workers.

    .venv/bin/python experiments/cache/read_speed.py /path/to/nwpu_vhr10

Both ways are measured in turns, so that a busy machine slows both; CPU time is told beside, which others disturb less. Writes results.json beside this file.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from data_prep.nwpu import prepare_nwpu
from data_prep.tile import tile_folder
from fsod.config_file import load_settings
from fsod.data.cache import PixelCache
from fsod.data.coco_folder import CocoFolder, load_folder, read_ids, read_image, write_json
from fsod.data.crop import Square
from fsod.data.real_episodes import RealEpisodes

HERE = Path(__file__).parent
CONFIG = load_settings(Path("configs/nwpu.yaml"))
WORKERS, ROUNDS, BATCHES, EPISODES = 2, 9, 100, 16


class DecodedPixels(PixelCache):
    """What training would do without the cache: open the image file each time."""

    def __init__(self, folder: CocoFolder) -> None:
        self.images = folder.images

    def __getitem__(self, i: int) -> NDArray[np.uint8]:
        return read_image(self.images[i])


class Crops(Dataset[torch.Tensor]):
    """Batches of query crops at random places, as episodes cut them, and nothing else."""

    def __init__(self, folder: CocoFolder, pixels: PixelCache) -> None:
        self.images, self.pixels, self.size = folder.images, pixels, CONFIG.episodes.query_px

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, i: int) -> torch.Tensor:
        rng = np.random.default_rng(i)
        crops = []
        for image in rng.integers(len(self.images), size=CONFIG.episodes.queries):
            record = self.images[image]
            centre = rng.uniform(0, 1, 2) * [record.width_px, record.height_px]
            crops.append(Square.around(centre, self.size, self.size).pixels(self.pixels[int(image)]))
        return torch.from_numpy(np.stack(crops))


def episodes(folder: CocoFolder, pixels: PixelCache) -> RealEpisodes:
    made = RealEpisodes(folder, list(range(len(folder.class_names))), CONFIG.episodes, EPISODES, seed=0)
    made.pixels = pixels
    return made


def cpu_seconds() -> float:
    """Of this process and its workers so far, as Linux counts them."""
    stats = [Path(f"/proc/{worker.pid}/stat").read_text() for worker in multiprocessing.active_children()]
    ticks = [sum(map(int, stat.rpartition(")")[2].split()[11:13])) for stat in stats]
    return time.process_time() + sum(ticks) / os.sysconf("SC_CLK_TCK")


def read_all(dataset: Dataset[Any]) -> tuple[float, float]:
    """Seconds, and CPU seconds, to take every item out of a loader like that of training, its workers already running."""
    loader = DataLoader(dataset, batch_size=None, num_workers=WORKERS, prefetch_factor=4, persistent_workers=True)
    for _ in loader:  # starts the workers and warms the disk's cache, for both ways alike
        pass
    started, spent = time.perf_counter(), cpu_seconds()
    for _ in loader:
        pass
    return time.perf_counter() - started, cpu_seconds() - spent


def compare(ways: Mapping[str, Dataset[Any]], images: int) -> dict[str, Any]:
    """Medians over the rounds of images per second and CPU time per image, and of what one way is better in each round."""
    rounds = [{name: read_all(dataset) for name, dataset in ways.items()} for _ in range(ROUNDS)]
    result: dict[str, Any] = {}
    for name in ways:
        wall, cpu = np.median([taken[name] for taken in rounds], axis=0)
        result[name] = {"images_a_second": round(images / wall, 1), "cpu_ms_an_image": round(1000 * cpu / images, 3)}
    ratios = np.array([np.divide(taken["jpeg"], taken["cache"]) for taken in rounds])
    wall_ratio, cpu_ratio = np.median(ratios, axis=0).round(2).tolist()
    return {**result, "ratio": wall_ratio, "ratios": np.sort(ratios[:, 0]).round(2).tolist(), "cpu_ratio": cpu_ratio}


def measure(folder: CocoFolder) -> dict[str, Any]:
    started = time.perf_counter()
    cache, jpeg = PixelCache(folder), DecodedPixels(folder)
    fill_seconds = time.perf_counter() - started
    # an episode reads an image for each query and for each support crop
    drawn = [episodes(folder, cache)[i] for i in range(EPISODES)]
    read = sum(len(e.queries) + e.supports.shape[0] * e.supports.shape[1] for e in drawn)
    crops = {"jpeg": Crops(folder, jpeg), "cache": Crops(folder, cache)}
    whole = {"jpeg": episodes(folder, jpeg), "cache": episodes(folder, cache)}
    return {
        "images": len(folder.images),
        "jpeg_mb": round(sum(image.path.stat().st_size for image in folder.images) / 1e6),
        "cache_mb": round(sum(path.stat().st_size for path in cache.paths) / 1e6),
        "fill_seconds": round(fill_seconds, 1),
        "reading": compare(crops, BATCHES * CONFIG.episodes.queries),
        "episodes": compare(whole, read),
    }


def main(source: Path) -> None:
    with TemporaryDirectory() as scratch:
        whole, tiles = Path(scratch, "whole"), Path(scratch, "tiles")
        prepare_nwpu(source, whole)
        folder = load_folder(whole)
        train = read_ids(whole / "splits" / "train.txt")
        tile_folder(
            folder,
            tiles,
            window_px=CONFIG.data.tile_px,
            overlap_px=CONFIG.data.tile_overlap_px,
            keep_empty=0.0,
            ids=train,
            image_format="jpg",
        )
        results = {
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
            "workers": WORKERS,
            "rounds": ROUNDS,
            "tiles of 416 px": measure(load_folder(tiles)),
            "uncut images": measure(folder.select(train)),
        }
    write_json(HERE / "results.json", results)
    print((HERE / "results.json").read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
