"""What the expression generator hears: mel bands, pitch and energy per video frame."""

from dataclasses import dataclass, field

import numpy as np

from synctalk.speech.mel import mel_spectrogram, mel_windows

RATE = 16000
SAMPLES_PER_FRAME = 640
BANDS = 80
FEATURES = 2 * BANDS + 3
PITCH, VOICED, ENERGY = 2 * BANDS, 2 * BANDS + 1, 2 * BANDS + 2
_LOWEST_HZ, _HIGHEST_HZ = 65.0, 420.0
_WINDOW = 1024
_VOICED_ABOVE = 0.55  # normalised autocorrelation at the pitch period


def pitch(samples: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Pitch by normalised autocorrelation over 64 ms around each frame.

    Args:
        samples: float32 [n], 16 kHz.
        frames: how many video frames.

    Returns:
        log2 of the pitch over 150 Hz, float32 [T] (0 where unvoiced); voiced, bool [T].
    """
    half = _WINDOW // 2
    padded = np.pad(samples.astype(np.float32), (half, half + frames * SAMPLES_PER_FRAME))
    starts = np.arange(frames) * SAMPLES_PER_FRAME
    shortest, longest = int(RATE / _HIGHEST_HZ), int(RATE / _LOWEST_HZ)
    octaves = np.zeros(frames, np.float32)
    voiced = np.zeros(frames, bool)
    for first in range(0, frames, 1024):
        block = padded[starts[first : first + 1024, None] + np.arange(_WINDOW)]
        block = block - block.mean(1, keepdims=True)
        spectrum = np.fft.rfft(block, 2 * _WINDOW, axis=1)
        correlation = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, : longest + 1]
        power = np.concatenate([np.zeros((len(block), 1)), np.cumsum(block**2, 1)], 1)
        lags = np.arange(longest + 1)
        left = power[:, _WINDOW - lags]
        right = power[:, -1:] - power[:, lags]
        normalised = correlation / np.sqrt(np.maximum(left * right, 1e-8))
        inside = normalised[:, shortest:]
        best = inside.max(1)
        # The shortest lag nearly as good as the best one: no octave errors downwards.
        lag = shortest + (inside >= 0.92 * best[:, None]).argmax(1)
        near = np.take_along_axis(
            normalised, np.clip(lag[:, None] + np.arange(-3, 4), shortest, longest), axis=1
        )
        lag = np.clip(lag + near.argmax(1) - 3, shortest, longest)
        loud = (block**2).mean(1) > 1e-6
        ok = (best > _VOICED_ABOVE) & loud
        octaves[first : first + len(block)] = np.where(ok, np.log2(RATE / lag / 150.0), 0)
        voiced[first : first + len(block)] = ok
    return octaves, voiced


def voice_features(samples: np.ndarray) -> np.ndarray:
    """Mel of the frame and of what comes next, pitch and energy; each frame reaches 5 frames at most.

    Args:
        samples: float32 [n], 16 kHz.

    Returns:
        float32 [T,163], T = ceil(n / 640): mel in [-1,1] (0-79 around the frame, 80-159 some 80 ms later),
        log2 pitch over 150 Hz, voiced 0/1, energy in units of 20 dB over -60 dB.
    """
    frames = -(-len(samples) // SAMPLES_PER_FRAME)
    windows = mel_windows(mel_spectrogram(samples), frames)
    octaves, voiced = pitch(samples, frames)
    padded = np.pad(samples.astype(np.float32), (320, 320 + frames * SAMPLES_PER_FRAME - len(samples)))
    power = (padded[: frames * SAMPLES_PER_FRAME].reshape(frames, -1) ** 2).mean(1)
    energy = (10 * np.log10(power + 1e-6) + 60) / 20
    return np.concatenate(
        [
            windows[:, :, 5:11].mean(2) / 4,
            windows[:, :, 12:16].mean(2) / 4,
            octaves[:, None],
            voiced[:, None],
            energy[:, None],
        ],
        axis=1,
        dtype=np.float32,
    )


@dataclass
class RunningVoice:
    """Makes pitch and energy relative to the speaker heard so far, frame by frame, without looking ahead.

    Args:
        memory_s: how fast the means follow.
    """

    memory_s: float = 8.0
    _means: np.ndarray = field(default_factory=lambda: np.zeros(2))
    _weight: float = 0.0

    def normalise(self, features: np.ndarray) -> np.ndarray:
        """Features of the next frames [n,163], pitch and energy relative to the speech heard so far."""
        out = features.astype(np.float32).copy()
        keep = float(np.exp(-1 / (25 * self.memory_s)))
        for row in out:
            if row[VOICED] > 0:
                self._means = keep * self._means + (1 - keep) * row[[PITCH, ENERGY]]
                self._weight = keep * self._weight + (1 - keep)
            centre = self._means / self._weight if self._weight else row[[PITCH, ENERGY]]
            row[PITCH] = (row[PITCH] - centre[0]) * row[VOICED] * 2
            row[ENERGY] = np.clip(row[ENERGY] - centre[1], -2, 1.5)
        return out


def arousal(features: np.ndarray) -> float:
    """How lively a voice is, 0 calm to 1 excited, from the spread of its pitch and energy.

    This is all that is inferred of an emotion; whether it is joy or anger is not heard.

    Args:
        features: float32 [T,163], normalised by `RunningVoice`.
    """
    voiced = features[:, VOICED] > 0
    if voiced.sum() < 10:
        return 0.5
    semitones = 6 * float(features[voiced, PITCH].std())
    loudness = 20 * float(features[voiced, ENERGY].std())
    return float(np.clip(0.5 + 0.15 * (semitones - 2.8) + 0.05 * (loudness - 5.5), 0, 1))
