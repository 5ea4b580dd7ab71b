"""No network call unless asked for, and no code run: GDAL reaches for servers only where a scene was named by its URL.

Files that lie here can point there: a VRT at its sources, a sidecar at overviews, GML at its schema, GeoJSON at its
coordinate system. So can a file that is called .tif and is no TIFF: drivers that do nothing but talk to servers are
switched off where fsod is imported (``GDAL_SKIP``), and once more here: a program that imported rasterio before fsod has
registered them by then.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

import rasterio

CLOSED = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none", "GDAL_HTTP_PROXY": "off://"}
"""GDAL's settings under which it opens no connection: the first is for its file systems, the second for all the rest."""

NO_CODE = {"GDAL_VRT_ENABLE_PYTHON": "NO"}
"""GDAL runs nothing that a raster brings, whatever a program, the environment or the user's ``gdalrc`` lets it run: of all
places that GDAL looks for settings in, the thread's own come first."""

PATIENT = {
    "GDAL_HTTP_MAX_RETRY": "3",  # of requests that a busy or broken server refuses
    "GDAL_HTTP_RETRY_DELAY": "0.5",  # seconds before the first of them, twice as many before each further one
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",  # a server that sends nothing
    "GDAL_HTTP_LOW_SPEED_TIME": "60",  # for so many seconds is given up
}
"""How GDAL treats servers, unless the user has set the same variables."""

ALLOWED = "CPL_VSIL_CURL_ALLOWED_EXTENSIONS"
"""GDAL's own environment variable. Who sets it has said which remote files may be opened, also by a VRT."""

_ON_SERVERS = "curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs"
_URL = re.compile(rf"([a-z0-9]+\+)*(https?|ftp|s3|gs|az|oss)://|/vsi(.*/vsi)?({_ON_SERVERS})")


def gdal_for(scene: str) -> rasterio.Env:
    """GDAL as far as this scene may use it, for the thread that enters it."""
    return rasterio.Env(**NO_CODE, **({} if _asks_for_network(scene) else CLOSED))


@lru_cache(1)
def safe_drivers() -> tuple[str, ...] | None:
    """The drivers that may open a raster, where GDAL has registered others, too; None where it has none to be kept from.

    ``GDAL_SKIP`` has no effect on a process that imported rasterio before fsod.
    """
    with rasterio.Env() as environment:
        registered = set(environment.drivers())
    skipped = set(os.environ.get("GDAL_SKIP", "").split(","))
    return tuple(sorted(registered - skipped)) if registered & skipped else None


def why_closed(scene: str, reason: str) -> str:
    """What to do about an error of GDAL's that comes of ``gdal_for``, else nothing."""
    if _asks_for_network(scene) or not re.search(rf"https?:|off://|/vsi({_ON_SERVERS})", reason):
        return ""
    return f"; it refers to a server: name the URL itself, or set {ALLOWED}=.tif to allow it"


def _asks_for_network(scene: str) -> bool:
    return _URL.match(scene) is not None or ALLOWED in os.environ
