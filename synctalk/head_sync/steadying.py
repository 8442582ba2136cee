"""Smooth in time, only as far as the data says so: the last word of the Head-Sync Stabilizer.

Each pose comes with how sure it is (its inverse covariance). Heads move with limited acceleration, and how
limited is measured on this very track: the variance of its second differences, less what measuring errors
alone would cause. Where poses are sure, nothing changes; where points were few, the neighbours fill in.
"""

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

from synctalk.head_sync.geometry import mean_rotation, rotation_from_vector, vector_from_rotation

Array = NDArray[np.float64]

_BAND = 12  # unknowns of two frames: a second difference joins three frames of six


def steady(
    rotations: Array,  # [T, 3, 3]
    translations: Array,  # [T, 3]
    information: Array,  # [T, 6, 6] inverse covariance of a pose change on the left
    cuts: NDArray[np.int64] | None = None,  # first frames of new shots
    iterations: int = 3,
) -> tuple[Array, Array]:
    """The most likely poses given the measured ones; shots are treated apart."""
    rotations, translations = rotations.copy(), translations.copy()
    edges = [0, *([] if cuts is None else cuts.tolist()), len(rotations)]
    for start, stop in itertools.pairwise(edges):
        if stop - start >= 8:
            rows = slice(start, stop)
            part = _most_likely(rotations[rows], translations[rows], information[rows], iterations)
            rotations[rows], translations[rows] = part
    return rotations, translations


def _most_likely(measured: Array, places: Array, information: Array, iterations: int) -> tuple[Array, Array]:
    """Poses of one shot that minimise measuring error plus unlikely acceleration (Gauss-Newton)."""
    middle = mean_rotation(measured)
    allowed = _allowed_acceleration(_path(measured, places, middle), information)
    rotations, translations = measured, places
    for _ in range(iterations):
        path = _path(rotations, translations, middle)
        # Jumps happen (dropped frames, jump cuts): a heavy tail lets them be.
        bend = np.diff(path, 2, axis=0)
        weight = 1 / (1 + np.sum(bend**2 / allowed, axis=1) / 12)
        moved = [vector_from_rotation(rotations @ np.swapaxes(measured, 1, 2)), translations - places]
        change = _solve(path, np.concatenate(moved, 1), information, allowed, weight)
        rotations = rotation_from_vector(change[:, :3]) @ rotations
        translations = translations + change[:, 3:]
    return rotations, translations


def _path(rotations: Array, translations: Array, middle: Array) -> Array:
    """Poses as vectors [T, 6] round a middle rotation."""
    return np.concatenate([vector_from_rotation(rotations @ middle.T), translations], 1)


def _allowed_acceleration(path: Array, information: Array) -> Array:
    """Variance [6] of second differences that the head's own movement explains."""
    noise = np.diagonal(np.linalg.inv(information), axis1=1, axis2=2)
    bend = np.diff(path, 2, axis=0)
    caused = noise[:-2] + 4 * noise[1:-1] + noise[2:]
    sure = np.all(noise <= 4 * np.median(noise, axis=0), axis=1)
    calm = sure[:-2] & sure[1:-1] & sure[2:]
    calm = calm if calm.sum() >= 8 else np.ones(len(bend), bool)
    # Median based: a jump must not make the whole track look restless.
    spread = (np.median(np.abs(bend[calm]), axis=0) / 0.6745) ** 2
    return np.maximum(spread - np.median(caused[calm], axis=0), 0.05 * spread) + 1e-12


def _solve(path: Array, moved: Array, information: Array, allowed: Array, weight: Array) -> Array:
    """The d [T, 6] that minimises sum (d + moved)' H (d + moved) + sum w |bend of (path + d)|^2 / allowed,
    the bend being the second difference."""
    frames = len(path)
    band = np.zeros((_BAND + 1, 6 * frames))
    for row in range(6):
        for column in range(row, 6):
            # Upper form: entry (i, j) lies at [_BAND + i - j, j].
            band[_BAND + row - column, column::6] += information[:, row, column]
    stencil = (1.0, -2.0, 1.0)
    right = -np.einsum("tij,tj->ti", information, moved)
    bend = np.diff(path, 2, axis=0)
    scaled = weight[:, None] / allowed
    for i, a in enumerate(stencil):
        right[i : frames - 2 + i] -= a * scaled * bend
        for j, b in enumerate(stencil[i:], i):
            columns = (6 * np.arange(j, frames - 2 + j)[:, None] + np.arange(6)).ravel()
            band[_BAND - 6 * (j - i), columns] += (a * b * scaled).ravel()
    return np.asarray(solveh_banded(band, right.ravel())).reshape(frames, 6)
