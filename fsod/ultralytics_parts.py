"""What is taken from ultralytics, all of it here: with it comes a change of Pillow, which is taken back.

Once ultralytics is imported, ``Image.open`` answers a picture that it does not know by looking for a plugin for HEIF, which
may be installed on the spot. The user would read that pi_heif is missing, whatever the picture is.
"""

from __future__ import annotations

from PIL import Image
from ultralytics.nn.modules.conv import Conv, RepConv
from ultralytics.utils import patches
from ultralytics.utils.metrics import bbox_iou

if hasattr(patches, "_image_open"):  # of newer releases
    Image.open = patches._image_open

__all__ = ["Conv", "RepConv", "bbox_iou"]
