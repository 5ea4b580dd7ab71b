from __future__ import annotations

import numpy as np
import pytest
import torch

from fsod.config import EpisodeSettings
from fsod.data.photographs.album import Album
from fsod.data.photographs.cut_classes import ENLARGED, LENGTHS_PX, like_but_for_one, random_class
from fsod.data.photographs.photo_episodes import PhotoEpisodes
from fsod.data.real_episodes import Episode
from fsod.errors import UserError
from tests.made_photographs import made_photograph

SIZES = EpisodeSettings(ways=3, shots=2, queries=2, query_px=128, support_px=64)


@pytest.fixture(scope="module")
def album() -> Album:
    return Album([made_photograph(seed) for seed in range(4)])


def same(one: Episode, other: Episode) -> bool:
    return all(torch.equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def test_an_episode_depends_on_seed_and_number_alone(album: Album) -> None:
    episodes = PhotoEpisodes(SIZES, album, 10, seed=4)
    third = episodes[3]
    assert same(PhotoEpisodes(SIZES, Album(album.photographs), 10, seed=4)[3], third)
    assert not same(episodes[2], third)
    assert not same(PhotoEpisodes(SIZES, album, 10, seed=5)[3], third)


def test_a_process_makes_its_share_of_the_queries(album: Album) -> None:
    whole = PhotoEpisodes(SIZES, album, 10, seed=1)[0]
    part = PhotoEpisodes(SIZES, album, 10, seed=1, share=range(1, 2))[0]
    assert torch.equal(part.queries[0], whole.queries[1])
    assert torch.equal(part.supports, whole.supports)


def test_an_episode_is_well_formed(album: Album) -> None:
    for i in range(6):
        episode = PhotoEpisodes(SIZES, album, 10, seed=0)[i]
        ways, shots = episode.sides_px.shape
        assert 2 <= ways <= 3
        assert 1 <= shots <= 2
        assert episode.invented
        assert episode.supports.shape == (ways, shots, 4, 64, 64)
        assert (episode.supports[:, :, 3].flatten(2).sum(2) > 0).all()
        boxes = episode.boxes_xyxy_px[episode.box_classes >= 0]
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert boxes.min() >= 0
        assert boxes.max() <= 128
        assert set(episode.box_classes.unique().tolist()) <= {-1, *range(ways)}


def test_an_example_is_about_as_large_as_its_class_in_the_queries(album: Album) -> None:
    ratios = []
    for i in range(8):
        episode = PhotoEpisodes(SIZES, album, 10, seed=2)[i]
        for boxes, classes in zip(episode.boxes_xyxy_px, episode.box_classes, strict=True):
            for box, box_class in zip(boxes, classes.tolist(), strict=True):
                if box_class >= 0:
                    side = float((box[2:] - box[:2]).prod() ** 0.5)
                    ratios.append(side / float(episode.sides_px[box_class].mean()))
    assert len(ratios) > 30
    assert 0.7 < np.median(ratios) < 1.4


def test_some_queries_show_a_class_where_it_was_photographed_and_some_set_its_like_aside(album: Album) -> None:
    episodes = [PhotoEpisodes(SIZES, album, 20, seed=3)[i] for i in range(8)]
    assert any((episode.ignored_xyxy_px[..., 2:] > episode.ignored_xyxy_px[..., :2]).any() for episode in episodes)


def test_classes_are_shown_at_any_size_within_bounds(album: Album) -> None:
    rng = np.random.default_rng(0)
    lengths = [random_class(rng, album).longer_px for _ in range(60)]
    assert min(lengths) < 12
    assert max(lengths) > 60
    assert max(lengths) < 2 * LENGTHS_PX[1]
    for _ in range(20):
        cut = random_class(rng, album)
        assert ENLARGED[0] <= cut.enlarged <= ENLARGED[1]
        other = like_but_for_one(rng, cut)
        differs = [
            other.enlarged != cut.enlarged,
            other.stretched != cut.stretched,
            not np.array_equal(other.tint, cut.tint),
        ]
        assert sum(differs) == 1
        assert other.members == cut.members


def test_photographs_without_anything_are_refused() -> None:
    plain = Album([np.full((64, 64, 3), 90, np.uint8)])
    with pytest.raises(UserError, match="nothing stands out"):
        random_class(np.random.default_rng(0), plain)
