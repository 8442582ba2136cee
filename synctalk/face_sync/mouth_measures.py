"""Eleven distances that describe a mouth, the same from landmarks and from the corpus's mouth model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synctalk.errors import VideoError

MOUTH_MEASURES = (
    "inner gap right",
    "inner gap middle",
    "inner gap left",
    "outer height",
    "outer width",
    "inner width",
    "upper lip thickness",
    "lower lip thickness",
    "nose to upper lip",
    "nose to lower lip",
    "nose to chin",
)
GAP = 1
_PAIRS = np.array(
    [
        (61, 67),
        (62, 66),
        (63, 65),
        (51, 57),
        (48, 54),
        (60, 64),
        (51, 62),
        (57, 66),
        (33, 51),
        (33, 57),
        (33, 8),
    ]
)
_EYES = (36, 45)


def mouth_measures(landmarks68: np.ndarray) -> np.ndarray:
    """Distances between 68-point landmarks over the clip's median eye distance: float32 [T, 11].

    landmarks68: [T, 68, 2] px or [T, 68, 3]. Raises VideoError when the shape is wrong or no face was seen.
    """
    points = np.asarray(landmarks68, dtype=np.float64)
    if points.ndim != 3 or points.shape[1] != 68 or len(points) == 0:
        raise VideoError(
            f"Mouth measures need 68-point landmarks [T, 68, 2], not shape {list(points.shape)}."
        )
    eyes = np.linalg.norm(points[:, _EYES[0]] - points[:, _EYES[1]], axis=1)
    eye = float(np.nanmedian(eyes)) if np.isfinite(eyes).any() else 0.0
    if eye <= 0:
        raise VideoError("No face with measurable eyes was found, so the mouth cannot be measured.")
    lengths = np.linalg.norm(points[:, _PAIRS[:, 0]] - points[:, _PAIRS[:, 1]], axis=2)
    return (lengths / eye).astype(np.float32)


def normalised(measures: np.ndarray) -> np.ndarray:
    """Each measure of a clip less its mean, over its standard deviation: float32 [T, 11]."""
    spread = measures.std(0)
    return ((measures - measures.mean(0)) / np.maximum(spread, 0.01 * max(float(spread.max()), 1e-6))).astype(
        np.float32
    )


def lip_images(measures: Tensor, height: int = 24, width: int = 32) -> Tensor:
    """Small grey pictures of lips with these measures: [B, 11] -> [B, 1, height, width] in [0, 1].

    Skin is light, lips darker, the open mouth darkest; the frame spans 0.9 by 0.68 eye distances below the
    nose.
    """
    y = torch.linspace(0.02, 0.70, height, device=measures.device)[None, :, None]
    x = torch.linspace(-0.45, 0.45, width, device=measures.device)[None, None, :]
    part = measures[:, :, None, None]
    top, bottom = part[:, 8], part[:, 9]
    inner_top, inner_bottom = top + part[:, 6], bottom - part[:, 7]
    corner = (inner_top + inner_bottom) / 2
    softness = 0.008

    def between(upper: Tensor, lower: Tensor, half_width: Tensor) -> Tensor:
        bow = 1 - (x / half_width) ** 2
        over = torch.sigmoid((y - (corner + (upper - corner) * bow)) / softness)
        under = torch.sigmoid(((corner + (lower - corner) * bow) - y) / softness)
        return over * under * torch.sigmoid((half_width - x.abs()) / softness)

    lips = between(top, bottom, part[:, 4] / 2)
    opening = between(inner_top, inner_bottom, part[:, 5] / 2) * torch.sigmoid(
        (inner_bottom - inner_top - 0.02) / 0.004
    )
    grey = 0.75 - 0.35 * lips
    return (grey * (1 - opening) + 0.05 * opening)[:, None]
