"""Head Motion Tracker (Section III-C, Eq. 7-8): the morphable model fitted to landmarks.

Unknown: one focal length, one identity, and per frame a rotation, a translation and 52 expression
coefficients. Gauss-Newton over all frames at once; the per-frame unknowns are eliminated (Schur
complement), so that the shared ones are solved exactly and the cost grows linearly with frames.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from synctalk.errors import VideoError
from synctalk.head_sync.face_model import REGIONS, FaceModel
from synctalk.head_sync.geometry import (
    camera_matrix,
    pose_jacobian,
    project,
    projection_jacobian,
    rotation_from_vector,
    transform,
)

Array = NDArray[np.float64]

_METRES = 0.1  # metres per unit of 10 cm
_LOOKING_AT_FACE = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class MotionSettings:
    """How landmarks and priors are weighed, and how the focal length is searched."""

    landmark_noise: float = 0.02
    """Expected error of a landmark, as a share of the face's height (detector and model disagree)."""
    expression_spread: float = 0.25
    """Prior standard deviation of an expression coefficient."""
    focal_px: float | None = None
    """Focal length if it is known (from the camera's data or a calibration); nothing is searched then."""
    focal_range: tuple[float, float] = (1.0, 5.0)
    """Focal lengths searched, in frame widths."""
    focal_candidates: int = 9
    """Candidates of the coarse sweep (even in log focal length); a finer one follows round its best."""
    camera_distance_m: tuple[float, float] = (1.2, 0.35)
    """How far cameras usually stand from people who talk into them: middle and spread (natural log). The
    landmarks hardly tell the focal length of a head that hardly turns; this decides where fits are equal."""
    search_evidence: float = 20.0
    """How many independent landmarks the error curve is worth against that expectation: neighbours err alike,
    and in every frame in the same way."""
    search_frames: int = 120
    """At most so many of every tenth frame take part in the search."""
    iterations: int = 6
    """Gauss-Newton steps per fit."""
    expressions: bool = True
    """False fits a rigid mean expression (for the ablation)."""


@dataclass(frozen=True)
class HeadMotion:
    """What the tracker found.

    Attributes:
        K: float64 [3, 3] px.
        rotations: float64 [T, 3, 3], translations: float64 [T, 3] (head to camera).
        identity: float64 [k] coefficients of the face model.
        expressions: float64 [T, 52].
        error_px: float64 [T], RMS distance between fitted and measured landmarks; NaN without landmarks.
        focal_curve: list of (focal px, RMS px) pairs of the search, sorted by focal; empty if K was given.
    """

    K: Array
    rotations: Array
    translations: Array
    identity: Array
    expressions: Array
    error_px: Array
    focal_curve: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class _State:
    """Current estimate of a fit over n frames."""

    rotations: Array
    translations: Array
    identity: Array
    expressions: Array

    def of(self, rows: slice) -> "_State":
        return _State(self.rotations[rows], self.translations[rows], self.identity, self.expressions[rows])

    def moved_by(self, factor: float) -> "_State":
        """The same heads at so many times the distance, for a focal length so many times as long."""
        return _State(self.rotations, self.translations * [1.0, 1.0, factor], self.identity, self.expressions)


class _Landmarks:
    """The part of the face model that the landmarks see."""

    def __init__(self, model: FaceModel, count: int) -> None:
        pick = _landmark_choice(model, count)
        self.columns = np.arange(count) if count == 68 else pick
        self.mean = model.at_landmarks(model.mean)[pick]
        self.identity_basis = model.at_landmarks(model.identity_basis)[:, pick]
        self.expression_basis = model.at_landmarks(model.expression_basis)[:, pick]

    def shapes(self, state: _State) -> Array:
        """Head-space landmarks [n, L, 3]."""
        neutral = self.mean + np.tensordot(state.identity, self.identity_basis, 1)
        return neutral + np.tensordot(state.expressions, self.expression_basis, 1)


def _landmark_choice(model: FaceModel, count: int) -> NDArray[np.int64]:
    """Which mesh landmarks take part: the 68, or these and every fourth of the 468 that lie on skin."""
    if count == 68:
        return model.landmarks68
    if count != 478:
        raise ValueError(f"Landmarks must be the 68 or the 478 points, not {count}.")
    region = model.region[model.triangles[model.landmark_triangles]].max(1)
    skin = np.flatnonzero(region[:468] < REGIONS.index("eyeballs"))
    return np.unique(np.concatenate([skin[::4], model.landmarks68]))


