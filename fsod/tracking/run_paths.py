"""Where the files of a run are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SCORES = "scores.json"
"""What an evaluation measured, beside its pictures."""


@dataclass(frozen=True)
class RunPaths:
    """Paths below a run's folder."""

    run_dir: Path

    @property
    def data(self) -> Path:
        """The prepared folder of whole images."""
        return self.run_dir / "data"

    @property
    def tiles(self) -> Path:
        """The prepared folder of training tiles."""
        return self.run_dir / "tiles"

    @property
    def pretrained(self) -> Path:
        """What pretraining makes."""
        return self.run_dir / "pretrain.safetensors"

    @property
    def pretrain_state(self) -> Path:
        """The state of an unfinished pretraining."""
        return self.run_dir / "pretrain.state.pt"

    @property
    def meta_checkpoint(self) -> Path:
        """What meta-training makes."""
        return self.run_dir / "meta-train.safetensors"

    @property
    def meta_state(self) -> Path:
        """The state of an unfinished meta-training."""
        return self.run_dir / "meta-train.state.pt"

    @property
    def database(self) -> Path:
        """The MLflow store, shared by the runs beside this one."""
        return self.run_dir.parent / "mlflow.db"

    def id_list(self, name: str) -> Path:
        """A list of image ids of the prepared folder."""
        return self.data / "splits" / f"{name}.txt"

    def shots(self, k: int, seed: int) -> Path:
        """The shot list."""
        return self.run_dir / f"k{k}-seed{seed}" / "shots.json"

    def finetuned(self, k: int, seed: int) -> Path:
        """What finetuning makes."""
        return self.run_dir / f"k{k}-seed{seed}" / "finetune.safetensors"

    def finetune_state(self, k: int, seed: int) -> Path:
        """The state of an unfinished finetuning."""
        return self.run_dir / f"k{k}-seed{seed}" / "finetune.state.pt"

    def finetune_run(self, k: int, seed: int) -> Path:
        """The id of the run in the tracking store that holds this finetuning and its evaluation."""
        return self.run_dir / f"k{k}-seed{seed}" / "finetune.mlflow"

    def bank(self, k: int, seed: int) -> Path:
        """The class bank of all classes after finetuning."""
        return self.run_dir / f"k{k}-seed{seed}" / "bank.safetensors"

    def scores(self, k: int, seed: int) -> Path:
        """What evaluation measured, as JSON; its pictures lie beside it."""
        return self.run_dir / f"k{k}-seed{seed}" / SCORES
