"""How close the lips are to the truth, from the mesh landmarks of both pictures."""

import numpy as np
from numpy.typing import NDArray

# The outer lip contour of the 478-point mesh, 20 points.
# fmt: off
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
# fmt: on
INNER_UP, INNER_DOWN = 13, 14
EYE_CORNERS = (33, 263)
LARGEST_LAG = 8


def centred_mouth(landmarks478: NDArray[np.floating]) -> NDArray[np.float64]:
    """Outer lips [T,20,2] px with the mean of each frame taken out: [T,478,2 or 3] -> [T,20,2]."""
    lips = landmarks478[:, OUTER_LIPS, :2].astype(np.float64)
    return lips - lips.mean(axis=1, keepdims=True)


def landmark_distance(rendered: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """LMD: mean distance of the mean-centred outer lips in px; both [T,478,2 or 3]."""
    return float(np.linalg.norm(centred_mouth(rendered) - centred_mouth(truth), axis=-1).mean())


def static_distance(truth: NDArray[np.floating]) -> float:
    """LMD of a mouth that stays at the clip's mean shape: what moving lips must beat."""
    mouth = centred_mouth(truth)
    return float(np.linalg.norm(mouth - mouth.mean(axis=0), axis=-1).mean())


def mouth_opening(landmarks478: NDArray[np.floating]) -> NDArray[np.float64]:
    """Inner lip gap over the median eye distance, [T]."""
    points = landmarks478[..., :2].astype(np.float64)
    gap = np.linalg.norm(points[:, INNER_UP] - points[:, INNER_DOWN], axis=1)
    eyes = np.linalg.norm(points[:, EYE_CORNERS[0]] - points[:, EYE_CORNERS[1]], axis=1)
    return gap / np.median(eyes)


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Pearson correlation of two curves [T]; 0 if one is constant."""
    x, y = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum() / scale) if scale > 0 else 0.0


def lag_frames(rendered: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """By how many frames the rendered curve comes late (negative: early), to a fraction of a frame.

    The shift of highest correlation among -8 ... 8, refined by a parabola through its neighbours.
    """
    reach = min(LARGEST_LAG, (len(truth) - 2) // 2)
    if reach < 1:
        return 0.0
    shifts = range(-reach, reach + 1)
    scores = np.array([_shifted_correlation(rendered, truth, shift) for shift in shifts])
    best = int(scores.argmax())
    if best in (0, len(scores) - 1):
        return float(best - reach)
    left, middle, right = scores[best - 1 : best + 2]
    curve = left - 2 * middle + right
    return float(best - reach + (0.5 * (left - right) / curve if curve < 0 else 0.0))


def _shifted_correlation(rendered: NDArray[np.floating], truth: NDArray[np.floating], shift: int) -> float:
    if shift >= 0:
        return correlation(rendered[shift:], truth[: len(truth) - shift])
    return correlation(rendered[:shift], truth[-shift:])
