"""Sound in: any file ffmpeg reads, as mono float32 samples at one rate.

Inside the library sound is mono, 16 kHz, float32 in [-1, 1]; frame i of a video shows time i / 25 s.
Decoding and resampling go in chunks, so memory follows the result and not the source.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import soxr

from synctalk.errors import AudioError
from synctalk.logs import get_logger

RATE = 16000
"""Sample rate inside the library, Hz."""
FPS = 25.0
"""Frames per second inside the library."""

_SILENT = 2.5e-4  # peak below -72 dBFS: no microphone leaves a voice there
_WRONG_SCALE = 8.0  # float samples beyond this are integers in disguise
_GAP_S = 0.1  # a hole in the time stamps longer than this is filled with silence

Source = str | Path | BinaryIO
log = get_logger(__name__)


def load_audio(
    source: Source,
    rate: int = RATE,
    max_seconds: float = 3600.0,
    loudness_lufs: float | None = None,
) -> np.ndarray:
    """The sound of an audio or video file, mixed to mono.

    In a video, sample 0 is heard when the first frame is shown: a sound track that starts later is
    preceded by silence, one that starts earlier is cut.

    Args:
        source: path, or a binary file object that can seek.
        rate: wanted sample rate, Hz.
        max_seconds: longest sound accepted.
        loudness_lufs: if given, bring the loudness (ITU-R BS.1770) there, for example -23.

    Returns:
        float32 [n] in [-1, 1].

    Raises:
        AudioError: no such file, no sound in it, corrupt, NaN, silent from end to end, or too long.
    """
    chunks = list(stream_audio(source, rate, max_seconds))
    samples = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    check_samples(samples, _name(source))
    if loudness_lufs is not None:
        samples = normalise_loudness(samples, rate, loudness_lufs)
    return samples


def stream_audio(source: Source, rate: int = RATE, max_seconds: float = 3600.0) -> Iterator[np.ndarray]:
    """The same as `load_audio` in pieces of some thousand samples; their concatenation is the whole.

    Yields:
        float32 [m] in [-1, 1]. Silence is passed on as it is.

    Raises:
        AudioError: as `load_audio`, except for silence.
    """
    resampler, chunks = None, stream_soundtrack(source, max_seconds)
    for chunk, source_rate in chunks:
        mono = chunk.mean(axis=1, dtype=np.float32)
        if source_rate == rate:
            yield np.clip(mono, -1.0, 1.0)
            continue
        if resampler is None:
            resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality="HQ")
        out = resampler.resample_chunk(mono)
        if len(out):
            yield np.clip(out, -1.0, 1.0)
    if resampler is not None:
        out = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        if len(out):
            yield np.clip(out, -1.0, 1.0)


def load_soundtrack(source: Source, max_seconds: float = 3600.0) -> tuple[np.ndarray, int]:
    """The user's own samples, neither mixed nor resampled: what a finished video keeps.

    Returns:
        float32 [n, channels] and the file's rate in Hz.

    Raises:
        AudioError: as `load_audio`, except for silence.
    """
    pieces = list(stream_soundtrack(source, max_seconds))
    if not pieces:
        raise AudioError(f"{_name(source)} holds no samples. Record it again, or pick another file.")
    return np.concatenate([chunk for chunk, _ in pieces]), pieces[0][1]


def stream_soundtrack(source: Source, max_seconds: float = 3600.0) -> Iterator[tuple[np.ndarray, int]]:
    """The user's own samples in pieces, on the time line of the video if there is one.

    Yields:
        float32 [m, channels] and the file's rate in Hz (the same for all pieces).

    Raises:
        AudioError: as `load_audio`, except for silence.
    """
    name = _name(source)
    if isinstance(source, (str, Path)) and not Path(source).is_file():
        raise AudioError(f"There is no file {name}. Check the path.")
    try:
        container = av.open(str(source) if isinstance(source, Path) else source, mode="r")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise AudioError(
            f"{name} cannot be read as sound ({_reason(error)}). The file is damaged or of an unknown kind: "
            "convert it to WAV or MP3 and try again."
        ) from error
    with container:
        if not container.streams.audio:
            raise AudioError(f"{name} has no sound in it. Pick a file with an audio track.")
        stream = container.streams.audio[0]
        length = _stated_seconds(container, stream)
        if length is not None and length > max_seconds + 1.0:
            raise _too_long(name, length, max_seconds)
        yield from _place(_frames(container, stream, name), _time_zero(container), name, max_seconds)


def from_samples(samples: np.ndarray, source_rate: int, rate: int = RATE) -> np.ndarray:
    """Samples that are already in memory (a microphone, an array) brought to mono at `rate`.

    Args:
        samples: [n] or [n, channels]; float in [-1, 1] or any integer type at full scale.
        source_rate: their rate, Hz.
        rate: wanted rate, Hz.

    Returns:
        float32 [n'] in [-1, 1].

    Raises:
        AudioError: wrong shape or rate, NaN, zero length, silent from end to end.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise AudioError(f"Samples must be [n] or [n, channels], not of shape {samples.shape}.")
    if not 1000 <= source_rate <= 768000:
        raise AudioError(f"A sample rate of {source_rate} Hz cannot be right; give the rate in Hz.")
    columns = _as_float(samples if samples.ndim == 2 else samples[:, None])
    if len(columns) == 0:
        raise AudioError("The sound holds no samples. Record it again.")
    _check_values(columns, "The sound")
    mono = columns.mean(axis=1, dtype=np.float32)
    mono = resample(mono, source_rate, rate)
    check_samples(mono, "The sound")
    return mono


def resample(samples: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
    """float32 [n] at `source_rate` -> float32 [n rate / source_rate] at `rate`, without delay."""
    if source_rate == rate:
        return np.clip(samples, -1.0, 1.0).astype(np.float32)
    out = soxr.resample(samples.astype(np.float32), source_rate, rate, quality="HQ")
    return np.clip(out, -1.0, 1.0)


def check_samples(samples: np.ndarray, name: str = "The sound") -> None:
    """Refuse sound that no mouth can follow.

    Args:
        samples: float [n].
        name: what to call it in the message.

    Raises:
        AudioError: zero length, NaN or infinite samples, or silent from end to end.
    """
    if samples.ndim != 1:
        raise AudioError(f"{name} must be mono samples [n], not of shape {samples.shape}.")
    if len(samples) == 0:
        raise AudioError(f"{name} holds no samples. Record it again, or pick another file.")
    _check_values(samples, name)
    if np.abs(samples).max() < _SILENT:
        raise AudioError(f"{name} is silent from end to end. Check the microphone, or pick another file.")


def frame_count(samples: np.ndarray | int, fps: float = FPS, rate: int = RATE) -> int:
    """How many video frames cover the sound (an array, or its number of samples): none is left out."""
    count = samples if isinstance(samples, int) else len(samples)
    # The small margin keeps 640 samples at one frame when fps is not a whole number.
    return int(np.ceil(count * fps / rate - 1e-9))


def loudness(samples: np.ndarray, rate: int = RATE) -> float:
    """Gated loudness of mono sound by ITU-R BS.1770-4, in LUFS; -inf where nothing passes the gate.

    Sound shorter than one 400 ms block is measured as one block, ungated.
    """
    from scipy.signal import lfilter  # half a second to import, for something done on request only

    weighted = lfilter(*_shelf(rate), samples.astype(np.float64))
    weighted = lfilter(*_high_pass(rate), weighted)
    block, hop = round(0.4 * rate), round(0.1 * rate)
    if len(weighted) < block:
        power = np.array([np.mean(weighted**2)])
    else:
        sums = np.concatenate([[0.0], np.cumsum(weighted**2)])
        starts = np.arange(0, len(weighted) - block + 1, hop)
        power = (sums[starts + block] - sums[starts]) / block
    level = -0.691 + 10.0 * np.log10(np.maximum(power, 1e-20))
    heard = power[level > -70.0]
    if len(heard) == 0:
        return -np.inf
    gate = -0.691 + 10.0 * np.log10(heard.mean()) - 10.0
    return float(-0.691 + 10.0 * np.log10(power[(level > -70.0) & (level > gate)].mean()))


def normalise_loudness(samples: np.ndarray, rate: int = RATE, target_lufs: float = -23.0) -> np.ndarray:
    """Scale mono sound to a loudness, as far as its peak allows (ceiling 0.99: nothing is clipped)."""
    level = loudness(samples, rate)
    if not np.isfinite(level):
        return samples
    gain = 10.0 ** ((target_lufs - level) / 20.0)
    gain = min(gain, 0.99 / float(np.abs(samples).max()))
    return (samples * gain).astype(np.float32)


def _shelf(rate: int) -> tuple[np.ndarray, np.ndarray]:
    """First stage of BS.1770's K-weighting, for any rate: a high shelf of +4 dB above 1.7 kHz."""
    k = np.tan(np.pi * 1681.974450955533 / rate)
    q, high = 0.7071752369554196, 10.0 ** (3.999843853973347 / 20.0)
    band = high**0.4996667741545416
    b = [high + band * k / q + k * k, 2.0 * (k * k - high), high - band * k / q + k * k]
    a = [1.0 + k / q + k * k, 2.0 * (k * k - 1.0), 1.0 - k / q + k * k]
    return np.array(b) / a[0], np.array(a) / a[0]


def _high_pass(rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Second stage of BS.1770's K-weighting: a high pass at 38 Hz."""
    k, q = np.tan(np.pi * 38.13547087602444 / rate), 0.5003270373238773
    scale = 1.0 + k / q + k * k
    return np.array([1.0, -2.0, 1.0]), np.array(
        [1.0, 2.0 * (k * k - 1.0) / scale, (1.0 - k / q + k * k) / scale]
    )


def _name(source: Source) -> str:
    if isinstance(source, (str, Path)):
        return str(source)
    return str(getattr(source, "name", "The sound"))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _as_float(samples: np.ndarray) -> np.ndarray:
    """Integer PCM at full scale, or float -> float32 of the same shape."""
    if samples.dtype == np.uint8:
        return ((samples.astype(np.float32) - 128.0) / 128.0).astype(np.float32)
    if np.issubdtype(samples.dtype, np.signedinteger):
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    if np.issubdtype(samples.dtype, np.floating):
        return samples.astype(np.float32)
    raise AudioError(f"Samples of type {samples.dtype} are not sound; give float in [-1, 1] or int16.")


def _check_values(samples: np.ndarray, name: str) -> None:
    if not np.isfinite(samples).all():
        raise AudioError(f"{name} holds samples that are not numbers (NaN or infinite). Export it again.")
    if np.abs(samples).max(initial=0.0) > _WRONG_SCALE:
        raise AudioError(
            f"{name} holds samples up to {np.abs(samples).max():.0f}; float sound lies between -1 and 1. "
            "Divide by the full scale (32768 for 16 bits) and try again."
        )


def _too_long(name: str, seconds: float, max_seconds: float) -> AudioError:
    return AudioError(
        f"{name} lasts {_clock(seconds)} or more; the limit is {_clock(max_seconds)}. Cut it into parts."
    )


def _stated_seconds(container: "av.container.InputContainer", stream: "av.AudioStream") -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _time_zero(container: "av.container.InputContainer") -> float | None:
    """Time stamp of the first picture, s; None where the file is sound alone (cover art is no video)."""
    for stream in container.streams.video:
        if stream.disposition & av.stream.Disposition.attached_pic:
            continue
        if stream.start_time is not None and stream.time_base is not None:
            return float(stream.start_time * stream.time_base)
    return None


def _frames(
    container: "av.container.InputContainer", stream: "av.AudioStream", name: str
) -> Iterator["av.AudioFrame"]:
    """Decoded frames; damaged packets are skipped as long as most are sound."""
    good = bad = 0
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                bad += 1
                continue
            good += len(frames) > 0
            yield from frames
    except (av.error.FFmpegError, OSError) as error:
        # The container breaks off; what came before it is whole.
        log.warning("%s breaks off (%s); only the part before that is used.", name, _reason(error))
    if bad > good or (bad and not good):
        raise AudioError(f"{name} is damaged: most of its sound cannot be decoded. Export it again.")
    if bad:
        log.warning("%s: %d damaged pieces of sound were skipped.", name, bad)
    if not good:
        raise AudioError(f"{name} holds no samples. Record it again, or pick another file.")


def _place(
    frames: Iterator["av.AudioFrame"], zero: float | None, name: str, max_seconds: float
) -> Iterator[tuple[np.ndarray, int]]:
    """Frames at their times: starts at `zero` (or with the first frame), holes filled, one rate, checked."""
    written, rate, channels = 0, 0, 0
    for frame in frames:
        chunk = _frame_samples(frame)
        if not rate:
            rate, channels = frame.sample_rate, chunk.shape[1]
        if zero is None:
            zero = frame.time or 0.0
        if frame.sample_rate != rate or chunk.shape[1] != channels:
            raise AudioError(f"{name} changes its rate or channels midway. Export it again at one rate.")
        _check_values(chunk, name)
        if frame.time is not None:
            behind = round((frame.time - zero) * rate) - written
            if behind > max_seconds * rate:
                raise _too_long(name, behind / rate, max_seconds)
            if behind > _GAP_S * rate or (behind > 0 and written == 0):
                yield np.zeros((behind, channels), np.float32), rate
                written += behind
            elif behind < 0 and written == 0:
                chunk = chunk[min(-behind, len(chunk)) :]
        if len(chunk):
            written += len(chunk)
            if written > max_seconds * rate:
                raise _too_long(name, written / rate, max_seconds)
            yield chunk, rate


def _frame_samples(frame: "av.AudioFrame") -> np.ndarray:
    """Float32 [m, channels] of a decoded frame, whatever its sample format."""
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, len(frame.layout.channels))
    else:
        data = data.T
    return _as_float(data)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
