"""Whether the eyes shut when the truth's do, from the mesh landmarks of both pictures."""

import numpy as np
from numpy.typing import NDArray

from synctalk.evaluation.lips import EYE_CORNERS, correlation

LIDS = ((159, 145), (386, 374))  # middle of the upper and of the lower lid, right eye and left
SHUT = 0.5  # of the median opening


def eye_opening(landmarks478: NDArray[np.floating]) -> NDArray[np.float64]:
    """Gap between the lids, mean of both eyes, over the median eye distance: [T,478,2 or 3] -> [T]."""
    points = landmarks478[..., :2].astype(np.float64)
    gaps = [np.linalg.norm(points[:, upper] - points[:, lower], axis=1) for upper, lower in LIDS]
    eyes = np.linalg.norm(points[:, EYE_CORNERS[0]] - points[:, EYE_CORNERS[1]], axis=1)
    return np.mean(gaps, axis=0) / np.median(eyes)


def eye_figures(
    opening: NDArray[np.floating], true_opening: NDArray[np.floating], psnr_eyes: NDArray[np.floating]
) -> dict[str, float]:
    """Figures of the eyes of a clip of T frames.

    Args:
        opening, true_opening: of the render and of the truth, [T].
        psnr_eyes: of the region around the eyes, dB, [T].

    Returns:
        `eye_correlation` of the two openings; where the truth's eyes are less than half as open as in its
        median frame, `eyes_shut`, the share of these frames in which the render's are too, and `psnr_lids`,
        the mean of `psnr_eyes`. The last two are missing when the truth never blinks.
    """
    figures = {"eye_correlation": correlation(opening, true_opening)}
    least = SHUT * float(np.median(true_opening))
    shut = true_opening < least
    if shut.any():
        figures["eyes_shut"] = float((opening[shut] < least).mean())
        figures["psnr_lids"] = float(psnr_eyes[shut].mean())
    return figures
