"""Rotations, poses and pinhole projection, vectorised over frames.

Conventions: camera axes x right, y down, z forward; a pose maps head space to camera space,
`x_camera = R x_head + t`; lengths in units of 10 cm; pixel centres at +0.5.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rotation_from_vector(vector: Array) -> Array:
    """Rotation matrices [..., 3, 3] of rotation vectors [..., 3] (radians), by Rodrigues' formula."""
    vector = np.asarray(vector, np.float64)
    angle2 = np.sum(vector * vector, -1)[..., None, None]
    angle = np.sqrt(angle2)
    small = angle2 < 1e-12
    safe = np.where(small, 1.0, angle)
    a = np.where(small, 1 - angle2 / 6, np.sin(safe) / safe)
    b = np.where(small, 0.5 - angle2 / 24, (1 - np.cos(safe)) / (safe * safe))
    k = skew(vector)
    return np.eye(3) + a * k + b * (k @ k)


def vector_from_rotation(rotation: Array) -> Array:
    """Rotation vectors [..., 3] (radians) of rotation matrices [..., 3, 3]."""
    from scipy.spatial.transform import Rotation

    rotation = np.asarray(rotation, np.float64)
    flat = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_rotvec()
    return flat.reshape(rotation.shape[:-1])


def skew(vector: Array) -> Array:
    """Cross-product matrices [..., 3, 3]: `skew(a) @ b == cross(a, b)`."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = np.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return np.stack(rows, -1).reshape(*vector.shape[:-1], 3, 3)


def mean_rotation(rotations: Array, weights: Array | None = None) -> Array:
    """The rotation [3, 3] nearest (chordal distance) to all of `rotations` [T, 3, 3]."""
    weights = np.ones(len(rotations)) if weights is None else weights
    return nearest_rotation(np.einsum("t,tij->ij", weights, rotations))


def nearest_rotation(matrix: Array) -> Array:
    """The proper rotation [3, 3] nearest to a matrix [3, 3] in the Frobenius norm."""
    u, _, vt = np.linalg.svd(matrix)
    return u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt


def camera_matrix(focal_px: float, width: int, height: int) -> Array:
    """K [3, 3] of a camera that looks through the middle of the picture, square pixels."""
    return np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]], np.float64)


def viewmats_from(rotations: Array, translations: Array) -> Array:
    """World-to-camera matrices [T, 4, 4] from rotations [T, 3, 3] and translations [T, 3]."""
    viewmats = np.zeros((len(rotations), 4, 4))
    viewmats[:, :3, :3] = rotations
    viewmats[:, :3, 3] = translations
    viewmats[:, 3, 3] = 1
    return viewmats


def transform(rotations: Array, translations: Array, points: Array) -> Array:
    """Camera coordinates [T, N, 3] of head points [N, 3] or [T, N, 3] seen in T poses."""
    return points @ np.swapaxes(rotations, -1, -2) + translations[:, None]


def project(camera_points: Array, K: Array) -> Array:
    """Pixels [..., 2] of camera coordinates [..., 3]; points behind the camera are pushed to its front."""
    depth = np.maximum(camera_points[..., 2:], 1e-3)
    focal = np.array([K[0, 0], K[1, 1]])
    centre = np.array([K[0, 2], K[1, 2]])
    return camera_points[..., :2] / depth * focal + centre


def projection_jacobian(camera_points: Array, K: Array) -> Array:
    """Derivative [..., 2, 3] of the pixel by the camera coordinates [..., 3]."""
    x, y = camera_points[..., 0], camera_points[..., 1]
    inverse = 1 / np.maximum(camera_points[..., 2], 1e-3)
    jacobian = np.zeros((*x.shape, 2, 3))
    jacobian[..., 0, 0] = K[0, 0] * inverse
    jacobian[..., 0, 2] = -K[0, 0] * x * inverse * inverse
    jacobian[..., 1, 1] = K[1, 1] * inverse
    jacobian[..., 1, 2] = -K[1, 1] * y * inverse * inverse
    return jacobian


def pose_jacobian(camera_points: Array, rotated: Array, K: Array) -> Array:
    """Derivative [..., 2, 6] of the pixel by a small pose change (rotation vector, translation).

    The change is applied on the left: `R <- exp(w) R`, `t <- t + d`. `rotated` [..., 3] is `R x_head`.
    """
    by_point = projection_jacobian(camera_points, K)
    by_rotation = -by_point @ skew(rotated)
    return np.concatenate([by_rotation, by_point], -1)
