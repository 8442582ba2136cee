"""How far a track is from the truth, after the one similarity per clip that no camera can see."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synctalk.head_sync.geometry import (
    mean_rotation,
    project,
    projection_jacobian,
    vector_from_rotation,
)

Array = NDArray[np.float64]

_MM = 100.0  # millimetres per unit of 10 cm


@dataclass(frozen=True)
class PoseError:
    """Errors per frame, and the jitter.

    Attributes:
        rotation_deg: float64 [T], angle between estimate and truth.
        sideways_mm: float64 [T], error across the line of sight; depth_mm: float64 [T], along it.
        jitter_px: RMS of second differences of the projected nose bridge.
        jitter_ratio: the same over the truth's.
        tremble_px: RMS of second differences of the error of the projected nose bridge (0 = perfect).
    """

    rotation_deg: Array
    sideways_mm: Array
    depth_mm: Array
    jitter_px: float
    jitter_ratio: float
    tremble_px: float

    def summary(self) -> dict[str, float]:
        """The figures of the issue by name."""
        return {
            "rotation median (deg)": float(np.median(self.rotation_deg)),
            "rotation 95 % (deg)": float(np.percentile(self.rotation_deg, 95)),
            "sideways median (mm)": float(np.median(self.sideways_mm)),
            "depth median (mm)": float(np.median(self.depth_mm)),
            "jitter ratio": self.jitter_ratio,
            "tremble (px)": self.tremble_px,
        }


def pose_error(
    viewmats: Array,  # [T, 4, 4] estimate
    K: Array,  # [3, 3] px, the estimate's camera
    true_viewmats: Array,  # [T, 4, 4]
    true_K: Array,  # [3, 3] px
    nose_bridge: Array,  # [3] in the true head space, 10 cm
    use: NDArray[np.bool_] | None = None,  # [T] frames that count
) -> PoseError:
    """Compare two tracks of one clip.

    The two head spaces differ by a similarity `x_true = s A x + a`; A is the mean of the relative
    rotations, s and a minimise the squared distance of the heads' positions. Nothing else is adjusted.
    """
    use = np.ones(len(viewmats), bool) if use is None else use
    rotation, translation = viewmats[:, :3, :3], viewmats[:, :3, 3]
    true_rotation, true_translation = true_viewmats[:, :3, :3], true_viewmats[:, :3, 3]
    gauge = mean_rotation(np.swapaxes(true_rotation[use], 1, 2) @ rotation[use])
    difference = rotation @ gauge.T @ np.swapaxes(true_rotation, 1, 2)
    angle = np.degrees(np.linalg.norm(vector_from_rotation(difference), axis=-1))
    # Head space origin of the estimate lies at `a` in the true head space: s t = R_true a + t_true.
    columns = np.concatenate([translation[use][..., None], -true_rotation[use]], -1).reshape(-1, 4)
    solution = np.linalg.lstsq(columns, true_translation[use].reshape(-1), rcond=None)[0]
    scale, offset = solution[0], solution[1:]
    error = scale * translation - (true_rotation @ offset + true_translation)
    along = true_translation / np.linalg.norm(true_translation, axis=-1, keepdims=True)
    depth = np.sum(error * along, -1)
    sideways = np.linalg.norm(error - depth[:, None] * along, axis=-1)
    truth_px = project(true_rotation @ nose_bridge + true_translation, true_K)
    start = gauge.T @ (nose_bridge - offset) / scale
    own_px = project(rotation @ _same_point(start, truth_px, viewmats, K, use) + translation, K)
    triple = use[2:] & use[1:-1] & use[:-2]

    def shake(path: Array) -> float:
        return float(np.sqrt(np.mean(np.sum(np.diff(path, 2, axis=0)[triple] ** 2, -1))))

    return PoseError(
        rotation_deg=angle[use],
        sideways_mm=sideways[use] * _MM,
        depth_mm=np.abs(depth)[use] * _MM,
        jitter_px=shake(own_px),
        jitter_ratio=shake(own_px) / max(shake(truth_px), 1e-12),
        tremble_px=shake(own_px - truth_px),
    )


def _same_point(start: Array, pixels: Array, viewmats: Array, K: Array, use: NDArray[np.bool_]) -> Array:
    """The point [3] of the estimate's head space whose picture lies nearest to `pixels` [T, 2].

    A wrong focal length bends the estimate's space; the point is looked for where the estimate has it.
    """
    rotation, translation = viewmats[use, :3, :3], viewmats[use, :3, 3]
    point = start.copy()
    for _ in range(10):
        camera = rotation @ point + translation
        jacobian = (projection_jacobian(camera, K) @ rotation).reshape(-1, 3)
        residual = (project(camera, K) - pixels[use]).reshape(-1)
        # A trace of damping: a head that hardly turns does not tell how deep the point lies.
        hessian = jacobian.T @ jacobian + 1e-6 * len(jacobian) * K[0, 0] ** 2 * 1e-4 * np.eye(3)
        point = point - np.linalg.solve(hessian, jacobian.T @ residual)
    return point
