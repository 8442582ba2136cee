from itertools import pairwise

import numpy as np

from synctalk.training.select import Selection, frame_weights, select_stretches

CHOICE = Selection(seconds=20, stretch_s=10, step_s=2, sounds=8, bins=4)


def footage(seconds: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Monotonous, but for varied sound, lips and head from 40 to 50 s."""
    generator = np.random.default_rng(0)
    frames = seconds * 25
    audio = generator.normal(0, 0.1, (frames, 6))
    lips = np.full(frames, 0.02) + generator.normal(0, 0.001, frames)
    angles = generator.normal(0, 0.01, (frames, 2))
    lively = slice(1000, 1250)
    audio[lively] += generator.normal(0, 3, (250, 6))
    lips[lively] += generator.uniform(0, 0.3, 250)
    angles[lively] += generator.uniform(-1, 1, (250, 2))
    return audio, lips, angles


def test_the_lively_seconds_are_chosen() -> None:
    stretches = select_stretches(*footage(), CHOICE)
    assert any(start <= 1000 + 25 and stop >= 1250 - 25 for start, stop in stretches)


def test_stretches_are_in_order_and_as_long_as_asked() -> None:
    stretches = select_stretches(*footage(), CHOICE)
    assert sum(stop - start for start, stop in stretches) == 500
    assert stretches == sorted(stretches)
    assert all(a[1] < b[0] for a, b in pairwise(stretches))


def test_short_footage_is_kept_whole() -> None:
    audio, lips, angles = (values[:375] for values in footage())
    assert select_stretches(audio, lips, angles, CHOICE) == [(0, 375)]


def test_the_choice_is_the_same_each_time() -> None:
    assert select_stretches(*footage(), CHOICE) == select_stretches(*footage(), CHOICE)


def test_rare_frames_weigh_more_and_the_mean_weight_is_one() -> None:
    weights = frame_weights(*footage(), CHOICE)
    assert np.isclose(weights.mean(), 1, atol=1e-5)
    assert weights[1000:1250].mean() > 1.5 * weights[:1000].mean()
    assert weights.max() / np.median(weights) <= 3.0001
