"""How an upper face goes with a voice, as rules: targets for voices that no camera filmed.

Pitch and energy peaks raise the brows (or, when serious, lower them), the style sets the baseline. The
rules stand in for footage of many speakers; what they teach is only that accents are shown, and where.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from synctalk.expression.voice import ENERGY, PITCH, VOICED
from synctalk.face_sync.blendshapes import blendshape_indices

BROWS_UP = blendshape_indices("browInnerUp", "browOuterUpLeft", "browOuterUpRight")
BROWS_DOWN = blendshape_indices("browDownLeft", "browDownRight")
SMILE = blendshape_indices("mouthSmileLeft", "mouthSmileRight")
WIDE = blendshape_indices("eyeWideLeft", "eyeWideRight")
# style: (brows up, brows down, smile, eyes wide, what an accent does to the brows)
_BASELINE: dict[str, tuple[float, float, float, float, float]] = {
    "neutral": (0.04, 0.03, 0.02, 0.0, 0.22),
    "happy": (0.08, 0.02, 0.30, 0.02, 0.26),
    "serious": (0.03, 0.27, 0.0, 0.0, -0.18),
    "surprised": (0.30, 0.02, 0.05, 0.18, 0.38),
}


def accents(features: np.ndarray) -> np.ndarray:
    """Where the voice puts weight: peaks of pitch and energy, float [T] in [0,1] with the shape of a raise.

    Args:
        features: float32 [T,163], normalised by `RunningVoice`.
    """
    prominence = gaussian_filter1d(
        features[:, VOICED] * (features[:, PITCH] + 1.5 * features[:, ENERGY]), 2.0
    )
    peaks, found = find_peaks(prominence, distance=12, prominence=0.25)
    curve = np.zeros(len(features))
    for peak, height in zip(peaks, found["prominences"], strict=True):
        size = float(np.clip(height / 0.8, 0.2, 1.0))
        reach = np.arange(len(features)) - peak
        shape = np.where(reach < 0, np.exp(-0.5 * (reach / 3.5) ** 2), np.exp(-0.5 * (reach / 7.0) ** 2))
        curve = np.maximum(curve, size * shape)
    return curve


def upper_face(features: np.ndarray, style: str) -> np.ndarray:
    """Coefficients of brows, smile and lids for a voice in a style; the others are 0.

    Args:
        features: float32 [T,163], normalised by `RunningVoice`.
        style: one of the learnt styles.

    Returns:
        float32 [T,52] in [0,1].
    """
    up, down, smile, wide, accent = _BASELINE[style]
    curve = accents(features)
    out = np.zeros((len(features), 52), np.float32)

    def put(columns: Sequence[int], values: np.ndarray | float) -> None:
        out[:, list(columns)] = np.clip(np.broadcast_to(values, len(out))[:, None], 0, 1)

    put(BROWS_UP, up + max(accent, 0) * curve)
    put(BROWS_DOWN, down + max(-accent, 0) * curve)
    put(SMILE, smile)
    put(WIDE, wide + 0.2 * max(accent, 0) * curve)
    return out
