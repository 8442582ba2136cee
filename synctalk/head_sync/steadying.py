"""Smooth in time, only as far as the data says so: the last word of the Head-Sync Stabilizer.

Each pose comes with how sure it is (its inverse covariance). A head is heavy: its acceleration is limited and
changes gradually. How limited is measured on this very track, as the variance of its second and third
differences less what measuring errors alone would cause. Where poses are sure, little changes; where points
were few, the neighbours fill in.
"""

import itertools
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

from synctalk.head_sync.geometry import mean_rotation, rotation_from_vector, vector_from_rotation

Array = NDArray[np.float64]

_ORDERS = (2, 3)  # differences over time that are kept small: acceleration and its change
_BAND = 6 * max(_ORDERS)  # a difference of order n joins n + 1 frames of six unknowns
_NOISE_ORDER = 5  # differences in which nothing of a head's movement is left, only measuring errors
_NOISE_RANGE = (0.01, 4.0)  # how many times larger than claimed errors may be; see `measured_noise`


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
    """Poses of one shot that minimise measuring error plus unlikely movement (Gauss-Newton)."""
    middle = mean_rotation(measured)
    path = _path(measured, places, middle)
    noise = np.diagonal(np.linalg.inv(information), axis1=1, axis2=2)
    calm = np.all(noise <= 4 * np.median(noise, axis=0), axis=1)
    scale = measured_noise(path, noise, calm)
    information = information / scale
    allowed = {order: _allowed(path, noise * scale, calm, order) for order in _ORDERS}
    rotations, translations = measured, places
    for _ in range(iterations):
        path = _path(rotations, translations, middle)
        moved = [vector_from_rotation(rotations @ np.swapaxes(measured, 1, 2)), translations - places]
        change = _solve(path, np.concatenate(moved, 1), information, allowed)
        rotations = rotation_from_vector(change[:, :3]) @ rotations
        translations = translations + change[:, 3:]
    return rotations, translations


def _path(rotations: Array, translations: Array, middle: Array) -> Array:
    """Poses as vectors [T, 6] round a middle rotation."""
    return np.concatenate([vector_from_rotation(rotations @ middle.T), translations], 1)


def _stencil(order: int) -> list[float]:
    """Coefficients of the difference of this order."""
    return [float((-1) ** (order - i) * comb(order, i)) for i in range(order + 1)]


def _runs(calm: NDArray[np.bool_], order: int) -> NDArray[np.bool_]:
    """Which differences [T - order] see calm frames only; all of them if too few do."""
    count = len(calm) - order
    good = np.all([calm[i : count + i] for i in range(order + 1)], axis=0)
    return good if good.sum() >= 8 else np.ones(count, bool)


def _variance(differences: Array) -> Array:
    """Variance [6], median based: a jump must not make the whole track look restless."""
    return np.asarray((np.median(np.abs(differences), axis=0) / 0.6745) ** 2)


def measured_noise(path: Array, noise: Array, calm: NDArray[np.bool_]) -> float:
    """How many times larger the errors' variance is than claimed (`noise` [T, 6] of `path` [T, 6]).

    Points near each other err alike, so that poses are less sure than so many single points would make them,
    but not much less: what is beyond that is movement (a shaken camera), which all points saw.
    """
    if len(path) < _NOISE_ORDER + 8:
        return 1.0
    good = _runs(calm, _NOISE_ORDER)
    seen = _variance(np.diff(path, _NOISE_ORDER, axis=0)[good]) / np.sum(np.square(_stencil(_NOISE_ORDER)))
    ratio = float(np.mean(seen / np.median(noise[calm], axis=0)))
    return min(max(ratio, _NOISE_RANGE[0]), _NOISE_RANGE[1])


def _allowed(path: Array, noise: Array, calm: NDArray[np.bool_], order: int) -> Array:
    """Variance [6] of differences that the head's own movement explains."""
    good = _runs(calm, order)
    count = len(path) - order
    caused = np.sum([c * c * noise[i : count + i] for i, c in enumerate(_stencil(order))], axis=0)
    spread = _variance(np.diff(path, order, axis=0)[good])
    return np.maximum(spread - np.median(caused[good], axis=0), 0.05 * spread) + 1e-12


def _solve(path: Array, moved: Array, information: Array, allowed: dict[int, Array]) -> Array:
    """The d [T, 6] that minimises sum (d + moved)' H (d + moved) + sum w |D(path + d)|^2 / allowed, D being
    the differences of each order."""
    frames = len(path)
    band = np.zeros((_BAND + 1, 6 * frames))
    for row in range(6):
        for column in range(row, 6):
            # Upper form: entry (i, j) lies at [_BAND + i - j, j].
            band[_BAND + row - column, column::6] += information[:, row, column]
    right = -np.einsum("tij,tj->ti", information, moved)
    for order, variance in allowed.items():
        stencil, count = _stencil(order), frames - order
        bend = np.diff(path, order, axis=0)
        # Jumps happen (dropped frames, jump cuts): a heavy tail lets them be.
        weight = 1 / (1 + np.sum(bend**2 / variance, axis=1) / 12)
        scaled = weight[:, None] / variance
        for i, a in enumerate(stencil):
            right[i : count + i] -= a * scaled * bend
            for j, b in enumerate(stencil[i:], i):
                columns = (6 * np.arange(j, count + j)[:, None] + np.arange(6)).ravel()
                band[_BAND - 6 * (j - i), columns] += (a * b * scaled).ravel()
    return np.asarray(solveh_banded(band, right.ravel())).reshape(frames, 6)
