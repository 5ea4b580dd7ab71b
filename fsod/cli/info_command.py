"""What fsod has to work with on this machine."""

from __future__ import annotations

import platform
from typing import Any

import rasterio
import torch

from fsod.about import __version__
from fsod.compute.device import choose_machine
from fsod.packages import extras, installed_version, requirements, unmet
from fsod.store.checkpoint import SHIPPED, CheckpointHeader, read_header


def info() -> dict[str, Any]:
    """Device, versions, weights, and what is missing: of fsod itself (``needed``) and of each of its extras."""
    machine = choose_machine()
    gpu = {"gpu": torch.cuda.get_device_name(machine.device)} if machine.device.type == "cuda" else {}
    return {
        "fsod": __version__,
        "python": platform.python_version(),
        "device": str(machine),
        **gpu,
        "weights": _shipped_weights(),
        "packages": {r.name: installed_version(r.name) for r in requirements()} | {"GDAL": rasterio.__gdal_version__},
        "missing": {"needed": unmet(), **{extra: unmet(extra) for extra in extras()}},
    }


def _shipped_weights() -> str | None:
    if not SHIPPED.is_file():
        return None
    header = read_header(SHIPPED, CheckpointHeader)
    return f"{SHIPPED} ({header.size}, {header.stage})"


def lines(found: dict[str, Any]) -> list[str]:
    """The same for a person to read."""
    packages, missing = found["packages"], found["missing"]
    single = {key: value for key, value in found.items() if key not in ("packages", "missing")}
    single["weights"] = found["weights"] or "none came with fsod; name some with --checkpoint"
    told = [f"{key}: {value}" for key, value in single.items()]
    told.append("packages: " + ", ".join(f"{name} {number}" for name, number in packages.items() if number))
    for extra, names in missing.items():
        name, package = ("needed", "fsod") if extra == "needed" else (f"extra {extra}", f"fsod[{extra}]")
        told.append(f"{name}: {'missing ' + ', '.join(names) + f'; pip install {package!r}' if names else 'complete'}")
    return told
