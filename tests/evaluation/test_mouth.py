"""The shut-and-open rule."""

import numpy as np

from synctalk.evaluation.mouth import mouth_shares, pooled

PHONES = [
    ("sil", 0.0, 0.8),
    ("M", 0.8, 0.9),
    ("AA1", 0.9, 1.2),
    ("B", 1.2, 1.3),
    ("AE0", 1.3, 1.6),
    ("sil", 1.6, 2.4),
]


def _curve(labials: float, vowels: float, pause: float) -> np.ndarray:
    t = np.arange(60) / 25
    curve = np.full(60, pause)
    for name, start, end in PHONES:
        if name != "sil":
            curve[(t >= start) & (t < end)] = labials if name in "MB" else vowels
    return curve


def test_a_good_mouth_shuts_and_opens() -> None:
    shares = mouth_shares(_curve(0.0, 1.0, 0.0), PHONES)
    assert (shares.labials_shut, shares.vowels_open, shares.pauses_shut) == (1.0, 1.0, 1.0)
    assert (shares.labials, shares.vowels, shares.pauses) == (2, 2, 2)


def test_a_mouth_that_never_shuts_fails_on_the_labials() -> None:
    shares = mouth_shares(_curve(0.9, 1.0, 0.9), PHONES)
    assert (shares.labials_shut, shares.vowels_open, shares.pauses_shut) == (0.0, 1.0, 0.0)


def test_a_mouth_that_is_always_shut_fails_on_everything() -> None:
    shares = mouth_shares(np.zeros(60), PHONES)
    assert (shares.labials_shut, shares.vowels_open, shares.pauses_shut) == (0.0, 0.0, 0.0)


def test_pooling_counts_each_phone_once() -> None:
    good = mouth_shares(_curve(0.0, 1.0, 0.0), PHONES)
    bad = mouth_shares(_curve(0.9, 1.0, 0.9), PHONES[:2])
    both = pooled([good, bad])
    assert both.labials == 3 and np.isclose(both.labials_shut, 2 / 3)


def test_nothing_to_count_is_not_a_figure() -> None:
    assert np.isnan(mouth_shares(np.ones(10), []).labials_shut)