def track_motion(
    landmarks: Array,  # [T, 478 or 68, 2] px, NaN rows where no face was found
    size: tuple[int, int],  # width, height px
    model: FaceModel,
    settings: MotionSettings | None = None,
    K: Array | None = None,
    identity: Array | None = None,
) -> HeadMotion:
    """Fit pose and expression to the landmarks of every frame; with `K` and `identity` those stay fixed.

    Frames without landmarks get the pose interpolated between their neighbours (error NaN).

    Raises:
        VideoError: fewer than two frames have landmarks.
    """
    settings = settings or MotionSettings()
    landmarks = np.asarray(landmarks, np.float64)[..., :2]
    seen = np.flatnonzero(np.isfinite(landmarks).all((1, 2)))
    if len(seen) < 2:
        raise VideoError(
            "No face was found in the video. Use a video with one face, well lit and not too small."
        )
    part = _Landmarks(model, landmarks.shape[1])
    points = landmarks[seen][:, part.columns]
    curve: list[tuple[float, float]] = []
    every_tenth = np.arange(0, len(seen), 10 if len(seen) >= 40 else 1)
    step = max(1, int(np.ceil(len(every_tenth) / settings.search_frames)))
    sample = points[every_tenth[::step]]
    if K is None and settings.focal_px is not None:
        K = camera_matrix(settings.focal_px, *size)
    if K is None:
        focal, curve = search_focal(sample, size, part, settings)
        K = camera_matrix(focal, *size)
    start = np.zeros(part.identity_basis.shape[0]) if identity is None else identity
    if identity is None:
        start = _fit(sample, K, part, settings, start, free_identity=True)[0].identity
    state, error = _fit(points, K, part, settings, start, free_identity=False)
    return _fill_gaps(len(landmarks), seen, K, state, error, curve)


def search_focal(
    points: Array, size: tuple[int, int], part: _Landmarks, settings: MotionSettings
) -> tuple[float, list[tuple[float, float]]]:
    """Eq. 7: the focal length (px) whose fit leaves the least error, and the curve (focal, RMS px).

    A coarse sweep over the whole range, then one four times finer round its best candidate. Where the curve
    is flat, the usual distance of cameras from people decides (see `MotionSettings`).
    """
    low, high = np.log(np.array(settings.focal_range) * size[0])
    coarse = np.linspace(low, high, settings.focal_candidates)
    step = coarse[1] - coarse[0]
    errors: dict[float, float] = {}
    cost: dict[float, float] = {}
    states: dict[float, _State] = {}
    zero = np.zeros(part.identity_basis.shape[0])
    middle, spread = settings.camera_distance_m

    def measure(candidates: NDArray[np.float64]) -> float:
        for log_focal in candidates:
            if log_focal in errors:
                continue
            K = camera_matrix(float(np.exp(log_focal)), *size)
            near = min(states, key=lambda key: abs(key - log_focal), default=None)
            start = None if near is None else states[near].moved_by(float(np.exp(log_focal - near)))
            state, error = _fit(points, K, part, settings, zero, free_identity=True, start=start)
            errors[log_focal] = float(np.sqrt(np.mean(error**2)))
            surprise = np.log(np.median(state.translations[:, 2]) * _METRES / middle) / spread
            cost[log_focal] = settings.search_evidence * np.log(errors[log_focal]) + surprise**2 / 2
            states[log_focal] = state
        return min(cost, key=lambda key: cost[key])

    best = measure(coarse)
    best = measure((best + step * np.array([-0.5, -0.25, 0.25, 0.5])).clip(low, high))
    curve = sorted((float(np.exp(key)), value) for key, value in errors.items())
    return float(np.exp(best)), curve


