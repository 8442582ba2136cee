"""Reading video: lazily from front to back, or any frame of a file with regular key frames."""

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from synctalk.errors import VideoError
from synctalk.logs import get_logger
from synctalk.video.planes import LIMITED, Planes

log = get_logger(__name__)
_FULL_RANGE = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class VideoInfo:
    """What a video says of itself. `width` and `height` are as shown, after rotation."""

    width: int
    height: int
    fps: float
    frames: int  # an estimate where the container does not count them
    duration_s: float
    has_audio: bool
    rotation: int  # degrees counter-clockwise, a multiple of 90
    codec: str


def _open(path: str | os.PathLike[str]) -> Any:
    file = Path(path)
    if not file.exists():
        raise VideoError(f"There is no file {file}.")
    if file.is_dir():
        raise VideoError(f"{file} is a folder, not a video.")
    if file.stat().st_size == 0:
        raise VideoError(f"{file} is empty (0 bytes). Export or download it again.")
    try:
        container = av.open(str(file))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{file} is not a video that can be read: {error}.") from error
    pictures = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not pictures:
        sound = bool(container.streams.audio)
        container.close()
        raise VideoError(f"{file} has {'sound but ' if sound else ''}no picture. Give a video file.")
    pictures[0].thread_type = "AUTO"
    return container, pictures[0]


def _quarter_turns(frame: av.VideoFrame) -> int:
    return round(frame.rotation / 90) % 4


def _to_array(frame: av.VideoFrame, pixel_format: str = "rgb24") -> np.ndarray:
    """Pixels of a decoded frame, turned upright."""
    array = frame.to_ndarray(format=pixel_format)
    turns = _quarter_turns(frame)
    return np.ascontiguousarray(np.rot90(array, turns)) if turns else array


