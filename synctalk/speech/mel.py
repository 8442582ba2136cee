"""Mel spectrogram of the audio-visual encoder (paper Sec. III-B; settings of the public code).

Magnitude spectrum of pre-emphasised sound, 80 Slaney mel bands from 55 to 7600 Hz, in decibels,
clipped to [-4, 4]; 80 rows per second. Equal to librosa's, without importing it.
"""

from functools import lru_cache

import numpy as np

from synctalk.errors import AudioError

BANDS = 80
ROWS_PER_FRAME = 3.2
WINDOW_ROWS = 16
SILENCE = -4.0
"""Mel value of digital silence."""

_RATE, _FFT, _HOP = 16000, 800, 200
_LOW_HZ, _HIGH_HZ = 55.0, 7600.0
_PRE_EMPHASIS = 0.97
_BLOCK_ROWS = 4096  # spectra are made in blocks so that an hour of sound needs no gigabytes


def mel_spectrogram(samples: np.ndarray) -> np.ndarray:
    """Mel rows of mono sound.

    Args:
        samples: float [n], 16 kHz.

    Returns:
        float32 [1 + n // 200, 80] in [-4, 4]; row r is centred on r / 80 s (zeros outside the sound).

    Raises:
        AudioError: not one-dimensional.
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 1:
        raise AudioError(f"The mel spectrogram needs mono samples [n], not shape {samples.shape}.")
    emphasised = samples.copy()
    emphasised[1:] -= np.float32(_PRE_EMPHASIS) * samples[:-1]
    rows = 1 + len(samples) // _HOP
    padded = np.pad(emphasised, (_FFT // 2, _FFT // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    window = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_FFT) / _FFT)).astype(np.float32)
    bank = mel_bank().T.astype(np.float32)
    out = np.empty((rows, BANDS), np.float32)
    for start in range(0, rows, _BLOCK_ROWS):
        block = frames[start : min(start + _BLOCK_ROWS, rows)] * window
        magnitude = np.abs(np.fft.rfft(block, axis=1)).astype(np.float32)
        decibels = 20.0 * np.log10(np.maximum(magnitude @ bank, 1e-5)) - 20.0
        out[start : start + len(block)] = np.clip(8.0 * (decibels + 100.0) / 100.0 - 4.0, -4.0, 4.0)
    return out


def mel_windows(mel: np.ndarray, frames: int, start: int = 0) -> np.ndarray:
    """The 200 ms around each video frame: frame i takes rows round(3.2 i) - 8 ... + 7.

    Args:
        mel: [rows, 80].
        frames: how many windows.
        start: index of the first frame.

    Returns:
        float32 [frames, 80, 16]; rows outside the sound are silence.
    """
    first = np.round(ROWS_PER_FRAME * np.arange(start, start + frames)).astype(np.int64) - WINDOW_ROWS // 2
    rows = first[:, None] + np.arange(WINDOW_ROWS)
    inside = (rows >= 0) & (rows < len(mel))
    windows = np.where(inside[..., None], mel[np.clip(rows, 0, max(len(mel) - 1, 0))], SILENCE)
    return np.ascontiguousarray(windows.transpose(0, 2, 1), dtype=np.float32)


@lru_cache(maxsize=1)
def mel_bank() -> np.ndarray:
    """Triangular filters on Slaney's mel scale, each of unit area: float64 [80, 401]."""
    frequencies = np.linspace(0.0, _RATE / 2, _FFT // 2 + 1)
    edges = _to_hz(np.linspace(_to_mel(_LOW_HZ), _to_mel(_HIGH_HZ), BANDS + 2))
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]


def _to_mel(hz: float) -> float:
    """Slaney: linear (3 mel per 200 Hz) below 1 kHz, logarithmic above."""
    return 3.0 * hz / 200.0 if hz < 1000.0 else 15.0 + 27.0 * np.log(hz / 1000.0) / np.log(6.4)


def _to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15.0, 200.0 * mel / 3.0, 1000.0 * np.exp(np.log(6.4) / 27.0 * (mel - 15.0)))
