"""Bundle adjustment (Section III-C, Eq. 11-12), in two stages.

Stage 1 finds the keypoints alone, poses held; stage 2 refines keypoints and poses together. The paper
minimises with Adam; here the same losses are minimised by Gauss-Newton with the poses eliminated (Schur
complement), which needs a dozen steps instead of thousands.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synctalk.head_sync.geometry import (
    pose_jacobian,
    project,
    projection_jacobian,
    rotation_from_vector,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BundleSettings:
    """Weights and sizes of the adjustment."""

    frames: int = 900
    """Keypoints are found on at most so many frames, evenly spread; the poses of all frames follow."""
    noise_px: float = 0.25
    """Smallest error expected of a followed point (not all of it is chance: skin and shading slip); larger
    ones are estimated per point."""
    anchor_spread: float = 0.1
    """How far (10 cm) keypoints may lie from the face model, as a group: it fixes size and direction of the
    head space and little else."""
    pose_spread: tuple[float, float] = (2.0, 0.1)
    """Expected error of the rough pose, degrees and 10 cm; decides only where points are too few."""
    iterations: int = 12
    """Steps of stage 2."""


@dataclass(frozen=True)
class Bundle:
    """Result of the adjustment.

    Attributes:
        points: float64 [N, 3] keypoints, head space.
        noise_px: float64 [N] estimated error of each keypoint's track.
        rotations, translations: float64 [T, 3, 3], [T, 3].
        information: float64 [T, 6, 6] inverse covariance of each pose change (rotation vector, translation).
        residual_px: float64 [T], weighted RMS of what is left; NaN where nothing was followed.
        inliers: float64 [T], sum of robust weights: how many points speak for the pose.
    """

    points: Array
    noise_px: Array
    rotations: Array
    translations: Array
    information: Array
    residual_px: Array
    inliers: Array


def adjust_bundle(
    tracks: NDArray[np.float32],  # [T, N, 2] px, NaN where not followed
    weights: Array,  # [N] Semantic Weighting, 0..1
    anchors: Array,  # [N, 3] keypoints on the face model
    K: Array,
    rotations: Array,  # [T, 3, 3] rough
    translations: Array,  # [T, 3]
    settings: BundleSettings | None = None,
    from_zero: bool = True,
) -> Bundle:
    """Both stages on a spread of frames, then the poses of all frames with the keypoints held.

    With `from_zero`, stage 1 starts with all keypoints in the head's middle, as the paper does.
    """
    settings = settings or BundleSettings()
    observed = np.sum(np.isfinite(tracks[..., 0]), axis=1)
    usable = np.flatnonzero(observed >= 6)
    if len(usable) == 0:
        return solve_poses(
            tracks, weights, anchors, np.ones(len(anchors)), K, rotations, translations, settings
        )
    rows = usable[np.unique(np.linspace(0, len(usable) - 1, settings.frames).round().astype(int))]
    some = tracks[rows].astype(np.float64)
    points = find_points(some, anchors, K, rotations[rows], translations[rows], settings, from_zero)
    points, noise = refine_points(
        some, weights, anchors, points, K, rotations[rows], translations[rows], settings
    )
    return solve_poses(tracks, weights, points, noise, K, rotations, translations, settings)


def _residuals(
    tracks: Array, points: Array, K: Array, rotations: Array, translations: Array
) -> tuple[Array, NDArray[np.bool_], Array, Array]:
    """Residual [T, N, 2] (0 where unseen), seen [T, N], rotated points, camera points [T, N, 3]."""
    rotated = points @ np.swapaxes(rotations, 1, 2)
    camera = rotated + translations[:, None]
    residual = project(camera, K) - tracks
    seen = np.isfinite(residual[..., 0]) & np.isfinite(residual[..., 1])
    return np.where(seen[..., None], residual, 0.0), seen, rotated, camera


def _robust(residual: Array, seen: NDArray[np.bool_], noise: Array, weights: Array) -> Array:
    """Weights [T, N] of a Cauchy loss: a point two deviations off counts a fifth."""
    square = np.sum(residual**2, -1) / noise**2
    return np.where(seen, weights / (noise**2 * (1 + square)), 0.0)


def find_points(
    tracks: Array,
    anchors: Array,
    K: Array,
    rotations: Array,
    translations: Array,
    settings: BundleSettings,
    from_zero: bool = True,
    iterations: int = 8,
) -> Array:
    """Stage 1, Eq. 11: keypoints [N, 3] that project nearest to their tracks, poses held."""
    middle = anchors.mean(0)
    points = np.tile(middle, (len(anchors), 1)) if from_zero else anchors.copy()
    noise = np.full(len(anchors), 2 * settings.noise_px)
    prior = np.eye(3) * settings.anchor_spread**-2
    for _ in range(iterations):
        residual, seen, _, camera = _residuals(tracks, points, K, rotations, translations)
        # Least squares at first (everything is far off), robust as soon as the points are near.
        weight = _robust(residual, seen, np.maximum(noise, _spread(residual, seen)), np.ones(len(points)))
        jacobian = projection_jacobian(camera, K) @ rotations[:, None]
        hessian = np.einsum("tn,tnij,tnik->njk", weight, jacobian, jacobian, optimize=True) + prior
        gradient = np.einsum("tn,tnij,tni->nj", weight, jacobian, residual, optimize=True)
        gradient += (points - anchors) @ prior
        points = points - np.linalg.solve(hessian, gradient[..., None])[..., 0]
    return points


def _spread(residual: Array, seen: NDArray[np.bool_]) -> Array:
    """Robust standard deviation [N] of each point's residuals per axis (median based)."""
    length = np.where(seen, np.linalg.norm(residual, axis=-1), np.nan)
    with np.errstate(all="ignore"):
        count = seen.sum(0)
        middle = np.where(count > 0, np.nanmedian(np.where(count > 0, length, 0.0), axis=0), 1e3)
    return middle / 1.177  # median of a Rayleigh distribution


