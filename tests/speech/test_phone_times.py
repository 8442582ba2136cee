"""Durations -> phones."""

from itertools import pairwise

import numpy as np
import pytest

from synctalk.speech.phone_times import fit_pauses, phones_from_durations
from synctalk.speech.words import Phone


def test_phones_are_contiguous_and_earlier_by_the_lag():
    symbols, words = list("bˈɑ mə,"), [0, 0, 0, -1, 1, 1, -1]
    durations = np.array([0.2, 0.1, 0.05, 0.1, 0.04, 0.1, 0.1, 0.2, 0.1])
    phones = phones_from_durations(symbols, words, durations, lag_s=0.05)
    assert [p.symbol for p in phones] == ["sil", "B", "AA", "M", "AX", "sil"]
    assert [p.stress for p in phones] == [0, 0, 2, 0, 0, 0]
    assert [p.word for p in phones] == [-1, 0, 0, 1, 1, -1]
    # The stress mark's time is the vowel's, the short space is shared, the comma is silence.
    assert [p.start_s for p in phones] == pytest.approx([0.0, 0.15, 0.25, 0.42, 0.54, 0.64])
    assert phones[-1].end_s == pytest.approx(durations.sum())
    assert all(a.end_s == b.start_s for a, b in pairwise(phones))


def test_a_long_space_is_a_pause_and_a_length_mark_extends_its_vowel():
    durations = np.array([0.1, 0.1, 0.05, 0.3, 0.1, 0.1])
    phones = phones_from_durations(list("iː m"), [0, 0, -1, 1], durations, lag_s=0.0)
    assert [p.symbol for p in phones] == ["sil", "IY", "sil", "M", "sil"]
    assert phones[1].end_s == pytest.approx(0.25)
    assert phones[2].end_s == pytest.approx(0.55)


def test_r_coloured_vowels_are_one_phone():
    phones = phones_from_durations(list("fˈɜɹ"), [0] * 4, np.full(6, 0.1), lag_s=0.0)
    assert [p.symbol for p in phones] == ["sil", "F", "ER", "sil"]


def test_pauses_are_fitted_to_where_the_sound_is_quiet():
    rate = 24000
    t = np.arange(rate) / rate
    sound = np.where((t > 0.1) & (t < 0.4) | (t > 0.7) & (t < 0.9), 0.3 * np.sin(2 * np.pi * 200 * t), 0.0)
    phones = [
        Phone("sil", 0.0, 0.1, -1),
        Phone("AA", 0.1, 0.52, 0, 2),  # claims a part of the pause
        Phone("sil", 0.52, 0.66, -1),
        Phone("IY", 0.66, 0.9, 1, 2),
        Phone("sil", 0.9, 1.0, -1),
    ]
    fitted = fit_pauses(phones, sound.astype(np.float32), rate)
    assert fitted[2].start_s == pytest.approx(0.415, abs=0.021)
    assert fitted[2].end_s == pytest.approx(0.70, abs=0.021)
    assert all(a.end_s == b.start_s for a, b in pairwise(fitted))
    assert [p.symbol for p in fitted] == [p.symbol for p in phones]


def test_a_comma_without_a_pause_is_no_silence():
    tone = 0.3 * np.sin(2 * np.pi * 200 * np.arange(24000) / 24000)
    phones = [Phone("AA", 0.0, 0.45, 0, 2), Phone("sil", 0.45, 0.55, -1), Phone("IY", 0.55, 1.0, 1, 2)]
    fitted = fit_pauses(phones, tone.astype(np.float32), 24000)
    assert fitted == [Phone("AA", 0.0, 0.5, 0, 2), Phone("IY", 0.5, 1.0, 1, 2)]


def test_sound_without_a_quiet_place_keeps_its_phones():
    phones = [Phone("sil", 0.0, 0.2, -1), Phone("AA", 0.2, 0.8, 0), Phone("sil", 0.8, 1.0, -1)]
    noise = np.random.default_rng(0).normal(scale=0.1, size=24000).astype(np.float32)
    assert fit_pauses(phones, noise, 24000) == phones
