"""A class bank, a detector or an exported network as an item of a STAC catalogue: core 1.1, extension MLM 1.5."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fsod.band_rule import are_toned
from fsod.files import sha256_of
from fsod.inference.onnx_infer import OUTPUT, OnnxHeader, expected_shape

EXTENSIONS = [
    "https://stac-extensions.github.io/mlm/v1.5.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
]
BANK_KEY = "fsod:bank_sha256"
"""Property that tells an item of ``fsod export`` from others."""

WORLD = -180.0, -90.0, 180.0, 90.0
BANDS = ({"name": "red"}, {"name": "green"}, {"name": "blue"})
SHA_256 = "1220"  # as a multihash begins: which function, and 32 bytes
ONNX = ".onnx"


def model_item(header: OnnxHeader, files: Sequence[Path], folder: Path, at_once: int | None = None) -> dict[str, Any]:
    """The item; nobody is asked where on Earth and when a detector is of use, so it is said of all the world and all time.

    Args:
        header: what the bank says of itself.
        files: bank and weights, or what stands alone, and the exported network if there is one.
        folder: where the item will lie; it names the files as seen from there.
        at_once: how many windows an exported network takes at once, None for any number.
    """
    exported = any(_is_onnx(file) for file in files)
    name, side = _plain(files[0].stem), header.window_px
    seen = "; ".join(str(rule) for rule in header.shown)
    toned = ", in the tone of fsod.geo.tone (one for all windows of a scene)" if are_toned(header.shown) else ""
    left, bottom, right, top = WORLD
    ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": EXTENSIONS,
        "id": f"{name}-{header.bank_sha256[:12]}",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": list(WORLD),
        "properties": {
            "title": f"fsod detector of {', '.join(header.class_names)}",
            "datetime": None,
            "start_datetime": "1900-01-01T00:00:00Z",
            "end_datetime": "9999-12-31T23:59:59Z",
            **({} if header.gsd_m is None else {"gsd": header.gsd_m}),
            "bands": list(BANDS),  # which MLM asks for here, and the core only where they are at an asset too
            "mlm:name": f"fsod {name}",
            "mlm:architecture": "YOLOv7",
            "mlm:framework": "PyTorch",
            "mlm:tasks": ["object-detection"],
            "mlm:input": [
                {
                    "name": "windows",
                    "description": f"8-bit windows of a scene{toned}{f', the examples were shown in {seen}' if seen else ''}",
                    "bands": [band["name"] for band in BANDS],
                    "input": {
                        "shape": [_size(at_once), 3, side, side],
                        "dim_order": ["batch", "bands", "height", "width"],
                        "data_type": "float32",
                    },
                    "value_scaling": [{"type": "scale", "value": 255}],
                    "resize_type": None,
                }
            ],
            "mlm:output": [
                {
                    **(_network_output(header, at_once) if exported else _detections()),
                    "tasks": ["object-detection"],
                    "classification:classes": _classes(header.class_names),
                }
            ],
            "mlm:hyperparameters": {
                "shown_from": dict(zip(header.class_names, header.scores, strict=True)),
                **header.suppression.model_dump(mode="json"),
            },
            BANK_KEY: header.bank_sha256,
            "fsod:weights_sha256": header.weights_sha256,
        },
        "links": [],
        "assets": {file.name: _asset(file, folder) for file in files},
    }


def _network_output(header: OnnxHeader, at_once: int | None) -> dict[str, Any]:
    """Of the file itself."""
    images, channels, locations = expected_shape(at_once, header)
    return {
        "name": OUTPUT,
        "description": "a box at each location: centre x, y, width, height in pixels, then a score for each class, "
        "rescaled so that all classes are worth showing from one threshold on; overlapping boxes are not suppressed yet",
        "result": {
            "shape": [_size(images), channels, locations],
            "dim_order": ["batch", "channel", "location"],
            "data_type": "float32",
        },
    }


def _detections() -> dict[str, Any]:
    """Of what fsod makes of a bank and its weights."""
    return {
        "name": "detections",
        "description": "of each window x1, y1, x2, y2 in pixels, score, class",
        "result": {"shape": [-1, -1, 6], "dim_order": ["batch", "detection", "value"], "data_type": "float32"},
    }


def _classes(class_names: Sequence[str]) -> list[dict[str, Any]]:
    """With names for machines, each once, and descriptions for people."""
    plain = [_plain(name) for name in class_names]
    return [
        {"value": i, "name": name if plain.count(name) == 1 else f"{name}-{i}", "description": class_names[i]}
        for i, name in enumerate(plain)
    ]


def _asset(file: Path, folder: Path) -> dict[str, Any]:
    onnx = _is_onnx(file)
    return {
        "href": quote(Path(os.path.relpath(file, folder)).as_posix()),
        "type": f"application/octet-stream; framework={'onnx' if onnx else 'pytorch'}",
        "roles": ["mlm:model", "mlm:compiled" if onnx else "mlm:weights"],
        "bands": list(BANDS),
        "mlm:artifact_type": "onnx" if onnx else "safetensors.torch.save_file",
        **({"mlm:framework": "ONNX"} if onnx else {}),
        "file:size": file.stat().st_size,
        "file:checksum": SHA_256 + sha256_of(file),
    }


def _is_onnx(file: Path) -> bool:
    return file.suffix.lower() == ONNX


def _size(number: int | None) -> int:
    """As STAC writes a size that is open."""
    return -1 if number is None else number


def _plain(name: str) -> str:
    """A name of letters, digits, - and _ alone, as catalogues want."""
    return re.sub(r"[^0-9A-Za-z]+", "-", name).strip("-") or "class"
