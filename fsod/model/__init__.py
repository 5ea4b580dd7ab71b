"""The network: YOLOv7 backbone and neck, support encoder, meta-detection head. Tensors only."""
