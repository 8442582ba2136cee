"""Changes of voice, microphone and surroundings, drawn anew for each mel window of a training batch.

A mel value v means 20 log10(magnitude) = (v + 4) * 12.5 - 80 dB, so that gains add and powers can be mixed.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synctalk.speech.mel import BANDS, WINDOW_ROWS, mel_bank, mel_spectrogram
from synctalk.training.corpus.augment import RATE, coloured_noise

_BANK_SECONDS = 40
PRE_EMPHASIS = 0.97


class MelAugment:
    """Random level, equaliser, vocal tract length and noise, straight on mel windows (microseconds each).

    Noise is laid under the speech at 2 to 38 dB below the loudness of the *clip*, so that pauses carry it
    as they do in a recording; `noise_alone` gives the same noises with nobody speaking.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = torch.Generator().manual_seed(seed)
        self._centres = torch.from_numpy(band_centres())  # Hz
        self._weights = torch.from_numpy(power_weights())
        self._noise, self._full_scale = noise_bank()

    @property
    def state(self) -> Tensor:
        """Where the random draws stand; give it back to go on exactly from here."""
        return self._random.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self._random.set_state(state)

    def __call__(self, windows: Tensor, speech_db: Tensor) -> Tensor:
        """Mel windows [B, 16, 80] of clips as loud as `speech_db` [B] (`row_level_db`) -> [B, 16, 80].

        A sixth are only changed in level, and of the others three in ten hear no noise.
        """
        count = len(windows)
        decibels = _decibels(windows)
        plain = self._uniform(0, 1, count, 1, 1) < 0.17
        changed = torch.where(plain, decibels, self._equalise(self._warp(decibels)))
        gain = self._uniform(-18.0, 12.0, count, 1, 1)
        level = speech_db[:, None, None] + gain - self._uniform(2.0, 38.0, count, 1, 1)
        quiet = plain | (self._uniform(0, 1, count, 1, 1) < 0.3)
        noise = torch.where(quiet, -200.0, self._noises(count) + level)
        return _mel(10 * torch.log10(10 ** ((changed + gain) / 10) + 10 ** (noise / 10)))

    def noise_alone(self, count: int) -> Tensor:
        """Windows of noise and nothing else, between -65 dB and -12 dB of full scale: [count, 16, 80]."""
        level = self._full_scale + self._uniform(-65.0, -12.0, count, 1, 1)
        return _mel(self._noises(count) + level)

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._random) * (high - low) + low

    def _warp(self, decibels: Tensor) -> Tensor:
        """Vocal tracts from 16 % longer to 16 % shorter: the frequency axis is stretched."""
        factor = torch.exp(self._uniform(-0.16, 0.16, len(decibels), 1))
        place = torch.searchsorted(self._centres, self._centres[None] * factor).clamp(1, BANDS - 1)
        low, high = self._centres[place - 1], self._centres[place]
        share = ((self._centres[None] * factor - low) / (high - low)).clamp(0, 1)[:, None]
        index = place[:, None].expand(-1, decibels.shape[1], -1)
        return decibels.gather(2, index - 1) * (1 - share) + decibels.gather(2, index) * share

    def _equalise(self, decibels: Tensor) -> Tensor:
        """A smooth random response: a tilt of up to 9 dB and four cosines of up to 5 dB."""
        return decibels + self._response(len(decibels), 9.0, 0.0)

    def _response(self, count: int, tilt: float, falling: float) -> Tensor:
        """[count, 1, 80] dB: a tilt, towards the dark by `falling` on average, and four cosines."""
        x = torch.linspace(-1, 1, BANDS)
        waves = torch.stack([x, *(torch.cos(np.pi * k * (x + 1) / 2) for k in (1, 2, 3, 5))])
        size = torch.tensor([tilt, 4.0, 5.0, 4.0, 3.0])
        drawn = self._uniform(-1, 1, count, 5) * size
        drawn[:, 0] -= falling
        return (drawn @ waves)[:, None]

    def _noises(self, count: int) -> Tensor:
        """Stretches of the noise bank in random colours, brown to bluish, each at 0 dB: [count, 16, 80]."""
        first = torch.randint(len(self._noise) - WINDOW_ROWS, (count,), generator=self._random)
        noise = self._noise[first[:, None] + torch.arange(WINDOW_ROWS)]
        noise = noise + self._response(count, 13.0, 9.0)
        power = ((10 ** (noise / 10)).mean(1) * self._weights).sum(1)
        return noise - 10 * torch.log10(power)[:, None, None]


def row_level_db(mel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Power of the sound in mel rows [R, 80], pre-emphasis undone, in dB on a scale of its own: [R]."""
    decibels = (mel.astype(np.float64) + 4.0) * 12.5 - 80.0
    return 10 * np.log10((10 ** (decibels / 10) * power_weights()).sum(1))


@functools.cache
def noise_bank() -> tuple[Tensor, float]:
    """Noise without speech as mel in dB [R, 80], and the level that white noise of full scale has.

    Two thirds are white (colours are given in the mel domain), the rest hums of mains and fans under some
    hiss, and hiss whose strength comes and goes slowly. One rng, so every process has the same bank.
    """
    rng = np.random.default_rng(11)
    length = _BANK_SECONDS * RATE
    white = coloured_noise(length, 0.0, rng)
    t = np.arange(length) / RATE
    third = length // 6
    for index, base in enumerate((50.0, 60.0, 100.0, 120.0, 87.0)):
        part = slice(index * third // 5, (index + 1) * third // 5)
        hum = sum(
            np.sin(2 * np.pi * (k * base * t[part] + rng.random())) / k ** rng.uniform(0.3, 1.2)
            for k in range(1, 24)
        )
        white[part] = hum + rng.uniform(0.02, 0.3) * white[part]
    slow = slice(third, 2 * third)
    white[slow] *= 1 + 0.8 * np.sin(2 * np.pi * np.cumsum(rng.uniform(0.3, 4.0, third)) / RATE)
    # A hundredth of full scale, so that the loudest rows stay inside the range of the mel.
    rows = _decibels(torch.from_numpy(mel_spectrogram((0.01 * white).astype(np.float32))))
    steady = rows[2 * third // 200 + WINDOW_ROWS : -WINDOW_ROWS]
    power = ((10 ** (steady / 10)).mean(0) * torch.from_numpy(power_weights())).sum()
    return rows, float(10 * torch.log10(power)) + 40.0


@functools.cache
def band_centres() -> NDArray[np.float32]:
    """Centre of each mel band in Hz: float32 [80], rising."""
    bank = mel_bank()
    frequency = np.arange(bank.shape[1]) * 20.0
    centres = (bank * frequency).sum(1) / np.maximum(bank.sum(1), 1e-12)
    return np.maximum.accumulate(centres + np.arange(BANDS) * 1e-3).astype(np.float32)


@functools.cache
def power_weights() -> NDArray[np.float32]:
    """What a squared band magnitude adds to the power of the sound: its width, pre-emphasis undone: [80]."""
    hz = band_centres()
    gain = np.abs(1 - PRE_EMPHASIS * np.exp(-2j * np.pi * hz / RATE)) ** 2
    return (np.gradient(hz) / gain).astype(np.float32)


def _decibels(mel: Tensor) -> Tensor:
    return (mel + 4.0) * 12.5 - 80.0


def _mel(decibels: Tensor) -> Tensor:
    return ((decibels + 80.0) / 12.5 - 4.0).clamp(-4.0, 4.0)
