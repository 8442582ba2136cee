"""Articulators of the mouth model to measured mouths: a linear map fitted on faces whose points are known."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from synctalk.face_sync.mouth_measures import GAP


def terms(motion: np.ndarray) -> np.ndarray:
    """The map's inputs from `mouth_motion` [T, 9]: float64 [T, 18], with products that know closed lips."""
    jaw, pucker, funnel, width, upper, lower, closure, tuck, rest = np.asarray(motion, np.float64).T
    free = 1 - closure
    return np.stack(
        [
            np.ones(len(jaw)), jaw, pucker, funnel, width, upper, lower, closure, tuck, rest,
            jaw * free, upper * free, lower * free, funnel * free, pucker * free,
            jaw * pucker, jaw * width, jaw * jaw,
        ],
        axis=1,
    )  # fmt: skip


def fit_shapes(motion: np.ndarray, measures: np.ndarray) -> np.ndarray:
    """Least-squares map [18, 11] from motion [T, 9] to the measures [T, 11] of real or rendered landmarks."""
    a = terms(motion)
    return np.linalg.solve(a.T @ a + 0.1 * np.eye(a.shape[1]), a.T @ np.asarray(measures, np.float64))


@lru_cache(maxsize=1)
def _embedded_map() -> np.ndarray:
    stored = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return np.array(stored["measures_per_term"])


def shapes(motion: np.ndarray) -> np.ndarray:
    """Mouth measures of each frame, in eye distances: float32 [T, 11] (MOUTH_MEASURES)."""
    return (terms(motion) @ _embedded_map()).astype(np.float32)


def opening(measures: np.ndarray) -> np.ndarray:
    """How far the lips are apart, 0 shut, about 1 wide open: float32 [T]."""
    resting = shapes(np.array([[0, 0, 0, 0, 0, 0, 0, 0, 1.0]]))[0, GAP]
    return np.maximum(0.0, (measures[:, GAP] - resting) / 0.17).astype(np.float32)
