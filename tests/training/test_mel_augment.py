"""Noise, equalisers and vocal tracts straight on mel windows."""

import numpy as np
import pytest
import torch

from synctalk.speech.mel import mel_spectrogram
from synctalk.training.corpus.augment import coloured_noise
from synctalk.training.mel_augment import MelAugment, noise_bank, row_level_db


@pytest.fixture
def windows() -> torch.Tensor:
    """Sixteen windows of a hum at -20 dB of full scale, float32 [16, 16, 80]."""
    t = np.arange(16000) / 16000
    hum = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 20))
    mel = mel_spectrogram((0.1 * hum / hum.std()).astype(np.float32))
    return torch.from_numpy(np.stack([mel[20 + k : 36 + k] for k in range(16)]))


def _loudness(windows: torch.Tensor) -> np.ndarray:
    rows = row_level_db(windows.reshape(-1, 80).numpy()).reshape(len(windows), 16)
    return 10 * np.log10((10 ** (rows / 10)).mean(1)) - noise_bank()[1]


def test_it_keeps_the_range_and_changes_each_window_differently(windows: torch.Tensor) -> None:
    same = windows[:1].expand(8, -1, -1)
    changed = MelAugment(0)(same, torch.full((8,), noise_bank()[1] - 20))
    assert changed.shape == same.shape
    assert changed.min() >= -4 and changed.max() <= 4
    assert (changed[0] - changed[1:]).abs().amax((1, 2)).min() > 0.05


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_the_scale_of_loudness_is_that_of_the_sound(slope: float) -> None:
    sound = 0.03 * coloured_noise(32000, slope, np.random.default_rng(0))
    level = row_level_db(mel_spectrogram(sound.astype(np.float32))[10:-10]).mean() - noise_bank()[1]
    assert level == pytest.approx(20 * np.log10(0.03), abs=1.5)


def test_pauses_carry_the_noise_that_lies_under_the_speech() -> None:
    silence = torch.full((400, 16, 80), -4.0)
    speech = noise_bank()[1] - 20
    heard = _loudness(MelAugment(0)(silence, torch.full((400,), speech)))
    noisy = heard > -52  # an equaliser lifts the floor of the mel to about -55
    assert 0.4 < noisy.mean() < 0.75
    # 2 to 38 dB under the speech, whose own level changes by -18 to 12 dB
    assert heard.max() < -20 + 12 - 2 + 3 and np.percentile(heard, 95) > -35


def test_noise_alone_has_many_levels_and_colours() -> None:
    noise = MelAugment(0).noise_alone(300)
    assert noise.shape == (300, 16, 80) and noise.min() >= -4 and noise.max() <= 4
    loudness = _loudness(noise)
    assert loudness.max() < -9 and loudness.min() < -50
    tilt = noise[:, :, 60:].mean((1, 2)) - noise[:, :, :20].mean((1, 2))
    assert tilt.min() < -1 and tilt.max() > 1


def test_draws_go_on_from_a_kept_state(windows: torch.Tensor) -> None:
    augment, level = MelAugment(0), torch.full((16,), 20.0)
    state = augment.state
    first = augment(windows, level)
    assert not torch.equal(augment(windows, level), first)
    augment.state = state
    assert torch.equal(augment(windows, level), first)
