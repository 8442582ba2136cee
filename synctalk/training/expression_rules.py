"""How an upper face goes with a voice, as rules: targets for voices that no camera filmed.

Pitch and energy peaks raise the brows (or, when serious, lower them), the style sets the baseline. The
rules stand in for footage of many speakers; what they teach is only that accents are shown, and where. An
accent's size is what film shows on average, where most accents pass without a raise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from synctalk.expression.prosody import since_pause
from synctalk.expression.voice import ENERGY, PITCH, VOICED
from synctalk.face_sync.blendshapes import blendshape_indices

BROWS_UP = blendshape_indices("browInnerUp", "browOuterUpLeft", "browOuterUpRight")
BROWS_DOWN = blendshape_indices("browDownLeft", "browDownRight")
SMILE = blendshape_indices("mouthSmileLeft", "mouthSmileRight")
WIDE = blendshape_indices("eyeWideLeft", "eyeWideRight")
FPS = 25.0


@dataclass(frozen=True)
class Manner:
    """What a style does; sizes are coefficients."""

    up: float  # brows raised throughout
    down: float  # brows lowered throughout
    smile: float
    wide: float  # eyes wide throughout
    accent: float  # what an accent adds to the raised brows, or to the lowered ones where it is negative
    first: float = 0.0  # raise at a sentence's beginning, which passes
    last: float = 0.0  # raise that grows as a sentence goes on


MANNERS = {
    "neutral": Manner(0.03, 0.02, 0.03, 0.0, 0.10),
    "happy": Manner(0.06, 0.02, 0.26, 0.0, 0.12),
    "serious": Manner(0.03, 0.25, 0.03, 0.0, -0.06),
    "surprised": Manner(0.25, 0.01, 0.08, 0.15, 0.12, first=0.35),
    "question": Manner(0.05, 0.05, 0.03, 0.01, 0.08, last=0.22),
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
    manner = MANNERS[style]
    curve = accents(features)
    seconds = since_pause(torch.from_numpy(features[None, :, VOICED]))[0].numpy() / FPS
    course = manner.first * np.exp(-0.5 * (seconds / 1.2) ** 2) * (seconds > 0)
    course = course + manner.last * np.clip((seconds - 0.6) / 1.6, 0, 1)
    course = gaussian_filter1d(course, 3.0)
    out = np.zeros((len(features), 52), np.float32)

    def put(columns: Sequence[int], values: np.ndarray | float) -> None:
        out[:, list(columns)] = np.clip(np.broadcast_to(values, len(out))[:, None], 0, 1)

    put(BROWS_UP, manner.up + course + max(manner.accent, 0) * curve)
    put(BROWS_DOWN, manner.down + max(-manner.accent, 0) * curve)
    put(SMILE, manner.smile)
    put(WIDE, manner.wide + 0.3 * course + 0.2 * max(manner.accent, 0) * curve)
    return out
