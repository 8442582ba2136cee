from pathlib import Path

import numpy as np
import pytest

from synctalk.speech.audio import load_audio
from synctalk.training.footage_voice import voice_like

CLIP = Path(__file__).parents[1] / "data" / "ben_3s.mp4"


def buzz(hertz: float) -> np.ndarray:
    """Two seconds of a voice-like sound of that pitch, float32 [n] at 16 kHz."""
    time_s = np.arange(32000) / 16000
    return sum(0.1 / k * np.sin(2 * np.pi * k * hertz * time_s) for k in range(1, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("hertz", "voice"), [(95, "am_michael"), (140, "am_michael"), (190, "af_heart"), (240, "af_heart")]
)
def test_a_high_voice_gets_a_high_voice_and_a_low_one_a_low_one(hertz, voice):
    assert voice_like(buzz(hertz)) == voice


def test_the_voice_in_real_footage_is_told_apart():
    assert voice_like(load_audio(CLIP)) == "am_michael"


def test_silence_still_gets_a_voice():
    assert voice_like(np.zeros(16000, np.float32)) == "am_michael"
