"""Pitch, energy and mel of a voice, frame by frame."""

import numpy as np
import pytest

from synctalk.expression.voice import (
    ENERGY,
    FEATURES,
    PITCH,
    VOICED,
    RunningVoice,
    arousal,
    pitch,
    voice_features,
)


def harmonic(hertz: np.ndarray | float, seconds: float) -> np.ndarray:
    """A voice-like sound: ten harmonics of a pitch that may move."""
    count = int(16000 * seconds)
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(np.asarray(hertz, float), count)) / 16000
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 11))).astype(np.float32)


@pytest.mark.parametrize("hertz", [80, 110, 180, 250, 380])
def test_the_pitch_of_a_steady_tone_is_found(hertz):
    octaves, voiced = pitch(harmonic(hertz, 1.0), 25)
    assert voiced[2:-2].all()
    assert np.abs(150 * 2 ** octaves[2:-2] - hertz).max() < 0.02 * hertz


def test_noise_and_silence_have_no_pitch():
    generator = np.random.default_rng(0)
    assert pitch(0.1 * generator.standard_normal(16000).astype(np.float32), 25)[1].mean() < 0.1
    assert not pitch(np.zeros(16000, np.float32), 25)[1].any()


def test_features_of_a_part_equal_the_whole_away_from_the_cut():
    sound = harmonic(np.linspace(100, 220, 32000), 2.0)
    whole = voice_features(sound)
    part = voice_features(sound[16000:])
    assert whole.shape == (50, FEATURES)
    np.testing.assert_allclose(part[5:], whole[30:], atol=1e-5)


def test_running_normalisation_does_not_depend_on_how_the_voice_is_cut():
    features = voice_features(harmonic(np.linspace(100, 220, 48000), 3.0))
    whole = RunningVoice().normalise(features)
    running = RunningVoice()
    pieces = np.concatenate([running.normalise(features[:20]), running.normalise(features[20:])])
    np.testing.assert_allclose(pieces, whole, atol=1e-6)


def test_a_deeper_and_quieter_speaker_looks_the_same_once_settled():
    high = RunningVoice().normalise(voice_features(harmonic(220, 4.0)))
    low = RunningVoice().normalise(voice_features(0.5 * harmonic(110, 4.0)))
    np.testing.assert_allclose(high[50:-3, [PITCH, ENERGY]], low[50:-3, [PITCH, ENERGY]], atol=0.05)
    assert high[50:-3, VOICED].all()


def test_a_lively_voice_is_more_aroused_than_a_flat_one():
    time = np.arange(64000) / 16000
    flat = RunningVoice().normalise(voice_features(harmonic(120, 4.0)))
    swinging = 120 * 2 ** (0.6 * np.sin(2 * np.pi * 0.7 * time))
    lively = RunningVoice().normalise(voice_features(harmonic(swinging, 4.0)))
    assert 0 <= arousal(flat) < arousal(lively) <= 1
