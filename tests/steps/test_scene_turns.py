from __future__ import annotations

import pytest

from fsod.steps.scene_turns import SceneTurns


@pytest.mark.parametrize(
    ("at_once", "took", "ends"),
    [
        (1, [20, 10, 0, 30], [25, 20 + 80 / 3, 30 + 70 / 2, 100]),
        (2, [0, 50, 0, 50], [50, 50, 100, 100]),
        (1, [120, 0, 0, 0], [25, 120, 120, 120]),
    ],
)
def test_each_scene_gets_its_share_of_what_is_left(
    monkeypatch: pytest.MonkeyPatch, at_once: int, took: list[float], ends: list[float]
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    turns, given = SceneTurns(100, 4, at_once), []
    for seconds in took:
        given.append(turns.next())
        now += seconds
    assert given == pytest.approx(ends)
