"""Head-Sync Stabilizer (Section III-C): frames and landmarks in, one steady head pose per frame out.

The three steps of the paper, in order: Head Motion Tracker (Eq. 7-8, `motion_tracker`), Stable Head Points
(Eq. 9-10, `head_points`), bundle adjustment (Eq. 11-12, `bundle_adjustment`). Semantic Weighting has two
halves: what regions are known for (`head_points`) and what their points are seen to do (`slips`).
"""

import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from synctalk.errors import TrainingError, VideoError
from synctalk.head_sync.bundle_adjustment import Bundle, BundleSettings, adjust_bundle, solve_poses
from synctalk.head_sync.face_model import FaceModel
from synctalk.head_sync.geometry import viewmats_from
from synctalk.head_sync.head_points import (
    Keyframes,
    PointFollower,
    PointSettings,
    choose_keyframes,
    prepare_keyframes,
    to_grey,
)
from synctalk.head_sync.motion_tracker import HeadMotion, MotionSettings, track_motion
from synctalk.head_sync.slips import SlipSettings, settle
from synctalk.head_sync.steadying import steady

Array = NDArray[np.float64]
FrameSource = Callable[[int], Iterable[NDArray[np.uint8]]]
"""Gives the frames from number `start` on, as often as asked."""

Followed = tuple[Array, NDArray[np.float32]]
"""Points' places in their keyframes [N, 2] and the rows [t, N, 2] followed so far."""

_THUMB = 32  # side of the pictures that cuts are looked for in
_MIN_POINTS = 8.0  # robust weight below which points alone do not carry a pose


@dataclass(frozen=True)
class TrackSettings:
    """Settings of the three steps, and of what is left out for an ablation."""

    motion: MotionSettings = field(default_factory=MotionSettings)
    points: PointSettings = field(default_factory=PointSettings)
    bundle: BundleSettings = field(default_factory=BundleSettings)
    slips: SlipSettings | None = field(default_factory=SlipSettings)
    """None gives every point the same weight at all paces (see `slips`)."""
    steady: bool = True
    """Fill in uncertain poses from their neighbours, as far as the track itself moves smoothly."""
    bundle_adjustment: bool = True
    """False holds the keypoints on the face model and solves poses only."""
    stable_points: bool = True
    """False stops after the Head Motion Tracker (landmarks only)."""


@dataclass(frozen=True)
class Keypoints:
    """The followed points, with all that finding them in another video of the same person needs.

    Attributes:
        keyframes: where and how the points look.
        points: float64 [N, 3] adjusted positions, head space.
        noise_px: float64 [N] error of each point's track.
    """

    keyframes: Keyframes
    points: Array
    noise_px: Array


@dataclass(frozen=True)
class Track:
    """Head poses of a video.

    Attributes:
        K: float64 [3, 3] camera matrix, px.
        viewmats: float64 [T, 4, 4] head space to camera (OpenCV axes, unit 10 cm).
        confidence: float64 [T] in 0..1; 0 where the pose is only interpolated.
        landmarks68: float32 [T, 68, 2] px, as given (bridged where missing).
        identity: float64 [k] coefficients of the face model.
        expressions: float32 [T, 52] coefficients of the face model.
        size: width and height of the frames, px.
        keypoints: followed points; None if only landmarks were used.
        cuts: int64 [c] first frame of each new shot.
        focal_curve: float64 [m, 2], (focal px, RMS px) of the focal search; empty if K was given.
        residual_px: float64 [T] weighted RMS of the followed points; NaN where there are none.
    """

    K: Array
    viewmats: Array
    confidence: Array
    landmarks68: NDArray[np.float32]
    identity: Array
    expressions: NDArray[np.float32]
    size: tuple[int, int]
    keypoints: Keypoints | None
    cuts: NDArray[np.int64]
    focal_curve: Array
    residual_px: Array

    def __len__(self) -> int:
        return len(self.viewmats)

    def save(self, path: Path | str) -> None:
        """Write as NPZ without pickle."""
        arrays: dict[str, Any] = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name != "keypoints"
        }
        arrays["size"] = np.array(self.size)
        if self.keypoints is not None:
            arrays |= {f"keypoints.{name}": getattr(self.keypoints, name) for name in ("points", "noise_px")}
            keyframes = self.keypoints.keyframes
            arrays |= {f"keyframes.{f.name}": getattr(keyframes, f.name) for f in fields(keyframes)}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path | str) -> "Track":
        """Read what `save` wrote.

        Raises:
            TrainingError: the file is missing or not a track.
        """
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
            keypoints = None
            if "keypoints.points" in arrays:
                keyframes = Keyframes(**{f.name: arrays[f"keyframes.{f.name}"] for f in fields(Keyframes)})
                keypoints = Keypoints(keyframes, arrays["keypoints.points"], arrays["keypoints.noise_px"])
            plain = {f.name: arrays[f.name] for f in fields(cls) if f.name not in ("keypoints", "size")}
            width, height = arrays["size"]
            return cls(**plain, size=(int(width), int(height)), keypoints=keypoints)
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise TrainingError(
                f"{path} is not a head track ({error}). Make it with `synctalk track`."
            ) from error


