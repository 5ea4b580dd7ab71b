"""Windows looked at by the workers of a Ray cluster, on this machine or on many.

A task is a range of windows of one scene. It returns what it found and writes nothing. Scenes are opened, merged and
written by the program that was started, in the order of the windows. So a range that Ray runs again, because its worker
died, counts once, and the layer is the one of a run without Ray.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import BoundedSemaphore, Event
from typing import TYPE_CHECKING, Any, TypeVar

import rasterio

from fsod.errors import UserError, one_line
from fsod.geo.read_ahead import Reading
from fsod.geo.scene_prediction import MAX_CACHE_BYTES
from fsod.geo.search import Detect, Searched, search_windows

if TYPE_CHECKING:
    from ray import ObjectRef

Item = TypeVar("Item")
Result = TypeVar("Result")

RANGE_BATCHES = 16
"""Batches per task: seconds of work, so that handing it out costs nothing beside it, and little is lost with a worker."""

RETRIES = 3
"""How often a range is tried again after its worker died."""

WORKERS_HERE: int | None = None
"""Of the cluster that is started here; None: one per CPU."""

STARTS = 3
"""On a busy machine Ray's own processes may miss the time that Ray gives them to start."""

STORE_BYTES = 512 * 2**20
"""Ray's object store on this machine; it holds the weights, once, and what tasks have found."""

LOOK_UP_S = 1.0
"""How often a thread that waits for a task looks up whether the program is to end."""


@dataclass(frozen=True)
class RayCluster:
    """Workers that are ready.

    Attributes:
        workers: tasks that the cluster had room for when it was joined, one per GPU if it has any, else one per CPU.
        at_once: items that ``map`` works on at the same time.
    """

    workers: int
    at_once: int
    _make_detect: ObjectRef
    _task: Any
    _threads: ThreadPoolExecutor
    _room: BoundedSemaphore
    _ending: Event = field(default_factory=Event)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As the builtin: in threads of this process, enough of them to keep all workers busy with small scenes."""
        return self._threads.map(function, items)

    def search(self, reading: Reading, detect: Detect) -> Generator[Searched, None, None]:
        """As ``search_windows``, with the workers' own detector instead of ``detect``. Ranges that are out when time is up are kept.

        Raises:
            UserError: also if a worker cannot open the scene, or a range has cost more workers than may be.
        """
        import ray

        # a worker may stand in another folder
        scene, path = reading.scene, Path(reading.scene.name)
        there = replace(scene, name=str(path.resolve())) if path.exists() else scene
        size = reading.batch * RANGE_BATCHES
        # travels once, not with every range: to write down a coordinate system takes as long as to merge a range
        # a clock that counts from a machine's start says nothing on another one
        shared = [ray.put(replace(reading, scene=there, indices=(), ends=None))]
        pending: deque[tuple[ObjectRef, Reading]] = deque()
        try:
            for start in range(0, len(reading.indices), size):
                part = replace(reading, indices=reading.indices[start : start + size])
                while not self._room.acquire(blocking=not pending):
                    yield from self._collect(*pending.popleft())
                if reading.is_over:
                    self._room.release()
                    break
                pending.append((self._task.remote([self._make_detect], shared, part.indices), part))
            while pending:
                yield from self._collect(*pending.popleft())
        finally:
            for task, _ in pending:
                ray.cancel(task)
                self._room.release()

    def _collect(self, task: ObjectRef, part: Reading) -> list[Searched]:
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            while not ray.wait([task], timeout=LOOK_UP_S)[0]:
                if self._ending.is_set():
                    raise KeyboardInterrupt
            return ray.get(task)
        except RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from error
            if isinstance(error.cause, Exception):
                raise error.cause from error  # Ray's own text is the worker's whole traceback
            raise
        except RayError as error:
            raise UserError(
                f"{part.scene.name}: windows {part.indices[0]} to {part.indices[-1]} were given up after {1 + RETRIES} "
                f"attempts, as the worker was lost each time ({str(error).splitlines()[0]}); run the same command again to go on"
            ) from error
        finally:
            self._room.release()

    def _end(self) -> None:
        self._ending.set()
        self._threads.shutdown(cancel_futures=True)


@contextmanager
def ray_cluster(make_detect: Callable[[], Detect]) -> Iterator[RayCluster]:
    """Joins the cluster that ``RAY_ADDRESS`` names, or that this process has joined already; else starts one here.

    The one started here listens on 127.0.0.1 only, has a worker a CPU and ends with the block.

    Args:
        make_detect: makes the detector on a worker, once for each process; travels once.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be joined.
    """
    if find_spec("ray") is None:
        raise UserError("--engine ray needs the package 'ray', which is not installed: pip install 'fsod[ray]'")
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        # Ray listens on all interfaces unless it is told that there is no cluster; the name is a historical one
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    own = not ray.is_initialized()
    if own:
        _join(address)
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    workers = gpus or max(int(resources.get("CPU", 0)), 1)
    task = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, max_retries=RETRIES)(_search_range)
    at_once = 2 * workers  # one at work, one at hand
    cluster = RayCluster(
        workers,
        at_once,
        ray.put(make_detect),
        task,
        ThreadPoolExecutor(at_once, "fsod-scene"),
        BoundedSemaphore(at_once),
    )
    try:
        yield cluster
    finally:
        cluster._end()
        if own:
            ray.shutdown()


def _join(address: str | None) -> None:
    import ray

    where, starts = f"the Ray cluster at RAY_ADDRESS={address} cannot be joined", 1
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if not address:
        where, starts = f"Ray cannot be started here, in {STARTS} attempts", STARTS
        options |= {"address": "local", "num_cpus": WORKERS_HERE, "object_store_memory": STORE_BYTES}
        options |= {"include_dashboard": False}
        # Ray's own is 15: beside anything else that computes, workers would get a thirtieth of a core
        os.environ.setdefault("RAY_worker_niceness", "0")
    for left in reversed(range(starts)):
        try:
            ray.init(**options)
            return
        except Exception as error:  # what Ray raises here has no other base
            ray.shutdown()
            if not left:
                raise UserError(f"{where} ({one_line(error)})") from error


def _search_range(make_detect: list[ObjectRef], shared: list[ObjectRef], indices: Sequence[int]) -> list[Searched]:
    """What a worker does with some windows of a shared ``Reading``.

    What is shared comes in lists, so that Ray does not unpack it for every task.
    """
    import ray

    part: Reading = replace(ray.get(shared[0]), indices=indices)
    try:
        own = part.scene.reopen()
    except UserError as error:
        raise UserError(
            f"{error} on the worker {socket.gethostname()}; workers read scenes themselves, so a path must lead to the "
            "same file on every machine: put scenes into a shared folder, or name them by URL"
        ) from error
    detect = _detector(make_detect[0])
    with own, rasterio.Env(GDAL_CACHEMAX=min(MAX_CACHE_BYTES, own.row_bytes(part.window_px))):
        return list(search_windows(replace(part, scene=own), detect))


@lru_cache(1)
def _detector(make_detect: ObjectRef) -> Detect:
    import ray

    os.environ["OMP_NUM_THREADS"] = "1"  # a task has one CPU; the others have workers of their own
    make: Callable[[], Detect] = ray.get(make_detect)
    return make()
