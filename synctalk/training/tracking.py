"""Head poses of a video file: the capturer's landmarks joined with the Head-Sync Stabilizer."""

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synctalk.errors import TrainingError, VideoError
from synctalk.face_sync.capturer import FaceCapturer
from synctalk.head_sync.track import Track, TrackSettings, track_head
from synctalk.logs import get_logger
from synctalk.video import probe, read_frames

_log = get_logger(__name__)

Report = Callable[[str, int, int], None]

_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
_KEEP_EVERY = 1000  # frames between two saves of an unfinished capture


def track_video(
    path: Path | str,
    like: Track | Path | str | None = None,
    progress: Report | None = None,
    start: int = 0,
    stop: int | None = None,
    settings: TrackSettings | None = None,
    landmarks: NDArray[np.floating] | None = None,
    work: Path | str | None = None,
) -> Track:
    """Track the head in a video at 25 frames per second.

    Args:
        path: the video.
        like: a track of the same person (or its file, or a folder that holds `track.npz`) whose camera,
            identity and keypoints are kept.
        progress: called as (step, done, total).
        start, stop: range of frames.
        landmarks: float [T, 478 or 68, 2 or 3] px of exactly these frames, if already measured.
        work: folder for half-done work; an interrupted run with the same folder goes on where it was.

    Raises:
        VideoError: the video cannot be read or shows no face.
        TrainingError: `like` is not a track.
    """
    say = progress or (lambda step, done, total: None)
    folder = work_folder(work, path, start, stop)
    if landmarks is None:
        landmarks = capture_landmarks(path, start, stop, say, folder)

    def source(first: int) -> Iterator[NDArray[np.uint8]]:
        return read_frames(path, start=start + first, stop=stop)

    saved = _SavedPoints(folder)
    return track_head(
        source,
        landmarks,
        like=None if like is None else load_track(like),
        settings=settings,
        report=say,
        followed=saved.load(),
        keep=saved.save,
    )


def load_track(like: Track | Path | str) -> Track:
    """A track from itself, its file, or the folder (of an avatar or a dataset) that holds `track.npz`.

    Raises:
        TrainingError: there is none.
    """
    if isinstance(like, Track):
        return like
    path = Path(like)
    if path.is_dir():
        path = path / "track.npz"
    if not path.exists():
        raise TrainingError(
            f"There is no head track at {path}. Make one with `synctalk track VIDEO -o {path}`."
        )
    return Track.load(path)


def capture_landmarks(
    path: Path | str,
    start: int = 0,
    stop: int | None = None,
    progress: Report | None = None,
    folder: Path | None = None,
) -> NDArray[np.float32]:
    """Landmarks [T, 478, 3] px of every frame, NaN without a face.

    With a folder they are saved every thousand frames, and an interrupted capture is taken up from there.

    Raises:
        VideoError: the video cannot be read.
    """
    say = progress or (lambda step, done, total: None)
    saved = _saved_parts(folder)
    parts = len(saved)
    rows = [row for part in saved for row in part]
    total = _frame_total(path, start, stop)
    capturer = FaceCapturer(smooth=0)
    block: list[NDArray[np.float32]] = []
    for face in capturer.stream(read_frames(path, start=start + len(rows), stop=stop)):
        block.append(face.landmarks478)
        if len(block) == _KEEP_EVERY:
            _save_part(folder, parts, block)
            parts += 1
            rows += block
            block = []
        if (len(rows) + len(block)) % 25 == 0:
            say("landmarks", len(rows) + len(block), total)
    rows += block
    if not rows:
        raise VideoError(f"{path} holds no frame from {start} on.")
    return np.stack(rows)


def _saved_parts(folder: Path | None) -> list[NDArray[np.float32]]:
    """The parts an interrupted capture left, up to the first that is missing or damaged."""
    parts: list[NDArray[np.float32]] = []
    while folder is not None and (path := folder / f"landmarks_{len(parts):03d}.npz").exists():
        try:
            with np.load(path, allow_pickle=False) as data:
                parts.append(data["landmarks"])
        except _UNREADABLE:
            _log.warning("%s is damaged and made anew.", path)
            break
    return parts


def _save_part(folder: Path | None, number: int, block: list[NDArray[np.float32]]) -> None:
    if folder is not None:
        write_safely(folder / f"landmarks_{number:03d}.npz", landmarks=np.stack(block))


def write_safely(path: Path, **arrays: NDArray[Any]) -> None:
    """Write an NPZ under another name and rename it, so that a stop half-way leaves no broken file."""
    beside = path.with_name(path.stem + ".part.npz")
    np.savez(beside, **arrays)  # type: ignore[arg-type]
    beside.replace(path)


def _frame_total(path: Path | str, start: int, stop: int | None) -> int:
    """How many frames there will be, for the progress bar (an estimate)."""
    whole = round(probe(path).duration_s * 25)
    return max(1, (whole if stop is None else min(stop, whole)) - start)


class _SavedPoints:
    """Followed points of an unfinished run, kept in a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "points.npz"

    def load(self) -> tuple[NDArray[np.float64], NDArray[np.float32]] | None:
        """Points' places in their keyframes [N, 2] and the rows [t, N, 2] followed so far."""
        if self._path is None or not self._path.exists():
            return None
        try:
            with np.load(self._path, allow_pickle=False) as data:
                return data["pixels"], data["rows"]
        except _UNREADABLE:
            _log.warning("%s is damaged; the points are followed anew.", self._path)
            return None

    def save(self, pixels: NDArray[np.float64], rows: NDArray[np.float32]) -> None:
        """Keep what is done so far."""
        if self._path is not None:
            write_safely(self._path, pixels=pixels, rows=rows)


def work_folder(work: Path | str | None, path: Path | str, start: int, stop: int | None) -> Path | None:
    """A folder of its own for each video and range, made inside `work`; None without `work`."""
    if work is None:
        return None
    state = Path(path).stat()
    key = f"{Path(path).resolve()} {state.st_size} {state.st_mtime_ns} {start} {stop}"
    folder = Path(work) / hashlib.sha256(key.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder
