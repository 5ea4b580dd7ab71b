from __future__ import annotations

import numpy as np
import torch

from fsod.config import EpisodeSettings
from fsod.data.procedural.drawn_episodes import BLOCK, ProceduralEpisodes
from fsod.data.real_episodes import Episode

SIZES = EpisodeSettings(ways=3, shots=2, queries=1, query_px=128, support_px=64)


def same(one: Episode, other: Episode) -> bool:
    return all(torch.equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def test_an_episode_depends_on_seed_and_number_alone() -> None:
    episodes = ProceduralEpisodes(SIZES.model_copy(update={"procedural_uses": 2}), 100, seed=4)
    first = episodes[BLOCK + 1]
    again = ProceduralEpisodes(SIZES.model_copy(update={"procedural_uses": 2}), 100, seed=4)
    assert same(again[BLOCK + 1], first)
    assert same(episodes[BLOCK + 1], first)
    assert not same(ProceduralEpisodes(SIZES, 100, seed=5)[BLOCK + 1], first)


def test_a_drawing_is_used_again_after_a_block_and_looks_otherwise() -> None:
    episodes = ProceduralEpisodes(SIZES.model_copy(update={"procedural_uses": 2}), 100, seed=0)
    one, two, new = episodes[0], episodes[BLOCK], episodes[2 * BLOCK]
    assert torch.equal(one.box_classes.sort().values, two.box_classes.sort().values)
    assert torch.equal(one.sides_px, two.sides_px)
    assert not torch.equal(one.queries, two.queries)
    assert one.sides_px.shape != new.sides_px.shape or not torch.equal(one.sides_px, new.sides_px)


def test_ways_and_shots_are_drawn_anew() -> None:
    episodes = ProceduralEpisodes(SIZES.model_copy(update={"ways": 4}), 100, seed=0)
    drawn = {tuple(episodes[i].sides_px.shape) for i in range(12)}
    assert {ways for ways, _ in drawn} == {2, 3, 4}
    assert {shots for _, shots in drawn} == {1, 2}


def test_an_example_is_about_as_large_as_its_class_in_the_queries() -> None:
    """The size code can only mean something if an episode's pictures have about one GSD."""
    ratios = []
    episodes = ProceduralEpisodes(SIZES, 100, seed=1)
    for i in range(6):
        episode = episodes[i]
        for box, box_class in zip(episode.boxes_xyxy_px[0], episode.box_classes[0], strict=True):
            if box_class >= 0:
                side = float((box[2:] - box[:2]).prod() ** 0.5)
                ratios.append(side / float(episode.sides_px[int(box_class)].mean()))
    assert 0.6 < np.median(ratios) < 1.7
