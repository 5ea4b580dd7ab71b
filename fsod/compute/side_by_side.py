"""Runs the parts of a batch in parallel on a CPU.

One call with all threads waits for the slowest thread after every layer, and layers are short. On two cores, two calls with
one thread each process a sixth more images per second than one call with two threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier, Lock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

T = TypeVar("T")

_all_threads = Lock()


def side_by_side(work: Callable[[NDArray[np.uint8]], list[T]], images: NDArray[np.uint8]) -> list[T]:
    """The results of ``work`` for each image, in order.

    The batch is cut into equal parts, which run at the same time. The number of parts divides both the images and the threads
    of the calling thread. Batches of one size are always cut alike, so their results stay the same. A second batch that
    arrives meanwhile gets each thread as soon as it is free.

    Args:
        work: (B, H, W, 3) uint8 -> B results. In the threads that call it, torch uses their share of the threads.
        images: (B, H, W, 3) uint8.
    """
    threads = torch.get_num_threads()
    calls = math.gcd(threads, len(images))
    if calls == 1:
        with _all_threads:
            return work(images)
    return [result for part in _crew(calls, threads // calls).map(work, np.split(images, calls)) for result in part]


@cache
def _crew(calls: int, threads_each: int) -> ThreadPoolExecutor:
    crew = ThreadPoolExecutor(calls, "fsod-network", _keep_threads, (threads_each,))
    threads = torch.get_num_threads()
    all_here = Barrier(calls + 1)
    for _ in range(calls):
        crew.submit(all_here.wait)
    all_here.wait()
    # threads that start later take over the number that was set last, whoever set it
    torch.set_num_threads(threads)
    return crew


def _keep_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.get_num_threads()  # a thread that has never asked takes over what others set
