"""Writing video: frame-exact H.264 + AAC, streaming, never a half file under the final name."""

import contextlib
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from synctalk.errors import VideoError
from synctalk.video.planes import Planes

_AUDIO_AT_ONCE_S = 0.4
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


class VideoWriter:
    """Write H.264 + AAC into an MP4, frame by frame; the file appears under its name only when complete.

    Sound is written beside the frames as they come, to the sample. Rates that AAC knows are kept;
    others become the next higher one.

    Args:
        path: the file to make (an existing one is replaced on success).
        width, height: pixels, even.
        fps: frames per second.
        audio: (samples [n] or [n,c] float in [-1,1], rate in Hz), the whole soundtrack; or
            (None, rate) when the sound comes in pieces through `write_audio`; or None.
        channels: channels of the sound that comes in pieces.
        crf: quality of libx264, lower is better (18 is visually lossless).
        preset: speed of libx264.
        keyframe_every: frames between key frames; None lets the encoder choose.
        metadata: plain tags of the container, for example {'comment': ...}.
        threads: encoder threads; 0 lets it choose.

    Raises:
        VideoError: odd or empty size, a folder that cannot be written, a full disk, no frames.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        width: int,
        height: int,
        fps: float = 25,
        audio: tuple[np.ndarray | None, int] | None = None,
        *,
        channels: int = 1,
        crf: int = 18,
        preset: str = "veryfast",
        keyframe_every: int | None = None,
        pixel_format: str = "yuv420p",
        metadata: dict[str, str] | None = None,
        threads: int = 0,
    ) -> None:
        self.path = Path(path)
        if width <= 0 or height <= 0 or width % 2 or height % 2:
            raise VideoError(f"{self.path}: H.264 needs even sizes, not {width}x{height}.")
        self.width, self.height = width, height
        self.fps = Fraction(fps).limit_denominator(1001)
        self.frames = 0
        self._part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container: Any = av.open(
                str(self._part), "w", format="mp4", options={"movflags": "+faststart+use_metadata_tags"}
            )
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{self.path} cannot be written: {error}.") from error
        self._container.metadata.update(metadata or {})
        options = {"crf": str(crf), "preset": preset}
        if keyframe_every:
            options |= {"g": str(keyframe_every), "keyint_min": str(keyframe_every), "sc_threshold": "0"}
        stream: Any = self._container.add_stream("libx264", rate=self.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.time_base = 1 / self.fps
        stream.codec_context.thread_count = threads
        stream.codec_context.colorspace = 1  # BT.709, as `write_yuv` planes are
        stream.codec_context.color_primaries = 1
        stream.codec_context.color_trc = 1
        stream.codec_context.color_range = 1  # limited
        self._video = stream
        self._audio: Any = None
        self._samples: np.ndarray | None = None
        self._taken = 0
        self._held: list[np.ndarray] = []
        self._written_samples = 0
        self._resampler: Any = None
        if audio is not None:
            self._add_audio(audio, channels)

    def _add_audio(self, audio: tuple[np.ndarray | None, int], channels: int) -> None:
        samples, self._rate = audio
        if samples is not None:
            self._samples = samples if samples.ndim == 2 else samples[:, None]
            channels = self._samples.shape[1]
        layouts = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
        if channels not in layouts:
            raise VideoError(f"{self.path}: a soundtrack has 1 to 8 channels, not {channels}.")
        self._layout = layouts[channels]
        rate = next((r for r in AAC_RATES if r >= self._rate), AAC_RATES[-1])
        # At these bit rates the quick search for scale factors is as good, in half the time.
        self._audio = self._container.add_stream("aac", rate=rate, options={"aac_coder": "fast"})
        self._audio.codec_context.layout = self._layout
        self._audio.codec_context.bit_rate = (160_000 if channels == 1 else 96_000 * channels) * min(
            1, rate / 32000
        )
        if rate != self._rate:
            self._resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=rate)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, rgb: np.ndarray) -> None:
        """Add a frame, uint8 RGB [H,W,3].

        Raises:
            VideoError: wrong shape or type, or the disk is full.
        """
        if rgb.shape != (self.height, self.width, 3) or rgb.dtype != np.uint8:
            raise VideoError(
                f"{self.path}: a frame must be uint8 [{self.height},{self.width},3], "
                f"not {rgb.dtype} {list(rgb.shape)}."
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        self._encode(frame.reformat(format=self._video.pix_fmt, dst_colorspace="ITU709"))

    def write_yuv(self, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
        """Add a frame as limited-range BT.709 planes, uint8 [H,W] and twice [H/2,W/2], without a conversion.

        Raises:
            VideoError: wrong shapes, or the disk is full.
        """
        if y.shape != (self.height, self.width) or u.shape != (self.height // 2, self.width // 2):
            raise VideoError(
                f"{self.path}: planes of {list(y.shape)} and {list(u.shape)} are not 4:2:0 of the video."
            )
        self.write_planes(Planes.from_planes(y, u, v))

    def write_planes(self, planes: Planes) -> None:
        """Add a frame without a conversion.

        Raises:
            VideoError: another size, or the disk is full.
        """
        if (planes.height, planes.width) != (self.height, self.width):
            raise VideoError(
                f"{self.path}: a frame is {planes.width}x{planes.height} px, but the video "
                f"{self.width}x{self.height}."
            )
        self._encode(planes.to_frame())

    def _encode(self, frame: av.VideoFrame) -> None:
        frame.pts = self.frames
        frame.time_base = 1 / self.fps
        self.frames += 1
        with self._explained():
            self._container.mux(self._video.encode(frame))
            if self._samples is not None:
                self._feed(math.ceil(self.frames * self._rate / self.fps))

    def _feed(self, until: int | None) -> None:
        """Encode the given soundtrack up to sample `until`."""
        assert self._samples is not None
        stop = len(self._samples) if until is None else min(until, len(self._samples))
        while self._taken < stop:
            piece = self._samples[self._taken : min(stop, self._taken + 16384)]
            self._taken += len(piece)
            self._encode_audio(piece)

    def write_audio(self, samples: np.ndarray) -> None:
        """Add sound, float [n] or [n,c] in [-1,1], at the rate given to the constructor.

        Raises:
            VideoError: the writer has no sound, or the disk is full.
        """
        if self._audio is None:
            raise VideoError(f"{self.path} was opened without sound.")
        self._held.append(samples if samples.ndim == 2 else samples[:, None])
        if sum(map(len, self._held)) >= _AUDIO_AT_ONCE_S * self._rate:
            with self._explained():
                self._encode_held()

    def _encode_held(self) -> None:
        """Encode the sound that has come in pieces, in one go: each call costs as much as a frame of it."""
        if self._held:
            self._encode_audio(np.concatenate(self._held))
            self._held = []

    def _encode_audio(self, samples: np.ndarray) -> None:
        if not len(samples):
            return
        planes = np.ascontiguousarray(np.clip(samples, -1, 1).T.astype(np.float32))
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts = self._written_samples
        frame.time_base = Fraction(1, self._rate)
        self._written_samples += planes.shape[1]
        for ready in self._resampler.resample(frame) if self._resampler else [frame]:
            self._container.mux(self._audio.encode(ready))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            self.abort()
            raise VideoError(f"{self.path} could not be written: {error}. Is the disk full?") from error

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            VideoError: no frame was written, or the disk is full.
        """
        if self._container is None:
            return
        if self.frames == 0:
            self.abort()
            raise VideoError(f"{self.path}: no frame was written, so there is no video.")
        with self._explained():
            if self._samples is not None:
                self._feed(None)
            self._encode_held()
            self._container.mux(self._video.encode(None))
            if self._audio is not None:
                for ready in self._resampler.resample(None) if self._resampler else []:
                    self._container.mux(self._audio.encode(ready))
                self._container.mux(self._audio.encode(None))
            self._container.close()
            os.replace(self._part, self.path)
        self._container = None

    def abort(self) -> None:
        """Throw the unfinished file away; nothing is left under the final name."""
        if self._container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()
            self._container = None
        with contextlib.suppress(OSError):
            self._part.unlink()
