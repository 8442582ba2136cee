"""Footage spoiled on purpose: does the head's track survive what real recordings suffer?

Each damage leaves some frames intact. Outside the spoiled ones the track's errors may at most double.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.face_sync.capturer import FaceCapturer
from synctalk.head_sync.face_model import FaceModel
from synctalk.head_sync.geometry import mean_rotation, project, rotation_from_vector, vector_from_rotation
from synctalk.head_sync.pose_error import PoseError
from synctalk.head_sync.track import FrameSource, Track, TrackSettings, track_head
from synctalk.training.track_report import Report, Truth
from synctalk.video import read_frames

Frame = NDArray[np.uint8]

FLOORS = {"rotation median (deg)": 0.15, "sideways median (mm)": 0.5, "depth median (mm)": 2.0}
"""Half the bounds a clean track must keep. Errors under them are small whatever they were before."""

_HIDDEN_SHARE = 0.2
_PAUSES = 5  # how often the hand comes up
_FROZEN, _LOST = 12, 25  # frames, in clips long enough
_BITS_PER_SECOND = 300_000
_NOISE = 12.0  # grey levels


@dataclass(frozen=True)
class Spoiled:
    """Damaged footage.

    Attributes:
        source: gives its frames anew from a frame number on.
        kept: int64 [T], number in the clean footage of each frame; a frozen frame has its own time's number.
        bad: bool [T], frames whose pose cannot be asked for.
        truth: where the head really is, all T frames.
    """

    source: FrameSource
    kept: NDArray[np.int64]
    bad: NDArray[np.bool_]
    truth: Truth


@dataclass(frozen=True)
class Outcome:
    """One damage survived.

    Attributes:
        clean: errors of the undamaged footage's track on the frames that are intact in both.
        damaged: errors on the same frames after the damage.
        spoiled_deg: largest rotation error on the spoiled frames, degrees; 0 if there are none.
        confidence: mean confidence on intact and on spoiled frames (NaN without).
        cuts: first frames of the shots found.
        shots: clean and damaged medians by name where cuts were found, with a similarity for each shot: what
            is left when a wrong focal length no longer counts between the shots.
    """

    clean: PoseError
    damaged: PoseError
    spoiled_deg: float
    confidence: tuple[float, float]
    cuts: list[int]
    shots: tuple[dict[str, float], dict[str, float]] | None = None

    @property
    def held(self) -> bool:
        """Whether no median error more than doubled (errors below `FLOORS` count as the floor)."""
        before, after = self.clean.summary(), self.damaged.summary()
        return all(after[name] <= 2 * max(floor, before[name]) for name, floor in FLOORS.items())


def noisy(frames: FrameSource, truth: Truth, seed: int = 0) -> Spoiled:
    """Sensor noise, independent in every pixel and colour."""

    def source(first: int) -> Iterator[Frame]:
        for t, frame in enumerate(frames(first), first):
            noise = np.random.default_rng((seed, t)).normal(0, _NOISE, frame.shape)
            yield (frame + noise).clip(0, 255).astype(np.uint8)

    return _whole(source, truth)


def squeezed(frames: FrameSource, truth: Truth, folder: Path) -> Spoiled:
    """H.264 at 300 kbit/s, written to and read from the folder."""
    import av

    path = folder / "squeezed.mp4"
    with av.open(str(path), "w") as container:
        stream = None
        for frame in frames(0):
            if stream is None:
                stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt, stream.bit_rate = "yuv420p", _BITS_PER_SECOND
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())
    return _whole(lambda first: read_frames(path, start=first), truth)


def hidden(frames: FrameSource, truth: Truth, seed: int = 0) -> Spoiled:
    """A hand passes before the face in a fifth of the frames."""
    total = len(truth.viewmats)
    each = max(1, round(_HIDDEN_SHARE * total / _PAUSES))
    starts = ((np.arange(_PAUSES) + 0.5) * total / _PAUSES).astype(int)
    progress = np.full(total, np.nan)
    for start in starts:
        progress[start : start + each] = np.linspace(0, 1, len(progress[start : start + each]))
    random = np.random.default_rng(seed)
    blurred = cv2.GaussianBlur(random.normal(0, 60, (256, 256)), (0, 0), 1.5)
    texture = np.asarray(blurred, np.float32)

    def source(first: int) -> Iterator[Frame]:
        for t, frame in enumerate(frames(first), first):
            yield frame if np.isnan(progress[t]) else _hand(frame, truth, t, progress[t], texture)

    return replace(_whole(source, truth), bad=np.isfinite(progress))


def _hand(frame: Frame, truth: Truth, t: int, progress: float, texture: NDArray[np.float32]) -> Frame:
    """The frame with a textured hand, 9 by 18 cm, on its way up over mouth and nose and down again."""
    unit = truth.K[0, 0] / truth.viewmats[t, 2, 3]  # pixels per 10 cm
    low = project(truth.viewmats[t, :3, 3], truth.K) + np.array([0.2, 1.9]) * unit
    lift = np.sin(np.pi * progress)
    middle = low + np.array([0.5 * (0.5 - progress), -2.1 * lift]) * unit
    mask = np.zeros(frame.shape[:2], np.uint8)
    palm = (int(0.45 * unit), int(0.5 * unit))
    cv2.ellipse(mask, (int(middle[0]), int(middle[1])), palm, 0, 0, 360, 255, -1, cv2.LINE_AA)
    for finger in range(4):
        root = middle + np.array([(finger - 1.5) * 0.22, -0.2]) * unit
        tip = root + np.array([(finger - 1.5) * 0.06, -0.9 + 0.08 * abs(finger - 1.5)]) * unit
        cv2.line(mask, tuple(root.astype(int)), tuple(tip.astype(int)), 255, int(0.19 * unit), cv2.LINE_AA)
    # Creases travel with the hand: points must not be fooled by something that moves as a whole.
    shift = np.array([[1, 0, middle[0] - 128], [0, 1, middle[1] - 128]])
    size = frame.shape[1], frame.shape[0]
    creases = cv2.warpAffine(texture, shift, size, borderMode=cv2.BORDER_REFLECT)
    skin = np.array([196.0, 148.0, 126.0]) + creases[..., None]
    share = mask[..., None] / 255.0
    return (frame * (1 - share) + skin * share).clip(0, 255).astype(np.uint8)


def gappy(frames: FrameSource, truth: Truth) -> Spoiled:
    """The picture freezes for half a second, and later a second is missing."""
    total = len(truth.viewmats)
    frozen, lost = total // 3, 2 * total // 3
    kept = np.r_[0:lost, lost + min(_LOST, total // 6) : total]
    shown = kept.copy()
    shown[(kept >= frozen) & (kept < frozen + min(_FROZEN, total // 6))] = frozen

    def source(first: int) -> Iterator[Frame]:
        wanted = shown[first:]
        row = 0
        for t, frame in enumerate(frames(int(wanted[0])), int(wanted[0])) if len(wanted) else ():
            while row < len(wanted) and wanted[row] == t:
                yield frame
                row += 1
            if row == len(wanted):
                return

    return Spoiled(source, kept, shown != kept, replace(truth, viewmats=truth.viewmats[kept]))


def cut(frames: FrameSource, truth: Truth, aside_deg: tuple[float, float] = (0.0, 0.0)) -> Spoiled:
    """Half way the camera has been set up anew: rolled by 4 degrees, in darker light, turned by `aside_deg`.

    A turn of the camera about its own middle moves pixels by a homography, so the truth stays exact. Turned
    aside (down, then right) it moves the head in the picture, and a focal length that is a little off makes a
    long way sideways a little too long or short: nothing in a face tells 1.4 m through a long lens from 1.2 m
    through a shorter one (see `MotionSettings`). With the focal length given, that costs next to nothing.
    """
    total = len(truth.viewmats)
    turn = rotation_from_vector(np.radians([*aside_deg, 4.0]))
    pixels = truth.K @ turn @ np.linalg.inv(truth.K)

    def source(first: int) -> Iterator[Frame]:
        for t, frame in enumerate(frames(first), first):
            if t < total // 2:
                yield frame
                continue
            size = frame.shape[1], frame.shape[0]
            moved = cv2.warpPerspective(
                frame, pixels, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
            )
            yield (moved * 0.85).astype(np.uint8)

    viewmats = truth.viewmats.copy()
    viewmats[total // 2 :, :3] = turn @ viewmats[total // 2 :, :3]
    return replace(_whole(source, truth), truth=replace(truth, viewmats=viewmats))


def _whole(source: FrameSource, truth: Truth) -> Spoiled:
    total = len(truth.viewmats)
    return Spoiled(source, np.arange(total), np.zeros(total, bool), truth)


def damages(frames: FrameSource, truth: Truth, folder: Path) -> dict[str, Callable[[], Spoiled]]:
    """All damages of clean footage by name, each made when called."""
    return {
        "noise": lambda: noisy(frames, truth),
        "H.264 at 300 kbit/s": lambda: squeezed(frames, truth, folder),
        "a hand in 20 % of the frames": lambda: hidden(frames, truth),
        "frozen and lost frames": lambda: gappy(frames, truth),
        "a hard cut": lambda: cut(frames, truth),
        "a hard cut, the camera turned aside": lambda: cut(frames, truth, (0.2, 0.4)),
    }


def survive(
    spoiled: Spoiled,
    clean: Track,
    truth: Truth,
    model: FaceModel | None = None,
    threads: int = 1,
    report: Report | None = None,
    settings: TrackSettings | None = None,
) -> Outcome:
    """Track damaged footage from nothing and compare with the clean footage's track."""
    landmarks = [
        face.landmarks478 for face in FaceCapturer(threads=threads, smooth=0).stream(spoiled.source(0))
    ]
    track = track_head(spoiled.source, np.stack(landmarks), settings=settings, model=model, report=report)
    good = ~spoiled.bad
    everywhere = _deviation(track, spoiled.truth, good)
    sure = float(track.confidence[good].mean())
    unsure = float(track.confidence[spoiled.bad].mean()) if spoiled.bad.any() else float("nan")
    same = np.zeros(len(clean), bool)
    same[spoiled.kept[good]] = True
    return Outcome(
        clean=truth.error_of(clean, same),
        damaged=spoiled.truth.error_of(track, good),
        spoiled_deg=float(everywhere[spoiled.bad].max()) if spoiled.bad.any() else 0.0,
        confidence=(sure, unsure),
        cuts=track.cuts.tolist(),
        shots=_by_shot(spoiled, track, clean, truth) if len(track.cuts) else None,
    )