def track_head(
    frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8] | FrameSource,
    landmarks: NDArray[np.floating],  # [T, 478 or 68, 2 or 3] px, NaN rows where no face was found
    like: Track | None = None,
    settings: TrackSettings | None = None,
    model: FaceModel | None = None,
    report: Callable[[str, int, int], None] | None = None,
    motion: HeadMotion | None = None,
    followed: Followed | None = None,
    keep: Callable[[Array, NDArray[np.float32]], None] | None = None,
) -> Track:
    """Head poses of T frames (uint8 RGB [H, W, 3]) of one person.

    Args:
        frames: the frames, or a function that gives them anew from a frame number on.
        landmarks: 2D landmarks, either the 478 of the mesh or the usual 68.
        like: track of another video of the same person, same crop and size: its camera, identity and
            keypoints are kept, so that both videos share one head space.
        report: called as (step, done, total).
        motion: result of `track_motion` on these landmarks, if already there.
        followed: what `keep` was last given by an interrupted run.
        keep: called now and then with the points' places in their keyframes [N, 2] and the rows
            [t, N, 2] followed so far, for resuming.

    Raises:
        VideoError: no face, no frames, or a size other than that of `like`.
    """
    settings = settings or TrackSettings()
    model = model or FaceModel.load()
    source = frames if callable(frames) else _from_sequence(frames)
    say = report or (lambda step, done, total: None)
    size = _frame_size(source)
    if like is not None and like.size != size:
        raise VideoError(
            f"The frames are {size[0]}x{size[1]}, the track to follow is {like.size[0]}x{like.size[1]}. "
            "Crop and scale the video the same way."
        )
    say("head motion", 0, 1)
    motion = motion or track_motion(
        np.asarray(landmarks, np.float64),
        size,
        model,
        settings.motion,
        K=None if like is None else like.K,
        identity=None if like is None else like.identity,
    )
    say("head motion", 1, 1)
    if not settings.stable_points:
        seen = np.isfinite(motion.error_px).astype(np.float64)
        return _assemble(
            motion, landmarks, model, size, motion.rotations, motion.translations, seen, None, None
        )
    keyframes = None if like is None or like.keypoints is None else like.keypoints.keyframes
    borrowed = keyframes is not None
    if keyframes is None:
        keyframes = _make_keyframes(source, motion, model, settings.points)
    tracks, cuts = _follow(source, motion, keyframes, settings.points, say, followed, keep)
    if borrowed and _too_few(tracks):
        # Other light, other hair: the old pictures match nothing, but camera and identity still hold.
        borrowed, keyframes = False, _make_keyframes(source, motion, model, settings.points)
        tracks, cuts = _follow(source, motion, keyframes, settings.points, say, None, keep)
    say("bundle adjustment", 0, 1)
    rough = motion.rotations, motion.translations
    if borrowed and like is not None and like.keypoints is not None:
        old = like.keypoints
        bundle = solve_poses(
            tracks, keyframes.weights, old.points, old.noise_px, motion.K, *rough, settings.bundle
        )
    elif settings.bundle_adjustment:
        bundle = adjust_bundle(
            tracks, keyframes.weights, keyframes.anchors, motion.K, *rough, settings.bundle
        )
    else:
        noise = np.full(len(keyframes.anchors), 4 * settings.bundle.noise_px)
        bundle = solve_poses(
            tracks, keyframes.weights, keyframes.anchors, noise, motion.K, *rough, settings.bundle
        )
    if settings.slips is not None:
        bundle = settle(bundle, tracks, motion.K, settings.bundle, settings.slips, cuts)
    say("bundle adjustment", 1, 1)
    if settings.steady:
        bundle = _steadied(bundle, motion, cuts)
    keypoints = Keypoints(keyframes, bundle.points, bundle.noise_px)
    return _assemble(
        motion,
        landmarks,
        model,
        size,
        bundle.rotations,
        bundle.translations,
        _confidence(bundle),
        keypoints,
        bundle,
        cuts,
    )


