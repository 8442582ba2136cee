"""The face through the footage, from the preflight's sparse looks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synctalk.errors import TrainingError
from synctalk.training.preflight_measures import PictureMeasures

LOOK_STRIDE = 5  # frames between the preflight's close looks


@dataclass(frozen=True)
class Scan:
    """The face in every `stride`-th frame of the video (at 25 fps)."""

    stride: int
    frames: int  # of the whole video
    landmarks478: NDArray[np.float32]  # [n,478,3] px of the video
    missing: NDArray[np.bool_]  # [n]


def scan_of(picture: PictureMeasures) -> Scan:
    """The scan inside a preflight's close looks; frames without a face are bridged.

    Raises:
        TrainingError: no face in most of them.
    """
    landmarks = np.stack([look.landmarks478 for look in picture.looks])
    missing = np.asarray(~np.isfinite(landmarks).all(axis=(1, 2)))
    if missing.mean() > 0.5:
        raise TrainingError(
            f"A face is visible in only {100 * (1 - missing.mean()):.0f} % of the frames. "
            "Use footage of one person who faces the camera."
        )
    seen = np.flatnonzero(~missing)
    flat = landmarks.reshape(len(landmarks), -1)
    rows = np.arange(len(landmarks))
    bridged = np.stack([np.interp(rows, seen, column[seen]) for column in flat.T], axis=1)
    points = bridged.reshape(landmarks.shape).astype(np.float32)
    return Scan(LOOK_STRIDE, picture.frames, points, missing)
