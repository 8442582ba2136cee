"""Head motion: which source frame is shown when.

A pose is only ever shown with its own source frame, so motion is chosen by choosing stretches of the
source. Stretches are joined where the head's pose differs by less than 0.5 degrees, the torso by less
than 1 px, and both move alike; where no such place is near, the source plays backwards.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POSE_LIMIT_DEG = 0.5
SHIFT_LIMIT = 0.02  # of head space's unit of 10 cm: 2 mm
TORSO_LIMIT_PX = 1.0
SPEED_LIMIT_DEG = 0.25  # per frame
_WINDOW_S = 4.0  # how far ahead a stretch is judged
_LEAST_S = 2.0  # a stretch plays at least this long before it may be left
_REST_S = 6.0  # frames shown this recently are not chosen again
_CONTENT = 0.8  # footage that suits the style this well is not left
_LOOK_EVERY = 5  # frames between looks for something better


@dataclass(frozen=True)
class Source:
    """An avatar's own movement.

    Args:
        viewmats: [T,4,4] world to camera.
        torso_px: [T,2] where the torso is, px; None if not known.
        stretches: [S,2] first frame and end of each unbroken piece of footage; None means one piece.
        fps: frames per second.
    """

    viewmats: NDArray[np.float32]
    torso_px: NDArray[np.float32] | None = None
    stretches: NDArray[np.int64] | None = None
    fps: float = 25.0

    def __len__(self) -> int:
        return len(self.viewmats)


def pose_difference_deg(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Angle of the rotation between poses [...,4,4], degrees."""
    between = np.asarray(one, np.float64)[..., :3, :3] @ np.swapaxes(
        np.asarray(other, np.float64)[..., :3, :3], -1, -2
    )
    trace = np.trace(between, axis1=-2, axis2=-1)
    # With the antisymmetric part: acos of the trace alone loses all digits near 0.
    return np.degrees(np.arctan2(np.linalg.norm(_axis(between), axis=-1), trace - 1))


def _axis(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Axis of rotations [...,3,3], of length 2 sin(angle), [...,3]."""
    parts = [(2, 1), (0, 2), (1, 0)]
    return np.stack([rotation[..., i, j] - rotation[..., j, i] for i, j in parts], -1)


class HeadMotion:
    """Source frames to show, one per output frame, without end: iterate it.

    Args:
        source: the avatar's movement.
        style: 'calm' prefers stretches where the head moves least, 'lively' where it moves most,
            'natural' takes them as they come.
        seed: of every choice; the same seed gives the same motion.
    """

    def __init__(self, source: Source, style: str = "natural", seed: int = 0) -> None:
        self.source = source
        self.style = style
        self._random = np.random.default_rng(seed)
        count = len(source)
        pieces = source.stretches if source.stretches is not None else np.array([[0, count]])
        self._low, self._high = np.zeros(count, np.int64), np.zeros(count, np.int64)
        for first, end in pieces.tolist():
            self._low[first:end], self._high[first:end] = first, end - 1
        self._velocity = _velocity(source.viewmats)
        self._wish = _wish(self._velocity, source.fps, style)

    def __iter__(self) -> Iterator[int]:
        fps = self.source.fps
        shown = np.full(len(self.source), -np.inf)  # when each frame was last on show
        frame, way = self._start()
        since = 0
        for now in itertools.count():
            yield frame
            shown[frame] = now
            since += 1
            at_end = not self._low[frame] <= frame + way <= self._high[frame]
            if at_end or (since >= _LEAST_S * fps and since % _LOOK_EVERY == 0):
                better = self._better(frame, way, at_end, now - shown)
                if better is not None:
                    (frame, way), since = better, 0
                    continue
            if at_end:
                way, since = -way, 0
            if self._low[frame] <= frame + way <= self._high[frame]:
                frame += way

    def joins(self, frame: int, way: int) -> list[tuple[int, int]]:
        """(frame, direction) pairs that may take the place of `frame` played in direction `way`."""
        source = self.source
        view = source.viewmats
        near = np.linalg.norm(view[:, :3, 3] - view[frame, :3, 3], axis=-1) < SHIFT_LIMIT
        if source.torso_px is not None:
            near &= np.linalg.norm(source.torso_px - source.torso_px[frame], axis=-1) < TORSO_LIMIT_PX
        near &= np.abs(np.arange(len(source)) - frame) > source.fps / 2
        at = np.flatnonzero(near)
        at = at[pose_difference_deg(view[at], view[frame]) < POSE_LIMIT_DEG]
        wanted = way * self._velocity[frame]
        found = []
        for other in (1, -1):
            alike = np.linalg.norm(other * self._velocity[at] - wanted, axis=-1) < SPEED_LIMIT_DEG
            found += [(int(place), other) for place in at[alike]]
        return found

    def _start(self) -> tuple[int, int]:
        suited = np.flatnonzero(self._wish >= np.quantile(self._wish, 0.9))
        frame = int(self._random.choice(suited))
        return frame, 1 if frame - self._low[frame] < self._high[frame] - frame else -1

    def _ahead(self, frame: int, way: int) -> int:
        """The middle of the stretch that would be shown next."""
        step = round(self.source.fps * _WINDOW_S / 2)
        return int(np.clip(frame + way * step, self._low[frame], self._high[frame]))

    def _better(self, frame: int, way: int, at_end: bool, age: NDArray[np.float64]) -> tuple[int, int] | None:
        """Where to go on instead of straight ahead (or back, at an end), or None."""
        fps = self.source.fps
        here = self._wish[self._ahead(frame, -way if at_end else way)]
        if not at_end and (self.style == "natural" or here >= _CONTENT):
            return None
        best, score = None, -1.0 if at_end and self.style == "natural" else here + 0.05
        choices = self.joins(frame, way)
        for pick in self._random.permutation(len(choices))[:64].tolist():
            at, other = choices[pick]
            room = self._high[at] - at if other > 0 else at - self._low[at]
            target = self._ahead(at, other)
            fresh = age[target] >= _REST_S * fps
            if room >= fps and fresh and self._wish[target] > score:
                best, score = (at + other, other), self._wish[target]
        return best


def _velocity(viewmats: NDArray[np.float32]) -> NDArray[np.float64]:
    """Angular velocity of the head about the camera's axes, degrees per frame, [T,3]."""
    rotation = viewmats[:, :3, :3].astype(np.float64)
    if len(rotation) < 3:
        return np.zeros((len(rotation), 3))
    inner = np.degrees(_axis(rotation[2:] @ np.swapaxes(rotation[:-2], -1, -2)) / 2) / 2
    return np.concatenate([inner[:1], inner, inner[-1:]])


def _wish(velocity: NDArray[np.float64], fps: float, style: str) -> NDArray[np.float64]:
    """How well the footage around each frame suits the style, in [0,1], [T]."""
    if style == "natural":
        return np.full(len(velocity), 0.5)
    window = np.ones(min(len(velocity), round(_WINDOW_S * fps)))
    speed = np.convolve(np.linalg.norm(velocity, axis=-1), window, mode="same")
    speed /= np.convolve(np.ones(len(velocity)), window, mode="same")
    rank = np.argsort(np.argsort(speed)) / max(1, len(speed) - 1)
    return rank if style == "lively" else 1 - rank