def _from_sequence(frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> FrameSource:
    def source(start: int) -> Iterable[NDArray[np.uint8]]:
        return (frames[i] for i in range(start, len(frames)))

    return source


def _frame_size(source: FrameSource) -> tuple[int, int]:
    for frame in source(0):
        return frame.shape[1], frame.shape[0]
    raise VideoError("The video holds no frame.")


def _make_keyframes(
    source: FrameSource, motion: HeadMotion, model: FaceModel, settings: PointSettings
) -> Keyframes:
    """Choose keyframes, fetch them and the frames their flow is judged on, pick points."""
    chosen = choose_keyframes(motion, settings)
    seen = np.flatnonzero(np.isfinite(motion.error_px))
    spread = np.unique(np.linspace(0, len(seen) - 1, settings.pairs + 1).round().astype(int))
    partners = {int(k): [int(seen[i]) for i in spread if seen[i] != k] for k in chosen}
    needed = set(partners) | {other for others in partners.values() for other in others}
    fetched = {}
    for t, frame in enumerate(source(0)):
        if t in needed:
            fetched[t] = frame.copy()
            if len(fetched) == len(needed):
                break
    partners = {k: [o for o in others if o in fetched] for k, others in partners.items() if k in fetched}
    return prepare_keyframes(fetched, partners, motion, model, settings)


def _follow(
    source: FrameSource,
    motion: HeadMotion,
    keyframes: Keyframes,
    settings: PointSettings,
    say: Callable[[str, int, int], None],
    followed: Followed | None,
    keep: Callable[[Array, NDArray[np.float32]], None] | None,
    every: int = 500,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pixels [T, N, 2] of the keyframes' points in all frames, and the first frames of new shots.

    Goes on from the rows already followed.
    """
    total = len(motion.rotations)
    tracks = np.full((total, len(keyframes.group), 2), np.nan, np.float32)
    start = 0
    if followed is not None and np.array_equal(followed[0], keyframes.pixels):
        start = min(len(followed[1]), total)
        tracks[:start] = followed[1][:start]
    follower = PointFollower(keyframes, motion.K, settings)
    thumbs = np.zeros((total, _THUMB, _THUMB), np.float32)
    for t, frame in enumerate(source(0)):
        if t >= total:
            break
        thumbs[t] = cv2.resize(to_grey(frame), (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
        if t < start:
            continue
        tracks[t] = follower(to_grey(frame), motion.rotations[t], motion.translations[t])
        if (t + 1) % 25 == 0 or t + 1 == total:
            say("head points", t + 1, total)
        if keep is not None and ((t + 1) % every == 0 or t + 1 == total):
            keep(keyframes.pixels, tracks[: t + 1])
    return tracks, find_cuts(thumbs)


def find_cuts(thumbs: NDArray[np.float32]) -> NDArray[np.int64]:
    """First frames of new shots, from small grey pictures [T, h, w]: a change far beyond its neighbours'."""
    change = np.abs(np.diff(thumbs, axis=0)).mean((1, 2))
    if len(change) == 0:
        return np.zeros(0, np.int64)
    usual = median_filter(change, size=min(25, len(change)), mode="nearest")
    return np.flatnonzero((change > 6.0) & (change > 6 * usual)) + 1


def _too_few(tracks: NDArray[np.float32]) -> bool:
    """Whether the points are found in too few frames to be of use."""
    return float(np.median(np.isfinite(tracks[..., 0]).sum(1))) < 3 * _MIN_POINTS


def _steadied(bundle: Bundle, motion: HeadMotion, cuts: NDArray[np.int64]) -> Bundle:
    """The bundle with uncertain poses filled in; poses nobody measured weigh next to nothing."""
    information = bundle.information.copy()
    guessed = (bundle.inliers < _MIN_POINTS / 2) & ~np.isfinite(motion.error_px)
    information[guessed] *= 1e-4
    rotations, translations = steady(bundle.rotations, bundle.translations, information, cuts)
    return replace(bundle, rotations=rotations, translations=translations)


def _confidence(bundle: Bundle) -> Array:
    """Confidence [T]: 1 from half the usual number of points on, 0 without any."""
    usual = max(float(np.median(bundle.inliers)), 1e-9)
    return np.clip(bundle.inliers / (0.5 * usual), 0, 1)


def _assemble(
    motion: HeadMotion,
    landmarks: NDArray[np.floating],
    model: FaceModel,
    size: tuple[int, int],
    rotations: Array,
    translations: Array,
    confidence: Array,
    keypoints: Keypoints | None,
    bundle: Bundle | None,
    cuts: NDArray[np.int64] | None = None,
) -> Track:
    points = np.asarray(landmarks, np.float32)[..., :2]
    if points.shape[1] != 68:
        points = points[:, model.landmarks68]
    curve = np.array(motion.focal_curve, np.float64).reshape(-1, 2)
    return Track(
        K=motion.K,
        viewmats=viewmats_from(rotations, translations),
        confidence=confidence,
        landmarks68=_bridge(points),
        identity=motion.identity,
        expressions=motion.expressions.astype(np.float32),
        size=size,
        keypoints=keypoints,
        cuts=np.zeros(0, np.int64) if cuts is None else cuts,
        focal_curve=curve,
        residual_px=np.full(len(rotations), np.nan) if bundle is None else bundle.residual_px,
    )


def _bridge(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill missing rows [T, n, 2] by straight lines in time."""
    seen = np.flatnonzero(np.isfinite(points).all((1, 2)))
    flat = points.reshape(len(points), -1)
    columns = [np.interp(np.arange(len(points)), seen, flat[seen, j]) for j in range(flat.shape[1])]
    return np.stack(columns, 1).reshape(points.shape).astype(np.float32)