def refine_points(
    tracks: Array,
    weights: Array,
    anchors: Array,
    points: Array,
    K: Array,
    rotations: Array,
    translations: Array,
    settings: BundleSettings,
) -> tuple[Array, Array]:
    """Stage 2, Eq. 12: keypoints and poses jointly. Gives keypoints [N, 3] and their tracks' noise [N] px."""
    rough = rotations, translations
    noise = np.full(len(points), 2 * settings.noise_px)
    prior = settings.anchor_spread**-2
    for _ in range(settings.iterations):
        residual, seen, _, _ = _residuals(tracks, points, K, rotations, translations)
        noise = np.maximum(_spread(residual, seen), settings.noise_px)
        change, poses = _joint_step(
            tracks, weights, points, noise, K, rotations, translations, rough, prior, anchors, settings
        )
        points = points + change
        rotations = rotation_from_vector(poses[:, :3]) @ rotations
        translations = translations + poses[:, 3:]
    return points, noise


def _pose_prior(settings: BundleSettings) -> Array:
    """Inverse variances [6] of the rough pose."""
    angle, distance = np.radians(settings.pose_spread[0]), settings.pose_spread[1]
    return np.repeat([angle**-2, distance**-2], 3)


def _pose_offset(rotations: Array, translations: Array, rough: tuple[Array, Array]) -> Array:
    """How far poses are from the rough ones, as rotation vector and translation [T, 6]."""
    turn = rotations @ np.swapaxes(rough[0], 1, 2)
    # Small angles: the skew part of the rotation is enough for a weak prior.
    vector = 0.5 * np.stack(
        [turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], -1
    )
    return np.concatenate([vector, translations - rough[1]], -1)


