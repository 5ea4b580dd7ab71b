"""Scenes of any size: windows of pixels in, one merged and georeferenced layer of boxes out.

This package knows rasters and boxes, not networks: a detector is a function from a batch of windows to boxes.
"""

import os

import pyogrio

from fsod.geo.network import CLOSED, PATIENT

for _key, _value in PATIENT.items():
    os.environ.setdefault(_key, _value)
# when a PNG is read at once, GDAL takes what a truncated one lacks for read
os.environ.setdefault("GDAL_PNG_WHOLE_IMAGE_OPTIM", "NO")

# degrees on the Moon or Mars are degrees there; without this PROJ refuses to call them longitude and latitude
os.environ.setdefault("PROJ_IGNORE_CELESTIAL_BODY", "YES")

# a vector file is always one that lies here
pyogrio.set_gdal_config_options({**CLOSED, "GML_DOWNLOAD_SCHEMA": False})
