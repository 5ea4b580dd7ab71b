"""Official YOLOv7 weights: backbone and neck of a released checkpoint become a file that training can start from.

The published graph numbers its layers, and ``fsod.model.yolov7`` creates its convolutions in that order. So tensors are
matched by position, and shape and kind (weight, running mean, ...) must agree at every one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fsod.errors import UserError, one_line
from fsod.model.yolov7 import Trunk, build_trunk
from fsod.model_sizes import SIZES
from fsod.store.checkpoint import Header, read_safetensors, write_safetensors
from fsod.store.torch_pickle import Archive, Inert, StoredTensor

# Safetensors keeps no order of tensors. This is the order in which the official modules register their parts.
REGISTERED = (
    *("conv", "bn", "rbr_dense", "rbr_1x1"),
    *("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
)


@dataclass(frozen=True)
class OfficialWeights:
    """What a file holds.

    Attributes:
        part: where in the file the weights are: ema, model, state_dict, or file for all of it.
        shapes: official name -> shape, in module order.
        read: official name -> tensor.
    """

    part: str
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], Tensor]


class TrunkHeader(Header):
    """Of imported weights."""

    FORMAT = "fsod-trunk-1"
    WHAT = "imported weights (see `fsod weights import --help`)"
    size: str
    source: str | None = None


def import_official(source: Path, out: Path) -> dict[str, Any]:
    """Writes backbone and neck of an official checkpoint as safetensors in float32.

    Args:
        source: a file of ``torch.save`` (a whole pickled model under ``ema`` or ``model``, or a state dict), or
            safetensors with the official names.
        out: the file to write, for ``init`` of a run.

    Returns:
        What was taken and what was left.

    Raises:
        UserError: unreadable, refused (see ``torch_pickle``), or of no size that is known here.
    """
    weights = open_official(source)
    size, official_names = match_trunk(source, weights.shapes)
    tensors = {}
    for own, official in official_names.items():
        value = weights.read(official)
        if not torch.isfinite(value).all():
            raise UserError(f"{source}: {official} holds numbers that are not finite")
        tensors[own] = value.float() if value.is_floating_point() else value
    write_safetensors(out, tensors, TrunkHeader(size=size, source=source.name))
    taken = set(official_names.values())
    return {
        "size": size,
        "read_from": weights.part,
        "weights": str(out),
        "taken": len(taken),
        "parameters": sum(p.numel() for p in _empty_trunk(size).parameters()),
        "left": [f"{name} {list(shape)}" for name, shape in weights.shapes.items() if name not in taken],
    }


def initialise_trunk(trunk: Trunk, size: str, path: Path) -> None:
    """Loads what ``import_official`` wrote; UserError if it is something else, or of another size."""
    tensors, header = read_safetensors(path, TrunkHeader)
    if header.size != size:
        raise UserError(f"{path}: weights of size {header.size!r}, but the run's size is {size!r}")
    try:
        trunk.load_state_dict(tensors)
    except RuntimeError as error:
        reason = one_line(error)
        raise UserError(f"{path}: the weights do not fit {size}; import them again: {reason}") from error


def open_official(path: Path) -> OfficialWeights:
    """Names and shapes of a file's weights; the numbers are read when asked for."""
    if path.suffix == ".safetensors":
        return _open_safetensors(path)
    archive = Archive(path)
    part, tensors = _find_weights(path, archive.load())
    shapes = {name: stored.shape for name, stored in tensors.items()}
    return OfficialWeights(part, shapes, lambda name: archive.tensor(tensors[name]))


def match_trunk(path: Path, shapes: dict[str, tuple[int, ...]]) -> tuple[str, dict[str, str]]:
    """The size that a file's tensors begin with, and for each of its trunk's names the official one.

    Raises:
        UserError: no size fits; the message names the first mismatch with the one that fits furthest.
    """
    closest, misfit = -1, ""
    for size in SIZES:
        wanted = [(own, tuple(value.shape)) for own, value in _empty_trunk(size).state_dict().items()]
        fits = _count_leading_fits(wanted, list(shapes.items()))
        if fits == len(wanted):
            return size, {own: official for (own, _), official in zip(wanted, shapes, strict=False)}
        if fits > closest:
            own, shape = wanted[fits]
            there = "the file ends"
            if fits < len(shapes):
                official = list(shapes)[fits]
                there = f"the file has {official!r} {list(shapes[official])}"
            closest, misfit = fits, f"{size} has {own} {list(shape)} as its tensor {fits + 1}, where {there}"
    raise UserError(f"{path}: weights that fit none of the sizes {', '.join(SIZES)}: {misfit}")


def _count_leading_fits(wanted: list[tuple[str, tuple[int, ...]]], offered: list[tuple[str, tuple[int, ...]]]) -> int:
    """How many tensors agree in shape and kind before the first that does not."""
    for i, ((own, shape), (official, offered_shape)) in enumerate(zip(wanted, offered, strict=False)):
        if shape != offered_shape or own.split(".")[-1] != official.split(".")[-1]:
            return i
    return min(len(wanted), len(offered))


def _empty_trunk(size: str) -> Trunk:
    with torch.device("meta"):
        return build_trunk(size)


def _find_weights(path: Path, loaded: object) -> tuple[str, dict[str, StoredTensor]]:
    """The averaged model of a checkpoint, or else the model, or else the file itself as a model or state dict."""
    part, holder = "file", loaded
    if isinstance(loaded, dict):
        part = next((key for key in ("ema", "model", "state_dict") if loaded.get(key) is not None), part)
        holder = loaded.get(part, loaded)
    if isinstance(holder, Inert):
        tensors = dict(_module_tensors(holder))
    elif isinstance(holder, dict):
        tensors = {str(name): value for name, value in holder.items() if isinstance(value, StoredTensor)}
    else:
        tensors = {}
    if not tensors:
        raise UserError(f"{path}: no weights found; expected a model or a state dict, also under 'ema' or 'model'")
    return part, tensors


def _module_tensors(root: Inert) -> Iterator[tuple[str, StoredTensor]]:
    """Parameters and buffers of a pickled module in the order of its state dict."""
    waiting, seen = [("", root)], set()
    while waiting:
        prefix, module = waiting.pop()
        if id(module) in seen:  # a file may hold a module that holds itself
            continue
        seen.add(id(module))
        for name, value in [*_entries(module, "_parameters"), *_entries(module, "_buffers")]:
            if isinstance(value, StoredTensor):
                yield prefix + name, value
        children = [(f"{prefix}{name}.", child) for name, child in _entries(module, "_modules")]
        waiting.extend((path, child) for path, child in reversed(children) if isinstance(child, Inert))


def _entries(module: Inert, attribute: str) -> list[tuple[str, object]]:
    held = module.attribute(attribute)
    return [(str(name), value) for name, value in held.items()] if isinstance(held, dict) else []


def _open_safetensors(path: Path) -> OfficialWeights:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys(), key=registration_order)}
            own = "fsod" in (file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file: {one_line(error)}") from error
    if own:
        raise UserError(
            f"{path}: was written by fsod, so there is nothing to import; name it as it is, as init= of a run"
        )
    return OfficialWeights("file", {name: tuple(value.shape) for name, value in tensors.items()}, tensors.__getitem__)


def registration_order(name: str) -> list[tuple[int, int, str]]:
    """Sorts official names as the modules register them: layers by number, parts by ``REGISTERED``."""
    rank = {part: i for i, part in enumerate(REGISTERED)}
    return [
        (0, int(part), "") if part.isdecimal() else (1, rank.get(part, len(rank)), part) for part in name.split(".")
    ]
