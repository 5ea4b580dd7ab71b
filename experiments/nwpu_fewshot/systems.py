"""The systems of fsod that the study compares: each makes a detector of a base checkpoint and a shot list."""

from __future__ import annotations

import time
from pathlib import Path

from experiments.nwpu_fewshot.bench import Bench, Learned, timed
from fsod.config import RunSettings
from fsod.config_file import override_settings
from fsod.data.shots import ShotList
from fsod.inference.enrollment import enrolled_bank, shot_examples
from fsod.inference.infer import batch_detector
from fsod.steps.records import unobserved
from fsod.store.checkpoint import Checkpoint, weights_sha256
from fsod.store.class_bank import ClassBank, learned_bank, save_bank
from fsod.training.finetune import StartRows, finetune, with_shots


def enroll(bench: Bench, base: Checkpoint, base_file: Path, shots: ShotList, out: Path) -> Learned:
    """Rows predicted from the shots for every class that the base has not learned; nothing is trained."""
    started = time.perf_counter()
    new = [name for name in shots.box_ids if name not in base.class_names]
    examples = shot_examples(bench.train, shots, new, bench.settings.episodes.support_px)
    origin = {"shots": shots.k, "seed": shots.seed}
    bank = enrolled_bank(base, examples, bench.machine, origin, bench.train.gsd_m, learned=True)
    save_bank(out / "bank.safetensors", bank, base_file)
    return detector_of(bench, base, bank, timed(started), (out / "bank.safetensors",))


def finetuned(
    bench: Bench,
    base: Checkpoint,
    base_file: Path,
    shots: ShotList,
    out: Path,
    changes: list[str],
    start_rows: StartRows = with_shots,
) -> Learned:
    """The base finetuned on the shots, with ``changes`` (as ``finetune.part=kernels``) to the run's settings.

    Where the weights that classes share stay as they were, a bank for the base is all that is kept.
    """
    content = bench.settings.model_copy(update={"seed": shots.seed}).model_dump(mode="json")
    settings = override_settings(content, changes, out, RunSettings)
    started = time.perf_counter()
    checkpoint, bank_file = out / "finetune.safetensors", out / "bank.safetensors"
    files = (checkpoint, out / "finetune.state.pt")
    tuned = finetune(settings, base, bench.train, shots, bench.machine, *files, unobserved, start_rows)
    seconds, bank = timed(started), learned_bank(tuned, bench.train.gsd_m)
    if bank.weights_sha256 == weights_sha256(base.detector):
        checkpoint.unlink()
        save_bank(bank_file, bank, base_file)
        return detector_of(bench, tuned, bank, seconds, (bank_file,))
    save_bank(bank_file, bank, checkpoint)
    return detector_of(bench, tuned, bank, seconds, (checkpoint, bank_file))


def detector_of(
    bench: Bench, checkpoint: Checkpoint, bank: ClassBank, seconds: float, files: tuple[Path, ...]
) -> Learned:
    """A checkpoint's detector with a bank's classes."""
    settings = bench.settings.evaluate
    detect = batch_detector(checkpoint, bank, bench.machine, settings, settings.score_floor)
    return Learned(detect, bank.class_names, seconds, files)
