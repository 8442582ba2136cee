"""Semantic Weighting, its measured half: points slip over the skull, and each has its own pace.

The regions' trust says which points tell where the head *is*: hair, cheeks and brows drift from it by tenths
of a pixel, for seconds. From one frame to the next nearly all of them hold still, and the error is chance,
which goes down with the number of points. So each point's slow drift against the trusted ones is measured and
taken off its track, and what is left of all tracks, each weighted by its own restlessness at that pace, says
how the head *moved*.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from synctalk.head_sync.bundle_adjustment import Bundle, BundleSettings, solve_poses
from synctalk.head_sync.geometry import project

Array = NDArray[np.float64]

_SHORTEST = 8  # frames of a shot worth measuring


@dataclass(frozen=True)
class SlipSettings:
    """At which pace points slip."""

    pace: float = 3.0
    """Standard deviation (frames) of the average over time that counts as drift."""
    noise_px: float = 0.05
    """Smallest chance error of a point at a quicker pace."""
    support: float = 0.5
    """A point takes part where at least this share of the average's frames saw it."""


def settle(
    bundle: Bundle,
    tracks: NDArray[np.float32],  # [T, N, 2] px, NaN where not followed
    K: Array,  # [3, 3] px
    bundle_settings: BundleSettings | None = None,
    settings: SlipSettings | None = None,
    cuts: NDArray[np.int64] | None = None,  # first frames of new shots
) -> Bundle:
    """The bundle with poses that follow all points in what is quick and the trusted ones in what is slow.

    Keypoints, their noise, residuals and inliers stay those of the bundle, which speak of the slow part.
    Where fewer points are left than the bundle had, its pose stays.
    """
    settings = settings or SlipSettings()
    left = tracks - _projected(bundle, K)
    shots = [0, *([] if cuts is None else cuts.tolist()), len(tracks)]
    drift, support = _drift(left, _sureness(left, bundle.noise_px), settings.pace, shots)
    quick = np.where((support >= settings.support)[..., None], left - drift, np.nan)
    noise = np.maximum(_spread(quick), settings.noise_px)
    corrected = np.where(np.isnan(quick), np.nan, tracks - drift).astype(np.float32)
    solved = solve_poses(
        corrected, np.ones(len(noise)), bundle.points, noise, K, bundle.rotations, bundle.translations,
        bundle_settings or BundleSettings(), iterations=3,
    )  # fmt: skip
    enough = solved.inliers >= np.maximum(bundle.inliers / 2, 6.0)
    return replace(
        bundle,
        rotations=np.where(enough[:, None, None], solved.rotations, bundle.rotations),
        translations=np.where(enough[:, None], solved.translations, bundle.translations),
        information=np.where(enough[:, None, None], solved.information, bundle.information),
    )


def _projected(bundle: Bundle, K: Array) -> Array:
    """Pixels [T, N, 2] of the keypoints."""
    rotated = bundle.points @ np.swapaxes(bundle.rotations, 1, 2)
    return project(rotated + bundle.translations[:, None], K)


def _sureness(left: Array, noise: Array) -> Array:
    """Robust weight [T, N] in 0..1 of what is left [T, N, 2] of each track; 0 where not followed.

    Wide: drift is what is looked for, only what lies far off (another thing was followed) counts little.
    """
    square = np.sum(left**2, -1) / (4 * noise) ** 2
    return np.where(np.isfinite(square), 1 / (1 + square), 0.0)


def _drift(left: Array, trust: Array, pace: float, shots: list[int]) -> tuple[Array, Array]:
    """Weighted average over time of what is left, [T, N, 2], and the share [T, N] of frames that saw it."""
    drift, support = np.zeros(left.shape), np.zeros(trust.shape)
    known = np.where(trust[..., None] > 0, left, 0.0)
    for start, stop in itertools.pairwise(shots):
        if stop - start < _SHORTEST:
            continue
        rows = slice(start, stop)
        weight = _average(trust[rows], pace)
        # Away from all it was seen in, a point has no average (and there is nothing to take it off from).
        drift[rows] = _average(known[rows] * trust[rows, :, None], pace) / np.maximum(weight, 1e-6)[..., None]
        support[rows] = _average((trust[rows] > 0).astype(np.float64), pace)
    return drift, support


def _average(values: Array, pace: float) -> Array:
    """Gaussian average over time; values beyond both ends are taken to mirror those before."""
    return np.asarray(gaussian_filter1d(values, pace, axis=0, mode="reflect"))


def _spread(left: Array) -> Array:
    """Robust standard deviation [N] per axis of what is left [T, N, 2]; large for points hardly seen."""
    length = np.linalg.norm(left, axis=-1)
    enough = np.isfinite(length).sum(0) >= _SHORTEST
    middle = np.nanmedian(np.where(enough, length, 1e3), axis=0)
    return middle / 1.177  # median of a Rayleigh distribution
