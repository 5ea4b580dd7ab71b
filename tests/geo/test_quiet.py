from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from rasterio.errors import NotGeoreferencedWarning

from fsod.geo.quiet import quietly
from fsod.geo.raster_in_memory import raster_in_memory
from fsod.geo.scene_opening import open_scene


def test_threads_leave_the_warnings_as_they_were() -> None:
    before, together = list(warnings.filters), Barrier(8)
    pixels = np.zeros((32, 32, 3), np.uint8)

    def look(_: int) -> None:
        together.wait()
        for _ in range(10):
            with raster_in_memory(pixels) as name, open_scene(name) as scene:
                assert scene.georeference.crs is None

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(look, range(8)))
    assert list(warnings.filters) == before


def test_who_leaves_first_does_not_put_back_what_another_one_needs() -> None:
    before = list(warnings.filters)
    first, second = quietly(), quietly()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with warnings.catch_warnings(record=True) as said:
        warnings.warn("no geotransform", NotGeoreferencedWarning, stacklevel=1)
    assert not said
    second.__exit__(None, None, None)
    assert list(warnings.filters) == before
    with pytest.warns(NotGeoreferencedWarning):
        warnings.warn("no geotransform", NotGeoreferencedWarning, stacklevel=1)
