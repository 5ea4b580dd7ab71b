"""Judging detections in a browser: a page served on this machine, and the layer file that every verdict goes into at once."""
