import numpy as np

from fsod.data.procedural.sensor import photograph


def test_nothing_moves() -> None:
    image = np.full((64, 64, 3), 40, np.uint8)
    image[20:23, 40:43] = 250
    for seed in range(10):
        seen = photograph(np.random.default_rng(seed), image).astype(float).sum(2)
        ys, xs = np.mgrid[15:28, 35:48]
        bright = seen[15:28, 35:48] - np.median(seen)
        bright = bright.clip(60) - 60
        assert abs((xs * bright).sum() / bright.sum() - 41) < 0.15
        assert abs((ys * bright).sum() / bright.sum() - 21) < 0.15


def test_noise_is_independent_between_channels_and_bounded() -> None:
    image = np.full((128, 128, 3), 120, np.uint8)
    seen = photograph(np.random.default_rng(3), image).astype(float)
    correlation = np.corrcoef(seen.reshape(-1, 3).T)
    assert np.abs(correlation - np.eye(3)).max() < 0.05
    assert 0.5 < seen[..., 0].std() < 8


def test_weather_differs_between_pictures_only() -> None:
    image = np.full((32, 32, 3), 120, np.uint8)
    one, same, other = (photograph(np.random.default_rng(seed), image) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
