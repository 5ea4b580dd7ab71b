"""Silence while libraries read and write, for any number of threads at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from rasterio.errors import NotGeoreferencedWarning

_lock = Lock()
_inside = 0
_filters = warnings.catch_warnings()


@contextmanager
def quietly() -> Iterator[None]:
    """What rasterio and geopandas warn of is not shown meanwhile; what a user should know fsod says itself, with the file.

    The filters belong to all threads, and ``catch_warnings`` puts back those that it met. So the first thread that comes
    changes them, and the last one that leaves puts them back.

    What ``fsod.geo.georeference`` asks a raster is answered by ``NotGeoreferencedWarning``, which is raised there.
    """
    global _inside, _filters
    with _lock:
        if not _inside:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            warnings.filterwarnings("ignore", module=r"(fsod|geopandas|pyogrio|shapely)\b")
            warnings.filterwarnings("error", category=NotGeoreferencedWarning, module=r"fsod\.geo\.georeference$")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _filters.__exit__(None, None, None)
