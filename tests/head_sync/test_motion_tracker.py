import numpy as np
import pytest

from synctalk.errors import VideoError
from synctalk.head_sync.face_model import FaceModel
from synctalk.head_sync.geometry import (
    camera_matrix,
    project,
    rotation_from_vector,
    transform,
    vector_from_rotation,
)
from synctalk.head_sync.motion_tracker import MotionSettings, interpolate_poses, track_motion

SIZE = (512, 512)


@pytest.fixture(scope="module")
def made(model: FaceModel) -> dict[str, np.ndarray]:
    """A head of the model's own kind that turns widely before a camera of 1000 px."""
    random = np.random.default_rng(0)
    frames = 40
    t = np.linspace(0, 2 * np.pi, frames)
    turns = np.stack([0.2 * np.sin(t), 0.45 * np.cos(t), 0.1 * np.sin(2 * t)], 1)
    rotations = np.diag([1.0, -1.0, -1.0]) @ rotation_from_vector(turns)
    translations = np.stack([0.2 * np.sin(t), 0.1 * np.cos(t), 7 + 0.3 * np.sin(t)], 1)
    identity = np.concatenate([random.normal(0, 0.7, 8), np.zeros(52)])
    expressions = np.clip(random.normal(0, 0.15, (frames, 52)), 0, 1)
    shapes = model.at_landmarks(
        model.vertices(identity) + np.tensordot(expressions, model.expression_basis, 1)
    )
    K = camera_matrix(1000, *SIZE)
    return {
        "K": K,
        "rotations": rotations,
        "landmarks": project(transform(rotations, translations, shapes), K),
        "identity": identity,
    }


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.linalg.norm(vector_from_rotation(a @ np.swapaxes(b, 1, 2)), axis=1))


def test_a_head_that_turns_widely_gives_away_its_focal_length(made, model: FaceModel) -> None:
    motion = track_motion(made["landmarks"], SIZE, model)
    assert motion.K[0, 0] == pytest.approx(1000, rel=0.12)
    assert np.median(degrees(motion.rotations, made["rotations"])) < 1.0
    assert np.nanmedian(motion.error_px) < 0.6


def test_the_error_curve_of_the_search_covers_one_to_five_widths(made, model: FaceModel) -> None:
    motion = track_motion(made["landmarks"], SIZE, model)
    focals = [focal for focal, _ in motion.focal_curve]
    assert focals == sorted(focals)
    assert focals[0] == pytest.approx(512) and focals[-1] == pytest.approx(5 * 512)
    errors = dict(motion.focal_curve)
    best = min(errors, key=lambda key: errors[key])
    assert 800 < best < 1250
    assert errors[focals[-1]] > errors[best]


def test_a_given_camera_and_identity_are_kept(made, model: FaceModel) -> None:
    motion = track_motion(made["landmarks"], SIZE, model, K=made["K"], identity=made["identity"])
    np.testing.assert_array_equal(motion.K, made["K"])
    np.testing.assert_array_equal(motion.identity, made["identity"])
    assert motion.focal_curve == []
    assert np.median(degrees(motion.rotations, made["rotations"])) < 0.5


def test_a_known_focal_length_is_not_searched(made, model: FaceModel) -> None:
    motion = track_motion(made["landmarks"], SIZE, model, MotionSettings(focal_px=1000.0))
    np.testing.assert_allclose(motion.K, made["K"])
    assert motion.focal_curve == []
    assert np.median(degrees(motion.rotations, made["rotations"])) < 1.0


def test_the_usual_68_points_are_enough(made, model: FaceModel) -> None:
    motion = track_motion(made["landmarks"][:, model.landmarks68], SIZE, model, K=made["K"])
    assert np.median(degrees(motion.rotations, made["rotations"])) < 1.5


def test_frames_without_a_face_are_bridged_and_reported(made, model: FaceModel) -> None:
    landmarks = made["landmarks"].copy()
    landmarks[10:13] = np.nan
    motion = track_motion(landmarks, SIZE, model, K=made["K"])
    assert np.flatnonzero(np.isnan(motion.error_px)).tolist() == [10, 11, 12]
    assert degrees(motion.rotations, made["rotations"])[10:13].max() < 4


def test_fingers_over_some_landmarks_hardly_turn_the_head(made, model: FaceModel) -> None:
    landmarks = made["landmarks"].copy()
    landmarks[5, ::6] += 40
    clean = track_motion(made["landmarks"], SIZE, model, K=made["K"], identity=made["identity"])
    disturbed = track_motion(landmarks, SIZE, model, K=made["K"], identity=made["identity"])
    assert degrees(clean.rotations, disturbed.rotations)[5] < 2.5


def test_no_face_at_all_is_an_error_a_person_understands(model: FaceModel) -> None:
    with pytest.raises(VideoError, match="No face was found"):
        track_motion(np.full((5, 478, 2), np.nan), SIZE, model)


def test_another_number_of_landmarks_is_refused(model: FaceModel) -> None:
    with pytest.raises(ValueError, match="68 or the 478"):
        track_motion(np.zeros((5, 106, 2)), SIZE, model)


def test_poses_between_known_frames_lie_on_the_way() -> None:
    rotations = rotation_from_vector(np.array([[0.0, 0, 0], [0.4, 0, 0]]))
    turned, moved = interpolate_poses(7, np.array([1, 5]), rotations, np.array([[0.0, 0, 8], [0, 0, 9]]))
    np.testing.assert_allclose(vector_from_rotation(turned)[:, 0], [0, 0, 0.1, 0.2, 0.3, 0.4, 0.4], atol=1e-9)
    np.testing.assert_allclose(moved[:, 2], [8, 8, 8.25, 8.5, 8.75, 9, 9])


def test_settings_can_leave_expressions_out(made, model: FaceModel) -> None:
    rigid = track_motion(made["landmarks"], SIZE, model, MotionSettings(expressions=False), K=made["K"])
    assert np.abs(rigid.expressions).max() == 0
