"""Sound files of any kind, made with PyAV."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile


def burst(rate: int, channels: int = 1, seconds: float = 1.0, start_s: float = 0.4) -> np.ndarray:
    """[n, channels]: silence, then a 440 Hz tone from `start_s` on."""
    t = np.arange(round(seconds * rate)) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440.0 * t) * (t >= start_s)
    return np.repeat(tone[:, None], channels, axis=1).astype(np.float32)


def onset_s(samples: np.ndarray, rate: int) -> float:
    """When the sound first exceeds a fifth of its peak."""
    return float(np.argmax(np.abs(samples) > 0.2 * np.abs(samples).max())) / rate


def write_sound(path: Path, samples: np.ndarray, rate: int, codec: str, sample_format: str) -> Path:
    """Encode [n, channels] with PyAV (Vorbis, which PyAV only decodes, with soundfile)."""
    if codec == "vorbis":
        soundfile.write(path, samples, rate, format="OGG", subtype="VORBIS")
        return path
    layouts = {1: "mono", 2: "stereo", 8: "7.1"}
    layout = layouts[samples.shape[1]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = layout
        stream.format = sample_format
        packed = np.ascontiguousarray(samples.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate = rate
        frame.pts = 0
        resampler = av.AudioResampler(
            sample_format, layout, rate, frame_size=stream.codec_context.frame_size or None
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def write_video(path: Path, samples: np.ndarray, rate: int, sound_starts_s: float = 0.0) -> Path:
    """One second of grey picture with AAC sound whose time stamps start at `sound_starts_s`."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=25)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=rate)
        sound.layout = "mono"
        for i in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), format="rgb24")
            frame.pts = i
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        block = 1024
        for at in range(0, len(samples) - block, block):
            part = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[at : at + block].T), format="fltp", layout="mono"
            )
            part.sample_rate = rate
            part.time_base = Fraction(1, rate)
            part.pts = at + round(sound_starts_s * rate)
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))
    return path
