"""Detecting: a network with class rows run on images; enrolling, proposed scores, ONNX, Ray."""
