"""The mel spectrogram against its formula in float64, and the windows of the frames."""

import numpy as np
import pytest

from synctalk.errors import AudioError
from synctalk.speech.mel import mel_bank, mel_spectrogram, mel_windows


def _hz(mel: float) -> float:
    return 200 * mel / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def _mel(hz: float) -> float:
    return 3 * hz / 200 if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)


def _formula(samples: np.ndarray) -> np.ndarray:
    """The settings written out one by one, in float64, with a direct Fourier sum."""
    x = samples.astype(np.float64)
    x = np.append(x[0], x[1:] - 0.97 * x[:-1])
    x = np.concatenate([np.zeros(400), x, np.zeros(400)])
    window = 0.5 * (1 - np.cos(2 * np.pi * np.arange(800) / 800))
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(401), np.arange(800)) / 800)
    edges = [_hz(_mel(55.0) + (_mel(7600.0) - _mel(55.0)) * k / 81) for k in range(82)]
    bank = np.zeros((80, 401))
    for b in range(80):
        left, centre, right = edges[b : b + 3]
        for k in range(401):
            f = 20.0 * k
            weight = min((f - left) / (centre - left), (right - f) / (right - centre))
            bank[b, k] = max(0.0, weight) * 2 / (right - left)
    rows = []
    for r in range(1 + len(samples) // 200):
        magnitude = np.abs(fourier @ (x[200 * r : 200 * r + 800] * window))
        decibels = 20 * np.log10(np.maximum(1e-5, bank @ magnitude)) - 20
        rows.append(np.clip(8 * (decibels + 100) / 100 - 4, -4, 4))
    return np.array(rows)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    rng = np.random.default_rng(7)
    t = np.arange(9000) / 16000
    voice = 0.4 * np.sin(2 * np.pi * (180 + 60 * t) * t) * np.sin(2 * np.pi * 3 * t) ** 2
    voice += rng.normal(scale=0.02, size=9000) * (t > 0.3)
    voice[:1500] = 0.0
    return voice.astype(np.float32)


def test_mel_equals_its_formula_in_float64(sound):
    mel = mel_spectrogram(sound)
    assert mel.dtype == np.float32
    assert mel.shape == (46, 80)
    np.testing.assert_allclose(mel, _formula(sound), atol=2e-3)


def test_mel_equals_librosas(sound):
    librosa = pytest.importorskip("librosa")
    emphasised = np.append(sound[0], sound[1:] - 0.97 * sound[:-1])
    spectrum = np.abs(
        librosa.stft(emphasised, n_fft=800, hop_length=200, win_length=800, pad_mode="constant")
    )
    bank = librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600)
    np.testing.assert_allclose(mel_bank(), bank, atol=1e-7)
    decibels = 20 * np.log10(np.maximum(1e-5, bank @ spectrum)) - 20
    np.testing.assert_allclose(
        mel_spectrogram(sound).T, np.clip(8 * (decibels + 100) / 100 - 4, -4, 4), atol=2e-3
    )


def test_silence_is_minus_four_everywhere():
    assert (mel_spectrogram(np.zeros(3200, np.float32)) == -4.0).all()


def test_long_sound_gives_the_same_rows_as_its_parts(sound):
    long = np.tile(sound, 110)  # over one block of spectra
    start = 200 * 4200
    np.testing.assert_allclose(
        mel_spectrogram(long)[4203:4240], mel_spectrogram(long[start : start + 9000])[3:40], atol=1e-4
    )


def test_a_window_is_the_200_ms_around_its_frame(sound):
    mel = mel_spectrogram(sound)
    windows = mel_windows(mel, 15)
    assert windows.shape == (15, 80, 16)
    for i in (3, 5, 7):
        first = round(3.2 * i) - 8
        np.testing.assert_array_equal(windows[i], mel[first : first + 16].T)


def test_windows_reaching_over_the_ends_see_silence(sound):
    mel = mel_spectrogram(sound)
    windows = mel_windows(mel, 20)
    assert (windows[0][:, :8] == -4.0).all()
    np.testing.assert_array_equal(windows[0][:, 8:], mel[:8].T)
    assert (windows[19] == -4.0).all()


def test_windows_of_a_later_stretch_are_those_of_the_whole(sound):
    mel = mel_spectrogram(sound)
    np.testing.assert_array_equal(mel_windows(mel, 5, start=6), mel_windows(mel, 11)[6:])


def test_stereo_is_refused():
    with pytest.raises(AudioError, match="mono"):
        mel_spectrogram(np.zeros((100, 2)))
