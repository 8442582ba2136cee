"""Blinks: random pauses, natural lids, repeatable."""

import numpy as np
import pytest

from synctalk.expression.blinks import BlinkHabit, Blinks, blink_statistics


@pytest.mark.parametrize("rate", [8.0, 17.0, 30.0])
def test_the_rate_is_the_one_asked_for(rate):
    habit = BlinkHabit(per_minute=rate, double_share=0.0)
    found = blink_statistics(Blinks(habit, seed=1).next(25 * 60 * 40))
    assert found["per_minute"] == pytest.approx(rate, rel=0.12)


def test_pauses_are_irregular_but_never_too_short():
    found = blink_statistics(Blinks(BlinkHabit(double_share=0.0), seed=2).next(25 * 60 * 20))
    assert 0.4 < found["pause_spread"] < 0.9
    lids = Blinks(BlinkHabit(per_minute=60, double_share=0.0), seed=2).next(25 * 60)
    closed = lids > 0.4
    starts = np.flatnonzero(closed[1:] & ~closed[:-1])
    assert np.diff(starts).min() >= 25 * 0.45 - 2


def test_a_blink_shuts_fast_and_opens_slowly():
    lids = Blinks(seed=3).next(25 * 120)
    peak = int(np.argmax(lids[10:-20])) + 10
    before = np.flatnonzero(lids[:peak] < 0.1)[-1]
    after = np.flatnonzero(lids[peak:] < 0.1)[0] + peak
    assert lids[peak] > 0.9
    assert peak - before <= 4 <= after - peak + 1 <= 9


def test_the_same_seed_blinks_the_same_however_it_is_cut():
    whole = Blinks(seed=4).next(1000)
    blinks = Blinks(seed=4)
    np.testing.assert_allclose(np.concatenate([blinks.next(n) for n in (15, 50, 435, 500)]), whole, atol=1e-6)
    assert np.abs(Blinks(seed=5).next(1000) - whole).max() > 0.5


def test_no_rate_means_no_blink():
    assert Blinks(BlinkHabit(per_minute=0)).next(5000).max() == 0
