from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments.ablation import table
from experiments.ablation.run import main
from experiments.ablation.variants import VARIANTS, Part, Variant, applied
from experiments.records import read_records
from fsod.loss import meta_loss
from fsod.model import baked
from fsod.model.baked import bake
from fsod.model.detector import Detector


def detector() -> Detector:
    torch.manual_seed(0)
    made = Detector("nano", 3)
    with torch.no_grad():
        made.maps(torch.rand(4, 3, 64, 64))  # statistics of batch norms
    return made.eval()


@pytest.mark.parametrize("name", VARIANTS)
def test_inference_decides_on_the_logits_that_training_is_judged_by(name: str) -> None:
    """A variant must change the baked network and the training one alike."""
    made, images = detector(), torch.rand(1, 3, 64, 64)
    with applied(VARIANTS[name]), torch.no_grad():
        predictions = made(images, made.learned_rows())
        boxes, scores = bake(made, made.learned_rows())(images)
        expected = vars(baked)["category_decision"](predictions.own, 3)
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-3)
        torch.testing.assert_close(boxes, predictions.boxes_xyxy_px, atol=1e-2, rtol=1e-3)


def test_a_variant_leaves_nothing_behind() -> None:
    for variant in VARIANTS.values():
        used = [(part.where, part.original.__name__, part) for part in variant.replaced]
        with applied(variant):
            assert all(getattr(where, name) is part.instead for where, name, part in used)
        assert all(getattr(where, name) is part.original for where, name, part in used)


def test_a_variant_of_what_the_product_does_not_use_is_refused() -> None:
    variant = Variant(replaced=(Part(meta_loss, bake).by(bake),))
    with pytest.raises(LookupError, match="meta_loss does not use bake"), applied(variant):
        pass


def test_without_meta_sampling_every_negative_is_kept() -> None:
    logits, negative = torch.randn(2, 3, 50), torch.rand(2, 3, 50) < 0.5
    with applied(VARIANTS["no meta-sampling"]):
        kept = vars(meta_loss)["meta_sampling"](logits, negative, torch.ones(2, 3, dtype=torch.bool), 5, 5)
    assert kept.sum() == negative.sum()


def test_the_encoder_without_size_is_not_told_how_large_objects_are() -> None:
    made, crops = detector(), torch.rand(1, 1, 4, 64, 64)

    def vectors(side_px: float) -> torch.Tensor:
        found = made.class_vectors(crops, torch.tensor([[side_px]]))
        return torch.cat([*found.vectors, found.size_code], 1)

    with torch.no_grad():
        assert not torch.allclose(vectors(16), vectors(64))
        with applied(VARIANTS["encoder without size"]):
            torch.testing.assert_close(vectors(16), vectors(64))


def test_variants_run_on_one_schedule_and_go_into_a_table(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, names = tmp_path / "results.json", ["full", "no meta-cross loss", "kernels learned", "kernels predicted"]
    short = ["meta_train.steps=2", "finetune.steps=2", "episodes.procedural_first=1"]
    arguments = ["--config", str(run), "--shots", "2", "--seeds", "0", "--results", str(results)]
    main([*arguments, "--variants", *names, "--set", *short])
    records = {r["system"]: r for r in read_records(results)}
    assert set(records) == {*names, *(f"{name}, enrolled" for name in names[:3])}
    bases = {name: records[name]["checkpoint"] for name in names}
    assert bases["kernels learned"] == bases["kernels predicted"] == bases["full"] != bases["no meta-cross loss"]
    assert records["kernels predicted"]["per_class"] == records["full, enrolled"]["per_class"]
    capsys.readouterr()
    table.main(results)
    assert "| kernels learned | " in capsys.readouterr().out