def _pose_blocks(
    tracks: Array,  # [t, N, 2]
    weights: Array,  # [N]
    points: Array,  # [N, 3]
    noise: Array,  # [N] px
    K: Array,
    rotations: Array,
    translations: Array,
    rough: tuple[Array, Array],
    settings: BundleSettings,
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Normal equations of the poses: weights [t, N], Jacobians [t, N, 2, 6], camera points [t, N, 3],
    residual [t, N, 2], hessian [t, 6, 6], gradient [t, 6]."""
    residual, seen, rotated, camera = _residuals(tracks, points, K, rotations, translations)
    weight = _robust(residual, seen, noise, weights)
    by_pose = pose_jacobian(camera, rotated, K)
    prior = _pose_prior(settings)
    flat = by_pose.reshape(len(tracks), -1, 6)
    heavy = flat * np.repeat(weight, 2, axis=1)[..., None]
    hessian = np.swapaxes(heavy, 1, 2) @ flat + np.diag(prior)
    gradient = (np.swapaxes(heavy, 1, 2) @ residual.reshape(len(tracks), -1, 1))[..., 0]
    gradient += prior * _pose_offset(rotations, translations, rough)
    return weight, by_pose, camera, residual, hessian, gradient


def _joint_step(
    tracks: Array,
    weights: Array,
    points: Array,
    noise: Array,
    K: Array,
    rotations: Array,
    translations: Array,
    rough: tuple[Array, Array],
    prior: float,
    anchors: Array,
    settings: BundleSettings,
    chunk: int = 64,
) -> tuple[Array, Array]:
    """One Gauss-Newton step of Eq. 12: changes of the points [N, 3] and of the poses [T, 6]."""
    count = len(points)
    block = np.tile(np.eye(3) * prior, (count, 1, 1))
    right = (points - anchors) * prior
    eliminated = np.zeros((3 * count, 3 * count))
    eliminated_right = np.zeros(3 * count)
    kept = []
    for start in range(0, len(tracks), chunk):
        rows = slice(start, start + chunk)
        weight, by_pose, camera, residual, hessian, gradient = _pose_blocks(
            tracks[rows], weights, points, noise, K, rotations[rows], translations[rows],
            (rough[0][rows], rough[1][rows]), settings,
        )  # fmt: skip
        by_point = projection_jacobian(camera, K) @ rotations[rows][:, None]
        heavy = by_point * weight[..., None, None]
        block += np.einsum("tnij,tnik->njk", heavy, by_point, optimize=True)
        right += np.einsum("tnij,tni->nj", heavy, residual, optimize=True)
        mixed = np.einsum("tnia,tnij->tanj", by_pose, heavy, optimize=True).reshape(len(weight), 6, -1)
        lower = np.linalg.inv(np.linalg.cholesky(hessian))
        half = (lower @ mixed).reshape(-1, 3 * count)
        half_gradient = (lower @ gradient[..., None]).reshape(-1)
        eliminated += half.T @ half
        eliminated_right += half.T @ half_gradient
        kept.append((lower, half.reshape(len(weight), 6, -1), half_gradient.reshape(-1, 6)))
    reduced = -eliminated
    index = np.arange(count)
    reduced.reshape(count, 3, count, 3)[index, :, index, :] += block
    change: Array = np.linalg.solve(reduced, eliminated_right - right.reshape(-1)).astype(np.float64)
    poses = [
        -np.einsum("tba,tb->ta", lower, half_gradient + half @ change) for lower, half, half_gradient in kept
    ]
    return change.reshape(count, 3), np.concatenate(poses)


def solve_poses(
    tracks: NDArray[np.float32],
    weights: Array,
    points: Array,
    noise: Array,
    K: Array,
    rotations: Array,
    translations: Array,
    settings: BundleSettings,
    iterations: int = 6,
    chunk: int = 250,
) -> Bundle:
    """Poses of all frames with the keypoints held, from the rough poses given."""
    rough = rotations, translations
    rotations, translations = rotations.copy(), translations.copy()
    frames = len(tracks)
    information = np.zeros((frames, 6, 6))
    left, inliers = np.full(frames, np.nan), np.zeros(frames)
    for start in range(0, frames, chunk):
        rows = slice(start, start + chunk)
        part = tracks[rows].astype(np.float64)
        rough_part = rough[0][rows], rough[1][rows]
        for iteration in range(iterations):
            # Wide at first: the rough pose may be off by more than the points' own noise.
            wide = noise * max(1.0, 8.0 / 3.0**iteration)
            _, _, _, _, hessian, gradient = _pose_blocks(
                part, weights, points, wide, K, rotations[rows], translations[rows], rough_part, settings
            )
            change = -np.linalg.solve(hessian, gradient[..., None])[..., 0].astype(np.float64)
            rotations[rows] = rotation_from_vector(change[:, :3]) @ rotations[rows]
            translations[rows] += change[:, 3:]
        weight, _, _, residual, hessian, _ = _pose_blocks(
            part, weights, points, noise, K, rotations[rows], translations[rows], rough_part, settings
        )
        information[rows] = hessian
        share = weight * noise**2
        total = share.sum(1)
        inliers[rows] = total
        with np.errstate(all="ignore"):
            left[rows] = np.sqrt(np.sum(share * np.sum(residual**2, -1), 1) / total)
    return Bundle(points, noise, rotations, translations, information, left, inliers)
