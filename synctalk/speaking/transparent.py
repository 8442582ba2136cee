"""Writing video with a clear background: ProRes 4444 (.mov) for editors, VP9 (.webm) for web pages."""

import contextlib
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from synctalk.errors import VideoError

# suffix: container, picture codec, pixel format, options, sound codec, sound rate (None keeps it)
_KINDS: dict[str, tuple[str, str, str, dict[str, str], str, int | None]] = {
    ".mov": ("mov", "prores_ks", "yuva444p10le", {"profile": "4444"}, "pcm_s16le", None),
    ".webm": (
        "webm",
        "libvpx-vp9",
        "yuva420p",
        {"deadline": "realtime", "cpu-used": "8", "crf": "24", "b:v": "0", "row-mt": "1"},
        "libopus",
        48000,
    ),
}
SUFFIXES = tuple(_KINDS)


class TransparentWriter:
    """Like `VideoWriter`, for RGBA frames.

    Args:
        path: ends in .mov or .webm.
        width, height: px, even.
        fps: frames per second.
        audio: (None, rate in Hz); the sound comes through `write_audio`.
        channels: of the sound.
        metadata: plain tags of the container.

    Raises:
        VideoError: another ending, or a folder that cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        width: int,
        height: int,
        fps: float = 25,
        *,
        audio: tuple[None, int],
        channels: int = 1,
        metadata: dict[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in _KINDS:
            raise VideoError(
                f"{self.path.name}: MP4 cannot be transparent. Name the file .mov (ProRes) or .webm (VP9)."
            )
        container, codec, pixels, options, sound, rate = _KINDS[self.path.suffix.lower()]
        self.width, self.height, self.frames = width, height, 0
        self._fps = Fraction(fps).limit_denominator(1001)
        self._part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container: Any = av.open(str(self._part), "w", format=container)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{self.path} cannot be written: {error}.") from error
        self._container.metadata.update(metadata or {})
        video: Any = self._container.add_stream(codec, rate=self._fps, options=options)
        video.width, video.height, video.pix_fmt = width, height, pixels
        video.codec_context.thread_count = 0
        self._video = video
        self._rate, self._samples = audio[1], 0
        self._layout = "mono" if channels == 1 else "stereo"
        stream: Any = self._container.add_stream(sound, rate=rate or self._rate)
        self._audio = stream
        self._audio.codec_context.layout = self._layout
        self._resampler = av.AudioResampler(
            format=self._audio.codec_context.format, layout=self._layout, rate=rate or self._rate
        )

    def __enter__(self) -> "TransparentWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._close()
        else:
            self._abort()

    def write(self, rgba: NDArray[np.uint8]) -> None:
        """Add a frame, uint8 RGBA [H,W,4]."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgba), format="rgba")
        frame = frame.reformat(format=self._video.pix_fmt, dst_colorspace="ITU709")
        frame.pts, frame.time_base = self.frames, 1 / self._fps
        self.frames += 1
        self._container.mux(self._video.encode(frame))

    def write_audio(self, samples: NDArray[np.float32]) -> None:
        """Add sound, float [n] or [n,c] in [-1,1]."""
        if not len(samples):
            return
        planes = samples.reshape(len(samples), -1)[:, :2].T
        planes = np.ascontiguousarray(np.clip(planes, -1, 1), np.float32)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._samples, Fraction(1, self._rate)
        self._samples += planes.shape[1]
        for ready in self._resampler.resample(frame):
            self._container.mux(self._audio.encode(ready))

    def _close(self) -> None:
        try:
            self._container.mux(self._video.encode(None))
            for ready in self._resampler.resample(None):
                self._container.mux(self._audio.encode(ready))
            self._container.mux(self._audio.encode(None))
            self._container.close()
            os.replace(self._part, self.path)
        except (av.FFmpegError, OSError) as error:
            self._abort()
            raise VideoError(f"{self.path} could not be written: {error}. Is the disk full?") from error

    def _abort(self) -> None:
        with contextlib.suppress(av.FFmpegError, OSError):
            self._container.close()
        with contextlib.suppress(OSError):
            self._part.unlink()
