"""Scenes of any size: windows of pixels in, one merged and georeferenced layer of boxes out.

This package knows rasters and boxes, not networks: a detector is a function from a batch of windows to boxes.
"""
