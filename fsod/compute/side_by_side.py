"""Parts of a batch side by side on a CPU.

A network call with all threads waits for the slowest one after every layer, and layers are short: on two cores, two calls with
a thread each see a sixth more images a second than one call with two.
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
    """What ``work`` says of each image, in their order.

    It is called at once with equal parts of the images, as many as the threads of the calling thread can be shared among
    without a rest. A batch that is always of one size is always divided alike, so that its results stay the same. Who asks
    while another batch is under way gets the threads that are done with it, one by one.

    Args:
        work: (B, H, W, 3) uint8 -> B results; called by threads that see torch with their share of the threads.
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
