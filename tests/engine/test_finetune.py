from __future__ import annotations

import pytest

from fsod.engine.finetune import choose_trained
from fsod.model.detector import Detector


@pytest.mark.parametrize(
    ("part", "shared"),
    [("kernels", set()), ("adapters", {"head", "norms"}), ("all", {"head", "norms", "convolutions"})],
)
def test_each_part_trains_what_it_says(part: str, shared: set[str]) -> None:
    detector = Detector("nano", learned_classes=2)
    choose_trained(detector, part)
    trained = {name: p.ndim for name, p in detector.named_parameters() if p.requires_grad}
    assert any(name.startswith("learned") for name in trained)
    kinds = {"head" for name in trained if name.startswith("head")}
    kinds |= {"norms" if ndim == 1 else "convolutions" for name, ndim in trained.items() if name.startswith("trunk")}
    assert kinds == shared
    assert not any(name.startswith("encoder") for name in trained)
