"""The class bank: a small file that holds the rows of enrolled classes.

A bank belongs to the weights it was made with and is refused by hash for others. Banks of the same weights compose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsod.errors import UserError
from fsod.model.detector import Detector
from fsod.model.meta_head import ClassRows
from fsod.store.checkpoint import read_safetensors, weights_sha256, write_safetensors

FORMAT = "fsod-class-bank-1"


@dataclass(frozen=True)
class ClassBank:
    """Enrolled classes.

    Attributes:
        class_names: a detection's class id is a position in them.
        rows: of the meta-detection head, float32.
        weights_sha256: hash of the weights that the rows are for.
        origins: class name -> where its row comes from (learned, predicted, refined; examples, their GSD).
        gsd_m: ground size of a pixel in the examples' images, None when unknown.
    """

    class_names: tuple[str, ...]
    rows: ClassRows
    weights_sha256: str
    origins: dict[str, dict[str, Any]] = field(default_factory=dict)
    gsd_m: float | None = None

    def select(self, class_names: list[str]) -> ClassBank:
        """The same bank with these classes only, in this order; UserError for one it does not have."""
        for name in class_names:
            if name not in self.class_names:
                raise UserError(f"no class {name!r} in the bank; it has {', '.join(self.class_names)}")
        rows = self.rows.select([self.class_names.index(name) for name in class_names])
        return ClassBank(tuple(class_names), rows, self.weights_sha256, self.origins, self.gsd_m)


def save_bank(path: Path, bank: ClassBank) -> None:
    """Writes under a temporary name and renames."""
    tensors = {f"kernels.{level}": kernel.detach().cpu().contiguous() for level, kernel in enumerate(bank.rows.kernels)}
    tensors["biases"] = bank.rows.biases.detach().cpu().contiguous()
    header = {
        "format": FORMAT,
        "class_names": list(bank.class_names),
        "weights_sha256": bank.weights_sha256,
        "origins": bank.origins,
        "gsd_m": bank.gsd_m,
    }
    write_safetensors(path, tensors, header)


def load_bank(path: Path, detector: Detector) -> ClassBank:
    """Reads a bank for a detector.

    Raises:
        UserError: not a bank, or made for other weights.
    """
    tensors, header = read_safetensors(path, FORMAT, "a class bank")
    own = weights_sha256(detector)
    if header["weights_sha256"] != own:
        raise UserError(
            f"{path}: this bank was made for weights {header['weights_sha256'][:12]}, these are {own[:12]}; "
            "enroll its examples again with `fsod enroll`"
        )
    levels = len(tensors) - 1
    rows = ClassRows([tensors[f"kernels.{level}"] for level in range(levels)], tensors["biases"])
    return ClassBank(tuple(header["class_names"]), rows, own, header["origins"], header["gsd_m"])
