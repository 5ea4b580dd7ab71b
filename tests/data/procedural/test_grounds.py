import numpy as np
import pytest

from fsod.data.procedural.grounds import lead_stream, noise, sample_ground


@pytest.mark.parametrize("size_px", [(320, 320), (97, 201), (64, 64)])
@pytest.mark.parametrize("water_share", [0.0, 0.4])
def test_a_ground_has_the_size_asked_for(size_px: tuple[int, int], water_share: float) -> None:
    ground = sample_ground(np.random.default_rng(0), size_px, water_share)
    assert ground.image.shape == (*size_px, 3)
    assert ground.image.dtype == np.uint8
    assert ground.water.shape == size_px
    assert (ground.shore_normal is None) == (water_share == 0)


def test_water_covers_about_the_share_asked_for_and_looks_alike() -> None:
    grounds = [sample_ground(np.random.default_rng(i), (320, 320), 0.4) for i in range(20)]
    assert np.mean([(ground.water > 0).mean() for ground in grounds]) == pytest.approx(0.4, abs=0.08)
    for ground in grounds:
        wet = ground.image[ground.water > 0]
        assert wet[:, 2].mean() > wet[:, 0].mean()
        assert ground.shore_normal is not None
        ys, xs = np.nonzero(ground.water)
        # the normal points from the middle of the picture into the water
        assert np.dot([xs.mean() - 160, ys.mean() - 160], ground.shore_normal) > 0


def test_grounds_are_textured_and_varied() -> None:
    grounds = [sample_ground(np.random.default_rng(i), (320, 320)).image.astype(float) for i in range(12)]
    assert all(image.std() > 5 for image in grounds)
    assert np.std([image.mean() for image in grounds]) > 8


def test_noise_has_unit_deviation_at_every_grain() -> None:
    for grain in (1, 3, 10, 40):
        field = noise(np.random.default_rng(0), (400, 400), grain)
        assert field.shape == (400, 400)
        assert field.std() == pytest.approx(1, abs=0.3)


def test_a_stream_runs_under_the_crossing_and_keeps_clear() -> None:
    rng = np.random.default_rng(0)
    ground = sample_ground(rng, (320, 320))
    taken = np.zeros((320, 320), np.uint8)
    assert lead_stream(rng, ground, np.array([160.0, 160.0]), 0.0, 70.0, taken)
    assert ground.water[160, 160]
    # narrower than the bridge: its ends stand on land
    assert not ground.water[160, 160 - 35]
    assert not ground.water[160, 160 + 35]
    assert ground.water[:, 100:220].any(1).all()


def test_a_stream_that_would_meet_something_is_not_led() -> None:
    rng = np.random.default_rng(0)
    ground = sample_ground(rng, (320, 320))
    image, water = ground.image.copy(), ground.water.copy()
    taken = np.zeros((320, 320), np.uint8)
    taken[100:110] = 1
    assert not lead_stream(rng, ground, np.array([160.0, 160.0]), 0.0, 70.0, taken)
    assert (ground.image == image).all()
    assert (ground.water == water).all()
