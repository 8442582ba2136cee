"""What can be measured in footage before any training: picture, face, camera, sound, lip sync."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.errors import AudioError, VideoError
from synctalk.evaluation.sync import SyncScore, judge
from synctalk.face_sync.capturer import FaceCapturer, FaceFrame, face_height
from synctalk.face_sync.mouth_measures import mouth_measures
from synctalk.face_sync.readout import ReadOut, align
from synctalk.logs import progress
from synctalk.speech.audio import load_audio
from synctalk.speech.voice_activity import speech_mask
from synctalk.training.framing import lip_gap
from synctalk.video import probe, read_frames

FPS = 25
_STRIDE = 5  # every fifth frame is looked at closely
_SYNC_SECONDS = 20
_RIGHT_EAR, _LEFT_EAR = 234, 454  # mesh points before the subject's ears
_THUMB = (64, 36)
_CUT_LEAST = 12.0  # mean difference of two thumbnails, 0..255, that can be a cut
_CUT_FACTOR = 6.0  # and how far it must stand out from the differences around it


@dataclass(frozen=True)
class FaceLook:
    """The face in one closely seen frame.

    Attributes:
        landmarks478: float32 [478, 3] px; NaN without a face.
        faces: how many were counted last.
        height_px: forehead to chin; NaN without a face.
        sharpness: share of fine detail (see `sharpness`); NaN without a face.
        light: mean grey value of the face in 0..1; NaN without one.
        clipped: share of its pixels at either end of the scale; NaN without one.
    """

    landmarks478: NDArray[np.float32]
    faces: int
    height_px: float
    sharpness: float
    light: float
    clipped: float


@dataclass(frozen=True)
class PictureMeasures:
    """What the frames show.

    Attributes:
        frames: how many, at 25 per second.
        looks: every fifth frame.
        cuts: first frames of new shots.
        camera_px: how far the background moved from where it was first, [n] px of the frame, one value per
            closely seen frame; NaN where a plain background does not tell.
        thumbnails: six frames over the length, uint8 RGB, at most 240 px wide.
    """

    frames: int
    looks: list[FaceLook]
    cuts: list[int]
    camera_px: NDArray[np.float64]
    thumbnails: list[NDArray[np.uint8]]

    @property
    def landmarks478(self) -> NDArray[np.float32]:
        """Landmarks of the closely seen frames that show a face, [n, 478, 3] px."""
        seen = [look.landmarks478 for look in self.looks if np.isfinite(look.height_px)]
        return np.stack(seen) if seen else np.zeros((0, 478, 3), np.float32)


@dataclass(frozen=True)
class SoundMeasures:
    """What the sound is like.

    Attributes:
        samples: float32 [n], 16 kHz.
        speech_db: level of the spoken parts, dB below full scale.
        noise_db: level of the pauses, the same; NaN without pauses.
        speech_share: share of the time that is spoken.
        clipped: share of samples at full scale.
    """

    samples: NDArray[np.float32]
    speech_db: float
    noise_db: float
    speech_share: float
    clipped: float


def look_at_picture(video: Path, threads: int = 2) -> PictureMeasures:
    """One pass over the frames.

    Raises:
        VideoError: the video cannot be read or has no frame.
    """
    total = probe(video).frames
    keep = {round((k + 0.5) / 6 * max(total, 1)) for k in range(6)}
    steps: list[float] = []
    thumbnails: list[NDArray[np.uint8]] = []
    camera = Camera()
    drift: list[float] = []
    seen: list[NDArray[np.uint8]] = []
    before: NDArray[np.float32] | None = None
    count = 0

    def close_looks() -> Iterator[NDArray[np.uint8]]:
        nonlocal before, count
        for i, frame in enumerate(progress(read_frames(video), total=total, label="looking")):
            thumb = np.asarray(cv2.resize(frame, _THUMB, interpolation=cv2.INTER_AREA), np.float32)
            if before is not None:
                steps.append(float(np.abs(thumb - before).mean()))
            before, count = thumb, i + 1
            if i in keep:
                scale = min(1.0, 240 / frame.shape[1])
                small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                thumbnails.append(np.asarray(small, np.uint8))
            if i % _STRIDE == 0:
                drift.append(camera.moved(frame))
                seen[:] = [frame]
                yield frame

    looks = [look_at_face(seen[0], row) for row in FaceCapturer(threads=threads).stream(close_looks())]
    if count == 0:
        raise VideoError(f"{video} has no frame that can be decoded.")
    return PictureMeasures(count, looks, find_cuts(np.array(steps)), np.array(drift), thumbnails)


def look_at_face(frame: NDArray[np.uint8], row: FaceFrame) -> FaceLook:
    """Measures of the face that `row` found in `frame` (uint8 RGB)."""
    nothing = FaceLook(row.landmarks478, row.faces, np.nan, np.nan, np.nan, np.nan)
    if row.confidence <= 0:
        return nothing
    low = np.floor(row.landmarks478[:, :2].min(0)).astype(int).clip(0)
    high = np.ceil(row.landmarks478[:, :2].max(0)).astype(int)
    face = frame[low[1] : high[1], low[0] : high[0]]
    if min(face.shape[:2]) < 8:
        return nothing
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    clipped = float(((grey < 6) | (grey > 249)).mean())
    light = float(grey.mean()) / 255
    return FaceLook(
        row.landmarks478, row.faces, face_height(row.landmarks478), sharpness(grey), light, clipped
    )


def sharpness(grey: NDArray[Any]) -> float:
    """How much of the contrast between neighbouring pixels a further blur takes away, 0 (soft) .. 1 (crisp).

    The face is first brought to 160 px of height (never enlarged), so that its size says nothing.
    """
    scale = min(1.0, 160 / grey.shape[0])
    small = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float32)
    soft = np.asarray(cv2.boxFilter(small, -1, (5, 5)), np.float32)
    before = np.abs(np.diff(small, axis=1)).mean() + np.abs(np.diff(small, axis=0)).mean()
    after = np.abs(np.diff(soft, axis=1)).mean() + np.abs(np.diff(soft, axis=0)).mean()
    return float(1 - after / max(float(before), 1e-6))


def find_cuts(steps: NDArray[np.floating]) -> list[int]:
    """First frames of new shots, from the mean difference of each frame to the one before ([T - 1])."""
    cuts = []
    for i, step in enumerate(steps):
        around = np.concatenate([steps[max(0, i - 12) : i], steps[i + 1 : i + 13]])
        usual = float(np.median(around)) if len(around) else 0.0
        if step > _CUT_LEAST and step > _CUT_FACTOR * usual:
            cuts.append(i + 1)
    return cuts


class Camera:
    """Follows points of the background's outer thirds, which a person in the middle leaves free."""

    def __init__(self) -> None:
        self._first: NDArray[Any] | None = None
        self._points: NDArray[np.float32] | None = None
        self._scale = 1.0

    def moved(self, frame: NDArray[np.uint8]) -> float:
        """How far the background is from where the first frame had it, px; NaN where nothing tells."""
        width = frame.shape[1]
        self._scale = min(1.0, 480 / width)
        size = (max(16, round(width * self._scale)), max(16, round(frame.shape[0] * self._scale)))
        grey = cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        if self._first is None or self._first.shape != grey.shape:
            region = np.zeros_like(grey)
            third = grey.shape[1] // 5
            region[: grey.shape[0] * 6 // 10, :third] = region[: grey.shape[0] * 6 // 10, -third:] = 255
            self._first = grey
            points = cv2.goodFeaturesToTrack(grey, 60, 0.05, 6, mask=region)
            self._points = None if points is None else np.asarray(points, np.float32)
        if self._points is None or len(self._points) < 6:
            return float("nan")
        first = self._first
        found, status, _ = cv2.calcOpticalFlowPyrLK(
            first, grey, self._points, np.zeros_like(self._points), winSize=(21, 21), maxLevel=3
        )
        kept = status.ravel() == 1
        if kept.sum() < 4:
            return float("nan")
        shift = np.median((found - self._points).reshape(-1, 2)[kept], axis=0)
        return float(np.hypot(*shift)) / self._scale


def listen(video: Path) -> SoundMeasures | None:
    """Measures of the sound; None when the video has none that can be used."""
    try:
        samples = load_audio(video)
    except AudioError:
        return None
    spoken = speech_mask(samples)
    if len(spoken) == 0:
        return None
    padded = np.pad(samples, (0, len(spoken) * 640 - len(samples)))
    power = (padded.reshape(-1, 640).astype(np.float64) ** 2).mean(1)

    def level(rows: NDArray[np.bool_]) -> float:
        return float(10 * np.log10(max(float(power[rows].mean()), 1e-12))) if rows.any() else float("nan")

    clipped = float((np.abs(samples) > 0.995).mean())
    return SoundMeasures(samples, level(spoken), level(~spoken), float(spoken.mean()), clipped)


def judge_sync(video: Path, sound: SoundMeasures, frames: int, threads: int = 2) -> SyncScore | None:
    """Lip-sync offset over 20 s in the middle; None when the face or the speech there is too short."""
    length = min(frames, _SYNC_SECONDS * FPS)
    start = (frames - length) // 2
    shown = progress(read_frames(video, start=start, stop=start + length), total=length, label="lip sync")
    track = FaceCapturer(threads=threads, readout=False).capture(shown)
    if track.missing.mean() > 0.3:
        return None
    heard = sound.samples[start * 640 : (start + length) * 640]
    try:
        return judge(mouth_measures(track.filled().landmarks68), heard)
    except VideoError:
        return None


def head_degrees(landmarks478: NDArray[np.float32]) -> NDArray[np.float64]:
    """Yaw and pitch in degrees, [n, 2]: zero facing the camera, yaw positive to the subject's left."""
    template = ReadOut.from_pretrained().template.double().numpy()
    # The template is not turned straight to the camera itself: its ears lie at different depths.
    across = template[_LEFT_EAR] - template[_RIGHT_EAR]
    own = np.degrees(np.arctan2(across[2], across[0]))
    return np.degrees(align(landmarks478, template)[1][:, :2]) * np.array([-1.0, 1.0]) + [own, 0.0]


def mouth_shapes(landmarks478: NDArray[np.float32]) -> int:
    """How many of 36 mouth shapes occur: a 6x6 grid of lip gap and mouth width, over the eye distance."""
    if len(landmarks478) == 0:
        return 0
    gap = lip_gap(landmarks478)
    eyes = np.median(np.linalg.norm(landmarks478[:, 33, :2] - landmarks478[:, 263, :2], axis=1))
    width = np.linalg.norm(landmarks478[:, 61, :2] - landmarks478[:, 291, :2], axis=1) / eyes
    rows = np.clip(gap / 0.05, 0, 5.99).astype(int)
    columns = np.clip((width - 0.35) / 0.05, 0, 5.99).astype(int)
    return len(set(zip(rows.tolist(), columns.tolist(), strict=True)))
