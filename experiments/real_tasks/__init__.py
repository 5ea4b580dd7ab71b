"""Real tasks as an analyst meets them: a few marks on one scene, beside template matching and a YOLO from scratch."""