def _fit(
    points: Array,
    K: Array,
    part: _Landmarks,
    settings: MotionSettings,
    identity: Array,
    free_identity: bool,
    start: _State | None = None,
) -> tuple[_State, Array]:
    """Eq. 8 by Gauss-Newton: the state over n frames [n, L, 2] and each frame's RMS error (px)."""
    state = _first_guess(points, K, part, identity) if start is None else start
    height = np.median(np.ptp(points[..., 1], axis=1))
    for iteration in range(settings.iterations if start is None else settings.iterations // 2):
        # Poses first: expression and identity must not explain what a turn of the head explains.
        only_pose = iteration < 2 and start is None
        state = _step(points, K, part, settings, state, height, free_identity and not only_pose, only_pose)
    shapes = part.shapes(state)
    residual = project(transform(state.rotations, state.translations, shapes), K) - points
    return state, np.sqrt(np.mean(np.sum(residual**2, -1), -1))


def _first_guess(points: Array, K: Array, part: _Landmarks, identity: Array) -> _State:
    """Poses of a head that looks into the camera, placed by the middle and the spread of the landmarks."""
    shape = part.mean + np.tensordot(identity, part.identity_basis, 1)
    flat = shape @ _LOOKING_AT_FACE.T
    middle = points.mean(1)
    spread = np.sqrt(np.mean(np.sum((points - middle[:, None]) ** 2, -1), 1))
    size = np.sqrt(np.mean(np.sum((flat - flat.mean(0))[:, :2] ** 2, -1)))
    depth = K[0, 0] * size / np.maximum(spread, 1e-6)
    centre = np.stack(
        [
            (middle[:, 0] - K[0, 2]) / K[0, 0] * depth,
            (middle[:, 1] - K[1, 2]) / K[1, 1] * depth,
            depth,
        ],
        -1,
    )
    return _State(
        rotations=np.tile(_LOOKING_AT_FACE, (len(points), 1, 1)),
        translations=centre - flat.mean(0),
        identity=identity.copy(),
        expressions=np.zeros((len(points), len(part.expression_basis))),
    )


def _step(
    points: Array,
    K: Array,
    part: _Landmarks,
    settings: MotionSettings,
    state: _State,
    height: float,
    free_identity: bool,
    only_pose: bool,
    chunk: int = 200,
) -> _State:
    """One Gauss-Newton step with the frames' own unknowns eliminated."""
    precision = 1 / (settings.landmark_noise * height)
    use_expressions = settings.expressions and not only_pose
    shared = len(state.identity)
    reduced = np.eye(shared)
    right = -state.identity.copy()
    eliminated = []
    for start in range(0, len(points), chunk):
        rows = slice(start, start + chunk)
        here = state.of(rows)
        shapes = part.shapes(here)
        rotated = shapes @ np.swapaxes(here.rotations, -1, -2)
        camera = rotated + here.translations[:, None]
        residual = (project(camera, K) - points[rows]) * precision
        # Huber weights per landmark: fingers before a face must not turn the head.
        distance = np.linalg.norm(residual, axis=-1, keepdims=True)
        weight = np.sqrt(np.minimum(1.0, 2.0 / np.maximum(distance, 1e-9))) * precision
        frames, count = points[rows].shape[:2]
        own = [pose_jacobian(camera, rotated, K)]
        by_shape = projection_jacobian(camera, K) @ here.rotations[:, None]
        if use_expressions:
            own.append(np.einsum("nlij,elj->nlie", by_shape, part.expression_basis, optimize=True))
        own_jacobian = (np.concatenate(own, -1) * weight[..., None]).reshape(frames, 2 * count, -1)
        scaled = (residual / precision * weight).reshape(frames, -1)
        hessian = np.swapaxes(own_jacobian, 1, 2) @ own_jacobian
        gradient = np.einsum("nrk,nr->nk", own_jacobian, scaled)
        prior = np.full(hessian.shape[1], 1e-9)
        if use_expressions:
            prior[6:] = settings.expression_spread**-2
            gradient[:, 6:] += here.expressions * prior[6:]
        hessian += np.diag(prior)
        if free_identity:
            shape_jacobian = np.einsum("nlij,elj->nlie", by_shape, part.identity_basis, optimize=True)
            shape_jacobian = (shape_jacobian * weight[..., None]).reshape(frames, 2 * count, -1)
            mixed = np.swapaxes(own_jacobian, 1, 2) @ shape_jacobian
            solved = np.linalg.solve(hessian, np.concatenate([mixed, gradient[..., None]], -1))
            reduced += np.einsum("nri,nrj->ij", shape_jacobian, shape_jacobian, optimize=True)
            reduced -= np.einsum("nki,nkj->ij", mixed, solved[..., :-1], optimize=True)
            right -= np.einsum("nri,nr->i", shape_jacobian, scaled, optimize=True)
            right += np.einsum("nki,nk->i", mixed, solved[..., -1], optimize=True)
            eliminated.append((solved[..., -1], solved[..., :-1]))
        else:
            eliminated.append((np.linalg.solve(hessian, gradient[..., None])[..., 0], np.zeros((0, 0, 0))))
    change = np.linalg.solve(reduced, right) if free_identity else np.zeros(shared)
    own_change = np.concatenate([-a - b @ change if b.size else -a for a, b in eliminated])
    turn = rotation_from_vector(own_change[:, :3])
    # The Jacobian turns the head about its own origin: the translation is not rotated.
    return _State(
        rotations=turn @ state.rotations,
        translations=state.translations + own_change[:, 3:6],
        identity=state.identity + change,
        expressions=state.expressions + own_change[:, 6:] if use_expressions else state.expressions,
    )


def _fill_gaps(
    total: int,
    seen: NDArray[np.int64],
    K: Array,
    state: _State,
    error: Array,
    curve: list[tuple[float, float]],
) -> HeadMotion:
    """Spread the fitted frames over all frames, poses interpolated in between."""
    rotations, translations = interpolate_poses(total, seen, state.rotations, state.translations)
    rows = np.arange(total)
    expressions = np.stack([np.interp(rows, seen, column) for column in state.expressions.T], -1)
    errors = np.full(total, np.nan)
    errors[seen] = error
    return HeadMotion(K, rotations, translations, state.identity, expressions, errors, curve)


def interpolate_poses(
    total: int, known: NDArray[np.int64], rotations: Array, translations: Array
) -> tuple[Array, Array]:
    """Poses [total] from poses at the known frames: slerp and straight lines, held at both ends."""
    from scipy.spatial.transform import Rotation, Slerp

    rows = np.arange(total)
    if len(known) == 1:
        return np.tile(rotations, (total, 1, 1)), np.tile(translations, (total, 1))
    slerp = Slerp(known, Rotation.from_matrix(rotations))
    turned = slerp(rows.clip(known[0], known[-1])).as_matrix()
    moved = np.stack([np.interp(rows, known, column) for column in translations.T], -1)
    return turned, moved