def _by_shot(
    spoiled: Spoiled, track: Track, clean: Track, truth: Truth
) -> tuple[dict[str, float], dict[str, float]]:
    """Medians of the clean and the damaged track, each shot after a similarity of its own."""
    shot = np.searchsorted(track.cuts, np.arange(len(track)), side="right")
    pairs = []
    for number in np.unique(shot):
        here = (shot == number) & ~spoiled.bad
        same = np.zeros(len(clean), bool)
        same[spoiled.kept[here]] = True
        pairs.append((truth.error_of(clean, same), spoiled.truth.error_of(track, here)))
    before, after = (_medians(list(errors)) for errors in zip(*pairs, strict=True))
    return before, after


def _medians(errors: list[PoseError]) -> dict[str, float]:
    """Medians over several stretches of frames, by the names of `FLOORS`."""
    parts = ("rotation_deg", "sideways_mm", "depth_mm")
    values = (np.concatenate([getattr(error, part) for error in errors]) for part in parts)
    return {name: float(np.median(value)) for name, value in zip(FLOORS, values, strict=True)}


def _deviation(track: Track, truth: Truth, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Rotation error [T] degrees of all frames, spoiled ones too."""
    rotation, true = track.viewmats[:, :3, :3], truth.viewmats[:, :3, :3]
    gauge = mean_rotation(np.swapaxes(true[good], 1, 2) @ rotation[good])
    difference = rotation @ gauge.T @ np.swapaxes(true, 1, 2)
    return np.degrees(np.linalg.norm(vector_from_rotation(difference), axis=-1))


def run_all(
    frames: FrameSource,
    clean: Track,
    truth: Truth,
    model: FaceModel | None = None,
    threads: int = 1,
    report: Report | None = None,
    settings: TrackSettings | None = None,
) -> dict[str, Outcome]:
    """Every damage, one after the other, tracked with the settings of the clean footage."""
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in damages(frames, truth, Path(folder)).items():
            outcomes[name] = survive(make(), clean, truth, model, threads, report, settings)
    return outcomes


def damage_table(outcomes: dict[str, Outcome]) -> str:
    """Medians before and after each damage as a Markdown table."""
    names = list(FLOORS)
    lines = ["| damage | " + " | ".join(names) + " | spoiled frames (deg, largest) | held |"]
    lines.append("|---" * (len(names) + 3) + "|")
    for damage, outcome in outcomes.items():
        before, after = outcome.clean.summary(), outcome.damaged.summary()
        worst = f"{outcome.spoiled_deg:.2f}" if outcome.spoiled_deg else "none"
        held = "yes" if outcome.held else "NO"
        lines.append(f"| {damage} | {_cells(before, after)} | {worst} | {held} |")
        if outcome.shots is not None:
            lines.append(f"| {damage}, a similarity for each shot | {_cells(*outcome.shots)} | {worst} | |")
    return "\n".join(lines)


def _cells(before: dict[str, float], after: dict[str, float]) -> str:
    return " | ".join(f"{before[name]:.3f} -> {after[name]:.3f}" for name in FLOORS)


def figures(outcomes: dict[str, Outcome]) -> dict[str, dict[str, object]]:
    """The outcomes for JSON."""
    return {
        name: {
            "clean": outcome.clean.summary(),
            "damaged": outcome.damaged.summary(),
            "spoiled frames, largest (deg)": outcome.spoiled_deg,
            "confidence intact, spoiled": [
                None if np.isnan(value) else value for value in outcome.confidence
            ],
            "cuts": outcome.cuts,
            "each shot for itself": outcome.shots,
            "held": outcome.held,
        }
        for name, outcome in outcomes.items()
    }
