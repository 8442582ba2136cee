"""What happens to speech before a camera hears it: noise, rooms, speed, pitch, codecs, telephones, gain."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from scipy.signal import butter, fftconvolve, resample_poly, sosfiltfilt

RATE = 16000


def coloured_noise(length: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of unit power whose amplitude falls as frequency^-slope (0 white, 0.5 pink, 1 brown): float64
    [n]."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1 / RATE)
    spectrum *= np.maximum(frequency, 50.0) ** -slope
    noise = np.fft.irfft(spectrum, length)
    return noise / (noise.std() + 1e-12)


def speech_power(samples: np.ndarray) -> float:
    """Mean square over the loud part of the sound (20 ms blocks within 20 dB of the loudest)."""
    blocks = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    power = (blocks.astype(np.float64) ** 2).mean(1) if len(blocks) else np.zeros(1)
    return float(power[power >= power.max(initial=0) * 0.01].mean())


def add_noise(samples: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """Coloured noise under the speech at a signal-to-noise ratio measured on its loud parts."""
    noise = coloured_noise(len(samples), float(rng.uniform(0.0, 1.0)), rng)
    level = np.sqrt(speech_power(samples) / 10 ** (snr_db / 10))
    return (samples + level * noise).astype(np.float32)


def reverberate(
    samples: np.ndarray, decay_s: float, direct_db: float, rng: np.random.Generator
) -> np.ndarray:
    """A room with a 60 dB decay time; the direct sound stays at time 0, `direct_db` over the echoes."""
    length = int(decay_s * RATE)
    t = np.arange(length) / RATE
    echoes = rng.standard_normal(length) * 10 ** (-3 * t / decay_s) * np.clip((t - 0.002) / 0.01, 0, 1)
    echoes *= 10 ** (-direct_db / 20) / (np.sqrt((echoes**2).sum()) + 1e-12)
    echoes[0] = 1.0
    return fftconvolve(samples, echoes)[: len(samples)].astype(np.float32)


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Play faster (factor > 1): times are divided by it, pitch and formants rise with it."""
    ratio = Fraction(factor).limit_denominator(100)
    return resample_poly(samples, ratio.denominator, ratio.numerator).astype(np.float32)


def shift_pitch(samples: np.ndarray, semitones: float) -> np.ndarray:
    """Higher or lower at the same speed: a phase vocoder stretch, then a change of speed."""
    ratio = Fraction(2 ** (semitones / 12)).limit_denominator(50)
    size, hop = 512, 128
    window = np.hanning(size + 1)[:-1]
    padded = np.pad(samples.astype(np.float64), (size, 2 * size))
    spectra = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window, axis=1)
    places = np.arange(0, len(spectra) - 1, float(ratio.denominator / ratio.numerator))
    left = places.astype(int)
    share = (places - left)[:, None]
    magnitude = (1 - share) * np.abs(spectra[left]) + share * np.abs(spectra[left + 1])
    expected = 2 * np.pi * hop * np.arange(size // 2 + 1) / size
    turn = np.angle(spectra[left + 1]) - np.angle(spectra[left]) - expected
    turn = expected + turn - 2 * np.pi * np.round(turn / (2 * np.pi))
    phase = np.angle(spectra[0]) + np.concatenate(
        [np.zeros((1, turn.shape[1])), np.cumsum(turn, axis=0)[:-1]]
    )
    blocks = np.fft.irfft(magnitude * np.exp(1j * phase), size, axis=1) * window
    stretched = np.zeros(hop * (len(blocks) - 1) + size)
    for index, block in enumerate(blocks):
        stretched[index * hop : index * hop + size] += block
    stretched *= hop / (window**2).sum()
    begin = round(size * ratio.numerator / ratio.denominator)
    shifted = resample_poly(stretched[begin:], ratio.denominator, ratio.numerator)
    return np.pad(shifted, (0, max(0, len(samples) - len(shifted))))[: len(samples)].astype(np.float32)


def telephone(samples: np.ndarray) -> np.ndarray:
    """300-3400 Hz, as over a telephone line."""
    band = butter(4, (300.0, 3400.0), "bandpass", fs=RATE, output="sos")
    return sosfiltfilt(band, samples).astype(np.float32)


def compress(samples: np.ndarray, codec: str, bit_rate: int) -> np.ndarray:
    """Encode and decode with 'mp3' or 'opus'; the codec's delay is taken out again."""
    container, encoder, rate = {"mp3": ("mp3", "libmp3lame", 16000), "opus": ("ogg", "libopus", 16000)}[codec]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(encoder, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        sound = np.clip(samples, -1, 1).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(
            (sound * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate)
        fifo = av.AudioFifo()
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            piece.pts = None
            fifo.write(piece)
        size = stream.codec_context.frame_size or 1152
        while (block := fifo.read(size, partial=True)) is not None:
            output.mux(stream.encode(block))
        output.mux(stream.encode(None))
    file.seek(0)
    decoded: list[np.ndarray] = []
    with av.open(file) as source:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        for frame in source.decode(audio=0):
            decoded += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
        decoded += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    heard = np.concatenate(decoded) if decoded else np.zeros(len(samples), np.float32)
    heard = heard[_delay(samples, heard) :]
    return np.pad(heard, (0, max(0, len(samples) - len(heard))))[: len(samples)].astype(np.float32)


def _delay(original: np.ndarray, heard: np.ndarray, most: int = 2400) -> int:
    """Samples by which `heard` is late, 0 ... most, by cross-correlation."""
    size = 1 << int(np.ceil(np.log2(len(original) + len(heard))))
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(original, size))
    return int(np.argmax(np.fft.irfft(product, size)[: most + 1]))


def random_variant(samples: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A copy that went through some of all this, and the speed factor that its times are to be divided by."""
    heard, speed = samples, 1.0
    chance = rng.random()
    if chance < 0.55:
        speed = float(Fraction(float(rng.uniform(0.86, 1.16))).limit_denominator(100))
        heard = change_speed(heard, speed)
    elif chance < 0.8:
        heard = shift_pitch(heard, float(rng.uniform(-3.5, 3.5)))
    if rng.random() < 0.55:
        heard = reverberate(heard, float(rng.uniform(0.1, 0.7)), float(rng.uniform(0.0, 14.0)), rng)
    chance = rng.random()
    if chance < 0.2:
        heard = compress(heard, "mp3", int(rng.choice([24, 32, 48])) * 1000)
    elif chance < 0.4:
        heard = compress(heard, "opus", int(rng.choice([12, 16, 24])) * 1000)
    elif chance < 0.5:
        heard = telephone(heard)
    return heard, speed
