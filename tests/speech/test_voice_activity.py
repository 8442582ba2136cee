"""Speech and silence."""

from pathlib import Path

import numpy as np
import pytest

from synctalk.speech.audio import frame_count, load_audio
from synctalk.speech.voice_activity import speech_mask

DATA = Path(__file__).parents[1] / "data"


def _speech_like(pauses: list[tuple[float, float]], seconds: float = 6.0) -> np.ndarray:
    """A buzz with moving loudness (four syllables a second), silent in the pauses."""
    t = np.arange(int(16000 * seconds)) / 16000
    buzz = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 25))
    sound = 0.1 * buzz * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t))
    for start, end in pauses:
        sound[(t >= start) & (t < end)] = 0.0
    return sound.astype(np.float32)


def _noise(n: int, level: float) -> np.ndarray:
    return np.random.default_rng(3).normal(scale=level, size=n).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 1e-4, 5e-3])
def test_pauses_are_found_with_and_without_noise(noise):
    pauses = [(0.0, 0.6), (2.0, 2.6), (4.0, 5.0)]
    mask = speech_mask(_speech_like(pauses) + _noise(96000, noise))
    t = np.arange(150) / 25
    truth = ~np.any([(t >= a) & (t < b) for a, b in pauses], axis=0)
    assert len(mask) == 150
    assert mask.dtype == bool
    assert np.mean(mask == truth) > 0.94


def test_short_gaps_inside_a_word_stay_speech():
    mask = speech_mask(_speech_like([(2.0, 2.08), (4.0, 5.0)]))
    assert mask[int(1.8 * 25) : int(2.4 * 25)].all()


def test_a_click_is_no_speech():
    sound = _speech_like([(2.0, 4.0)])
    sound[int(3.0 * 16000) : int(3.0 * 16000) + 100] = 0.5
    assert not speech_mask(sound)[int(2.3 * 25) : int(3.7 * 25)].any()


@pytest.mark.parametrize("level", [0.0, 1e-4, 0.05])
def test_silence_and_steady_noise_hold_no_speech(level):
    assert not speech_mask(_noise(48000, level)).any()


def test_loudness_of_the_recording_does_not_matter():
    sound = _speech_like([(2.0, 3.0)]) + _noise(96000, 1e-4)
    assert np.mean(speech_mask(sound) == speech_mask(sound * 0.2)) > 0.97


@pytest.mark.parametrize("n", [0, 1, 100, 640, 2000])
def test_very_short_sound_has_one_answer_per_frame(n):
    assert len(speech_mask(np.zeros(n, np.float32))) == frame_count(n)


def test_a_real_clip_agrees_with_its_phones():
    samples = load_audio(DATA / "ben_3s.mp4")
    mask = speech_mask(samples)[:75]
    truth = np.load(DATA / "ben_3s_truth.npz")
    t = np.arange(len(mask)) / 25
    phones = zip(truth["phones"], truth["phone_start"], truth["phone_end"], strict=True)
    spoken = np.any([(t >= start) & (t < end) for name, start, end in phones if name != "sil"], axis=0)
    assert np.mean(mask == spoken) > 0.93