def _decode(container: Any, stream: Any, path: str | os.PathLike[str]) -> Iterator[av.VideoFrame]:
    """Decoded frames; damage is skipped with a warning as long as something can be shown."""
    shown = 0
    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except (av.FFmpegError, OSError) as error:
            damaged += 1
            log.warning("%s cannot be read further than frame %d: %s.", path, shown, error)
            break
        try:
            frames = packet.decode()
        except av.FFmpegError:
            damaged += 1
            continue
        for frame in frames:
            if frame.pts is None:
                continue
            shown += 1
            yield frame
    if shown == 0:
        raise VideoError(f"{path} holds no frame that can be decoded; it is damaged. Export it again.")
    if damaged:
        log.warning("%s is damaged: %d packets were skipped.", path, damaged)


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Look at a video's header and first frame.

    Raises:
        VideoError: the file is missing, empty, unreadable, or has no picture.
    """
    container, stream = _open(path)
    with container:
        first = next(_decode(container, stream, path))
        fps = float(stream.average_rate or stream.guessed_rate or 25)
        if stream.duration is not None:
            duration = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration = container.duration / av.time_base
        else:
            duration = 0.0
        turns = _quarter_turns(first)
        width, height = (first.height, first.width) if turns % 2 else (first.width, first.height)
        return VideoInfo(
            width=width,
            height=height,
            fps=fps,
            frames=stream.frames or round(duration * fps),
            duration_s=duration,
            has_audio=bool(container.streams.audio),
            rotation=turns * 90,
            codec=stream.codec_context.name,
        )


def read_frames(
    path: str | os.PathLike[str], fps: float = 25.0, start: int = 0, stop: int | None = None
) -> Iterator[np.ndarray]:
    """Frames start ... stop-1 of a video seen at `fps`, one at a time.

    Frame i is the source frame nearest to time i / fps: other rates and variable rates are resampled,
    rotation is honoured, a frame whose size differs from the first one's is scaled to it.

    Args:
        path: any file ffmpeg reads (H.264, HEVC, VP9; MP4, MOV, WebM; up to 4K).
        fps: rate of the frames that come out.
        start, stop: range in output frames; stop None reads to the end.

    Yields:
        uint8 RGB [H,W,3].

    Raises:
        VideoError: the file is missing, empty, unreadable, or has no picture.
    """
    if start < 0 or (stop is not None and stop < start) or fps <= 0:
        raise VideoError(f"Frames {start} to {stop} at {fps} per second are no range.")
    container, stream = _open(path)
    with container:
        origin = (container.start_time or 0) / av.time_base
        source_step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        lead_s = start / fps - 1
        if lead_s > 0:
            with contextlib.suppress(av.FFmpegError):
                container.seek(int((lead_s + origin) / stream.time_base), stream=stream, backward=True)
        size: tuple[int, int] | None = None
        index = start
        held: av.VideoFrame | None = None
        held_time = 0.0

        def picture(frame: av.VideoFrame) -> np.ndarray:
            nonlocal size
            if size is None:
                size = (frame.width, frame.height)
            elif (frame.width, frame.height) != size:
                return _to_array(frame.reformat(width=size[0], height=size[1]))
            return _to_array(frame)

        for frame in _decode(container, stream, path):
            time = float(frame.pts * stream.time_base) - origin
            if held is not None:
                middle = (held_time + time) / 2
                array = None
                while index / fps < middle and (stop is None or index < stop):
                    array = picture(held) if array is None else array.copy()
                    yield array
                    index += 1
                if stop is not None and index >= stop:
                    return
            held, held_time = frame, time
        array = None
        while held is not None and index / fps < held_time + source_step - 1e-6 and index != stop:
            array = picture(held) if array is None else array.copy()
            yield array
            index += 1


class VideoReader:
    """Random access to the frames of a constant-rate video with regular key frames.

    One group of pictures is decoded at a time and kept, so forward and backward play decode each
    frame once.

    Args:
        path: the video.
        pixel_format: 'rgb24' for [H,W,3], 'gray' for [H,W], or 'yuv420p' for `planes` (and `frame` as RGB).
        groups: how many groups of pictures are kept.

    Raises:
        VideoError: the file is missing, empty, unreadable, or has no picture.
    """

    def __init__(self, path: str | os.PathLike[str], pixel_format: str = "rgb24", groups: int = 2) -> None:
        self.path = Path(path)
        self.pixel_format = pixel_format
        self._container, self._stream = _open(path)
        # A second thread decodes no more frames per second of processor time, but fewer.
        self._stream.thread_type = "NONE"
        self._stream.codec_context.thread_count = 1
        self.fps = float(self._stream.average_rate)
        self.width = self._stream.width
        self.height = self._stream.height
        keys: list[int] = []
        count = 0
        for packet in self._container.demux(self._stream):
            if packet.pts is None:
                continue
            count += 1
            if packet.is_keyframe:
                keys.append(self._index(packet.pts))
        if not keys:
            raise VideoError(f"{path} holds no frames.")
        self._count = count
        self._keys = np.array(sorted(keys))
        self._keep = groups
        self._groups: OrderedDict[int, dict[int, Any]] = OrderedDict()

    def _index(self, pts: int) -> int:
        return round(float((pts - (self._stream.start_time or 0)) * self._stream.time_base) * self.fps)

    def __len__(self) -> int:
        return self._count

    def frame(self, index: int) -> np.ndarray:
        """Frame `index`: uint8 [H,W,3] or [H,W]. Do not write into it.

        Raises:
            IndexError: there is no such frame.
            VideoError: it cannot be decoded.
        """
        found = self._kept(index)
        return found.rgb() if isinstance(found, Planes) else found

    def planes(self, index: int) -> Planes:
        """Frame `index` of a reader of 'yuv420p', as it was decoded. Do not write into it.

        Raises:
            IndexError: there is no such frame.
            VideoError: it cannot be decoded.
        """
        found = self._kept(index)
        assert isinstance(found, Planes), "planes are kept only by a reader of 'yuv420p'"
        return found

    def _kept(self, index: int) -> Any:
        if not 0 <= index < self._count:
            raise IndexError(f"{self.path} has frames 0 to {self._count - 1}, not {index}.")
        group = int(np.searchsorted(self._keys, index, side="right")) - 1
        if group not in self._groups:
            self._groups[group] = self._decode_group(group)
            while len(self._groups) > self._keep:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        try:
            return self._groups[group][index]
        except KeyError as error:
            raise VideoError(f"{self.path}: frame {index} cannot be decoded; the file is damaged.") from error

    def _decode_group(self, group: int) -> dict[int, Any]:
        first = int(self._keys[group])
        last = int(self._keys[group + 1]) if group + 1 < len(self._keys) else self._count
        offset = (self._stream.start_time or 0) + round(first / self.fps / self._stream.time_base)
        self._container.seek(offset, stream=self._stream, backward=True)
        frames: dict[int, Any] = {}
        try:
            for frame in self._container.decode(self._stream):
                index = self._index(frame.pts)
                if first <= index < last:
                    frames[index] = self._converted(frame)
                if index >= last - 1:
                    break
        except av.FFmpegError as error:
            raise VideoError(f"{self.path}: frames {first} to {last - 1} are damaged: {error}.") from error
        return frames

    def _converted(self, frame: av.VideoFrame) -> Any:
        if self.pixel_format == "yuv420p":
            return Planes.from_frame(frame)
        limited = frame.format.name == "yuv420p" and frame.color_range == LIMITED
        if self.pixel_format == "gray" and limited and not _quarter_turns(frame):
            plane = frame.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
            return cv2.LUT(rows[:, : plane.width], _FULL_RANGE)
        return _to_array(frame, self.pixel_format)

    def close(self) -> None:
        """Close the file."""
        self._container.close()
