from pathlib import Path

import numpy as np
import pytest

from synctalk.assets import model_path
from synctalk.errors import SyncTalkError
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES, LANDMARKS_68
from synctalk.head_sync.face_model import REGIONS, FaceModel
from synctalk.head_sync.geometry import camera_matrix
from synctalk.head_sync.mesh_render import rasterize_mesh, shade, vertex_normals


def test_the_model_is_small_and_has_52_expressions(model: FaceModel) -> None:
    assert model_path("face_model.npz").stat().st_size < 8e6
    assert model.size == (60, 52)
    assert model.landmark_weights.shape == (478, 3)
    np.testing.assert_allclose(model.landmark_weights.sum(1), 1, atol=1e-5)
    assert set(np.unique(model.region)) == set(range(len(REGIONS)))


def test_the_68_points_are_those_of_the_capturer(model: FaceModel) -> None:
    assert tuple(model.landmarks68) == LANDMARKS_68


def test_landmarks_lie_where_their_names_say(model: FaceModel) -> None:
    points = model.at_landmarks(model.mean)
    chin, brow, right_eye, left_eye, nose_tip = points[[152, 10, 33, 263, 1]]
    assert chin[1] < nose_tip[1] < right_eye[1] < brow[1]  # y points up
    assert right_eye[0] < 0 < left_eye[0]  # x points to the subject's left
    assert nose_tip[2] == points[:468, 2].max()  # z points out of the face
    assert 0.8 < left_eye[0] - right_eye[0] < 1.1  # outer corners 8 to 11 cm apart


def test_opening_the_jaw_lowers_the_chin_and_nothing_above_the_nose(model: FaceModel) -> None:
    jaw = np.zeros(52)
    jaw[BLENDSHAPE_NAMES.index("jawOpen")] = 1
    moved = model.at_landmarks(model.vertices(None, jaw)) - model.at_landmarks(model.mean)
    assert moved[152, 1] < -0.1
    assert np.abs(moved[[168, 10, 33, 263]]).max() < 0.01


def test_a_left_smile_moves_the_left_corner_of_the_mouth(model: FaceModel) -> None:
    smile = np.zeros(52)
    smile[BLENDSHAPE_NAMES.index("mouthSmileLeft")] = 1
    moved = np.linalg.norm(model.at_landmarks(model.vertices(None, smile) - model.mean), axis=1)
    assert moved[291] > 5 * moved[61]


def test_leading_identity_coefficients_are_enough(model: FaceModel) -> None:
    few = model.vertices(np.array([1.0, -1.0]))
    np.testing.assert_allclose(few, model.vertices(np.array([1.0, -1.0] + [0.0] * 58)))
    assert not np.allclose(few, model.mean)


def test_a_model_survives_saving(model: FaceModel, tmp_path: Path) -> None:
    model.save(tmp_path / "face.npz")
    again = FaceModel.load(tmp_path / "face.npz")
    np.testing.assert_allclose(again.mean, model.mean, atol=1e-6)
    np.testing.assert_array_equal(again.triangles, model.triangles)
    np.testing.assert_allclose(again.identity_basis, model.identity_basis, atol=1e-4)


def test_what_is_no_model_is_refused_with_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    with pytest.raises(SyncTalkError, match=r"other\.npz is not a face model"):
        FaceModel.load(tmp_path / "other.npz")


def test_the_rasterizer_sees_the_nearer_of_two_triangles() -> None:
    far = [[-1.0, -1, 6], [1, -1, 6], [0, 1, 6]]
    near = [[-1.0, -1, 5], [1, -1, 5], [0, 1, 5]]
    triangles = np.array([[0, 1, 2], [3, 4, 5]])
    index, weights = rasterize_mesh(np.array(far + near), triangles, camera_matrix(50, 32, 32), 32, 32)
    assert index[16, 16] == 1
    assert index[0, 0] == -1
    np.testing.assert_allclose(weights[16, 16].sum(), 1)


def test_normals_of_a_square_point_out_of_it_and_shading_lights_it() -> None:
    square = np.array([[-1.0, -1, 5], [1, -1, 5], [1, 1, 5], [-1, 1, 5]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    np.testing.assert_allclose(np.abs(vertex_normals(square, triangles)[:, 2]), 1)
    picture = shade(square, triangles, camera_matrix(50, 32, 32), 32, 32)
    assert picture[16, 16].min() > picture[0, 0].max()
