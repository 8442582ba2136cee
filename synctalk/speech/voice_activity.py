"""Where somebody speaks: the mouth rests elsewhere.

An adaptive energy rule on the mel spectrogram: each band's floor follows its own noise, what stands
above the floors is compared with the loudest parts, short gaps (stop closures) count as speech and
short clicks do not.
"""

import numpy as np
from scipy.ndimage import binary_closing, binary_dilation, binary_opening, gaussian_filter1d

from synctalk.speech.audio import FPS, frame_count
from synctalk.speech.mel import mel_spectrogram

_ROWS_PER_S = 80
_DB_PER_UNIT = 12.5  # the mel spectrogram's scale: 8 units for 100 dB

# Chosen on footage and real readers, clean and with noise at 20, 10 and 5 dB.
_FLOOR_WINDOW_S, _FLOOR_STEP_S, _FLOOR_PERCENTILE = 8.0, 0.5, 10
_DEEPEST_FLOOR_DB = 40.0  # a band's floor lies at most this far below its loud parts
_MARGIN_DB, _CAP_DB = 3.0, 30.0
_SHARE, _LEAST_DB = 0.12, 1.5  # speech: this share of the loud parts' excess, and never less than that
_GAP_S, _CLICK_S, _EDGE_S = 0.16, 0.11, 0.013


def speech_mask(samples: np.ndarray) -> np.ndarray:
    """Which video frames are spoken.

    Args:
        samples: float32 [n], 16 kHz.

    Returns:
        bool [T] with T = ceil(n / 640): frame i (time i / 25 s) lies in speech.
    """
    frames = frame_count(samples)
    if frames == 0:
        return np.zeros(0, bool)
    spoken = _spoken_rows(mel_spectrogram(samples))
    centre = np.round(np.arange(frames) * (_ROWS_PER_S / FPS)).astype(int)
    return spoken[np.clip(centre, 0, len(spoken) - 1)]


def _spoken_rows(mel: np.ndarray) -> np.ndarray:
    """bool [rows] at 80 Hz."""
    excess = _excess(mel)
    spoken = excess > max(_SHARE * float(np.percentile(excess, 95)), _LEAST_DB)
    gap = _rows(_GAP_S)
    spoken = binary_closing(np.pad(spoken, gap), np.ones(gap))[gap:-gap]
    spoken = binary_opening(spoken, np.ones(_rows(_CLICK_S)))
    return binary_dilation(spoken, np.ones(2 * _rows(_EDGE_S) + 1))


def _excess(mel: np.ndarray) -> np.ndarray:
    """How far each row stands above the noise, in dB averaged over the bands: [rows]."""
    decibels = gaussian_filter1d(mel * _DB_PER_UNIT, 1.0, axis=0)
    half, step = _rows(_FLOOR_WINDOW_S) // 2, _rows(_FLOOR_STEP_S)
    floors = [
        np.percentile(decibels[max(0, at - half) : at + half + 1], _FLOOR_PERCENTILE, axis=0)
        for at in range(0, len(decibels), step)
    ]
    floor = np.repeat(np.stack(floors), step, axis=0)[: len(decibels)]
    floor = np.maximum(floor, np.percentile(decibels, 95, axis=0) - _DEEPEST_FLOOR_DB)
    return np.clip(decibels - floor - _MARGIN_DB, 0.0, _CAP_DB).mean(axis=1)


def _rows(seconds: float) -> int:
    return max(1, round(seconds * _ROWS_PER_S))
