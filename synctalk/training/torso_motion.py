"""How far the torso has moved in each frame, so that stretches of the source join where it matches."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

CORNERS = 80
FEWEST = 8  # corners that must still be found


def torso_motion(pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> NDArray[np.float32]:
    """Shift of the torso against the first frame.

    Corners in the first frame's torso are found again in each frame by pyramidal Lucas-Kanade, starting
    from where the frame before had them; the median shift counts. Always against the first frame, so
    nothing drifts.

    Args:
        pairs: frames uint8 RGB [H,W,3] with their torso matte uint8 [H,W].

    Returns:
        float32 [T,2] px (x right, y down); a frame where it cannot be seen repeats the one before.
    """
    shifts: list[NDArray[np.float32]] = []
    first: NDArray[np.uint8] | None = None
    corners: NDArray[np.float32] | None = None
    for frame, torso in pairs:
        grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
        if first is None:
            first = grey
            inside = cv2.erode((torso > 200).astype(np.uint8), np.ones((9, 9), np.uint8))
            found = cv2.goodFeaturesToTrack(grey, CORNERS, 0.005, 6, mask=inside)
            corners = None if found is None else np.asarray(found, np.float32)
            shifts.append(np.zeros(2, np.float32))
            continue
        last = shifts[-1]
        if corners is None or len(corners) < FEWEST:
            shifts.append(last)
            continue
        guess = (corners + last).astype(np.float32)
        found, status, _ = cv2.calcOpticalFlowPyrLK(
            first, grey, corners, guess, winSize=(21, 21), maxLevel=2, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
        )
        good = status.ravel() == 1
        moved = (found - corners)[good, 0] if found.ndim == 3 else (found - corners)[good]
        shifts.append(np.median(moved, axis=0).astype(np.float32) if good.sum() >= FEWEST else last)
    return np.stack(shifts) if shifts else np.zeros((0, 2), np.float32)
