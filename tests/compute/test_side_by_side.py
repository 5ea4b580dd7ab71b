from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fsod.compute.side_by_side import side_by_side

Seen = tuple[str, int, int, int]


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def look(images: NDArray[np.uint8]) -> list[Seen]:
    """Who sees an image, with how many threads, in how large a part, and which one it is."""
    return [
        (threading.current_thread().name, torch.get_num_threads(), len(images), int(image[0, 0, 0])) for image in images
    ]


def batch(images: int) -> NDArray[np.uint8]:
    return np.arange(images, dtype=np.uint8)[:, None, None, None]


@pytest.mark.parametrize(
    ("threads", "images", "parts", "threads_each"),
    [(2, 4, 2, 1), (4, 4, 4, 1), (8, 4, 4, 2), (6, 4, 2, 3), (4, 6, 2, 2)],
)
def test_equal_parts_share_the_threads(threads: int, images: int, parts: int, threads_each: int) -> None:
    torch.set_num_threads(threads)
    seen = side_by_side(look, batch(images))
    assert [number for *_, number in seen] == list(range(images))
    assert {(each, size) for _, each, size, _ in seen} == {(threads_each, images // parts)}
    assert all(name.startswith("fsod-network") for name, *_ in seen)


@pytest.mark.parametrize(("threads", "images"), [(1, 4), (2, 1), (3, 4)])
def test_what_cannot_be_shared_evenly_is_one_call_in_the_thread_that_asks(threads: int, images: int) -> None:
    torch.set_num_threads(threads)
    own = threading.current_thread().name
    assert side_by_side(look, batch(images)) == [(own, threads, images, i) for i in range(images)]


def test_calls_with_all_threads_take_turns() -> None:
    under_way: list[int] = []

    def alone(images: NDArray[np.uint8]) -> list[int]:
        under_way.append(1)
        time.sleep(0.05)
        return [len(under_way), under_way.pop()]

    torch.set_num_threads(1)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda _: side_by_side(alone, batch(2)), range(2))) == [[1, 1], [1, 1]]


def test_the_calls_run_at_the_same_time() -> None:
    torch.set_num_threads(2)
    met = threading.Barrier(2)  # breaks after its time if one call waits for the other
    assert side_by_side(lambda part: [met.wait(10) is not None] * len(part), batch(2)) == [True, True]


def test_the_threads_of_others_stay_as_they_were() -> None:
    torch.set_num_threads(2)
    side_by_side(look, batch(2))
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *later] == [2, 2]


def test_an_error_reaches_who_asked() -> None:
    def fails(part: NDArray[np.uint8]) -> list[Seen]:
        raise ValueError("broken")

    torch.set_num_threads(2)
    with pytest.raises(ValueError, match="broken"):
        side_by_side(fails, batch(2))
