"""Raised brows: on accents, as often as asked, the same however the voice is cut."""

from dataclasses import replace

import numpy as np
import pytest

from synctalk.expression.accents import RaiseHabit, Raises, raise_habit
from synctalk.expression.voice import ENERGY, FEATURES, VOICED

FRAMES = 25 * 240


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """Four minutes with an accent every second."""
    features = np.zeros((FRAMES, FEATURES), np.float32)
    features[:, VOICED] = 1
    features[:, ENERGY] = np.maximum(0, np.sin(2 * np.pi * np.arange(FRAMES) / 25)) ** 4
    return features


def starts(curve: np.ndarray) -> np.ndarray:
    return np.flatnonzero((curve[1:] > 0) & (curve[:-1] == 0)) + 1


def test_raises_begin_on_accents_and_are_as_many_as_asked(voice):
    curve = Raises(RaiseHabit(share=0.3), seed=0).push(voice)
    found = starts(curve)
    assert len(found) == pytest.approx(0.3 * 240, rel=0.25)
    assert np.ptp(found % 25) <= 2
    assert (curve <= RaiseHabit().height[1] + 1e-6).all()
    peaks = np.array([curve[s : s + 12].max() for s in found])
    assert peaks.min() > 0.07 and np.ptp(peaks) > 0.1


def test_a_voice_without_accents_raises_nothing(voice):
    assert Raises(RaiseHabit(share=1)).push(np.zeros_like(voice)).max() == 0
    assert Raises(RaiseHabit(share=0)).push(voice).max() == 0


def test_pieces_give_what_the_whole_gives(voice):
    whole = Raises(seed=3).push(voice[:1000])
    raises = Raises(seed=3)
    pieces = np.concatenate([raises.push(voice[a:b]) for a, b in ((0, 1), (1, 16), (16, 515), (515, 1000))])
    np.testing.assert_allclose(pieces, whole, atol=1e-6)


def test_the_future_changes_nothing(voice):
    changed = voice.copy()
    changed[500:] = 0
    np.testing.assert_array_equal(Raises(seed=1).push(voice)[:500], Raises(seed=1).push(changed)[:500])


def test_a_serious_face_raises_less_and_strength_says_how_much_less():
    serious, neutral = raise_habit("serious").share, raise_habit(None).share
    assert serious < 0.5 * neutral < neutral < raise_habit("happy").share
    assert raise_habit("serious", 0.0) == raise_habit("neutral")
    assert raise_habit("serious", 0.5).share == pytest.approx((serious + neutral) / 2)
    assert replace(raise_habit("happy"), share=0.3) == RaiseHabit(share=0.3)
