"""Prosody looks back only and knows when speech began."""

import numpy as np
import torch

from synctalk.expression.prosody import LONGEST, PROSODY, SPAN, prosody, since_pause
from synctalk.expression.voice import ENERGY, FEATURES, PITCH, VOICED


def voice(frames: int = 400) -> torch.Tensor:
    random = np.random.default_rng(0)
    features = random.normal(0, 0.3, (1, frames, FEATURES)).astype(np.float32)
    features[..., VOICED] = random.random((1, frames)) < 0.7
    return torch.from_numpy(features)


def test_the_time_since_a_pause_starts_with_the_first_voiced_frame():
    voiced = torch.ones(1, 200)
    voiced[:, 20:50] = 0
    since = since_pause(voiced)[0]
    assert since[0] == 1 and since[19] == 20
    assert since[40] == 0 and since[50] == 1 and since[60] == 11
    assert since[199] == LONGEST


def test_a_short_gap_is_no_pause():
    voiced = torch.ones(1, 60)
    voiced[:, 20:26] = 0
    assert since_pause(voiced)[0, 59] == 60


def test_a_rising_pitch_and_a_louder_voice_show():
    features = torch.zeros(1, 60, FEATURES)
    features[..., VOICED] = 1
    features[:, 30:, PITCH] = 0.5
    features[:, 30:, ENERGY] = 0.4
    course = prosody(features)[0]
    assert course.shape == (60, PROSODY)
    assert course[29].abs()[:8].max() == 0
    assert course[33, 0] == 0.5 and course[33, 3] > 0.2 and course[33, 7] > 0.2
    assert course[59, 3] == 0


def test_only_the_last_frames_count():
    features = voice()
    changed = features.clone()
    changed[:, : 400 - SPAN - 1] = 0
    torch.testing.assert_close(prosody(features)[:, -1], prosody(changed)[:, -1])
    later = features.clone()
    later[:, 200:] = 0
    torch.testing.assert_close(prosody(features)[:, :200], prosody(later)[:, :200])
