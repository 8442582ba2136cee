import numpy as np

from synctalk.head_sync.geometry import (
    camera_matrix,
    mean_rotation,
    nearest_rotation,
    pose_jacobian,
    project,
    rotation_from_vector,
    skew,
    transform,
    vector_from_rotation,
    viewmats_from,
)


def test_a_rotation_vector_survives_the_way_to_a_matrix_and_back() -> None:
    vectors = np.random.default_rng(0).normal(0, 1, (50, 3))
    vectors = np.concatenate([vectors, np.zeros((1, 3)), [[1e-9, 0, 0]]])
    rotations = rotation_from_vector(vectors)
    np.testing.assert_allclose(
        rotations @ np.swapaxes(rotations, 1, 2), np.tile(np.eye(3), (52, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(vector_from_rotation(rotations), vectors, atol=1e-7)


def test_skew_is_the_cross_product() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 3))
    np.testing.assert_allclose(skew(a) @ b, np.cross(a, b))


def test_a_point_straight_ahead_lands_in_the_middle_of_the_picture() -> None:
    K = camera_matrix(1000, 640, 480)
    np.testing.assert_allclose(project(np.array([0.0, 0.0, 5.0]), K), [320, 240])
    np.testing.assert_allclose(project(np.array([1.0, -1.0, 5.0]), K), [520, 40])


def test_the_pose_jacobian_agrees_with_finite_differences() -> None:
    random = np.random.default_rng(2)
    K = camera_matrix(1200, 512, 512)
    rotation = rotation_from_vector(random.normal(0, 0.4, (1, 3)))
    translation = np.array([[0.1, -0.2, 9.0]])
    points = random.normal(0, 0.5, (4, 3))
    rotated = points @ np.swapaxes(rotation, 1, 2)
    exact = pose_jacobian(rotated + translation[:, None], rotated, K)[0]
    for axis in range(6):
        step = np.zeros(6)
        step[axis] = 1e-6

        def pixels(sign: float, step: np.ndarray = step) -> np.ndarray:
            turned = rotation_from_vector(sign * step[None, :3]) @ rotation
            return project(transform(turned, translation + sign * step[3:], points), K)[0]

        np.testing.assert_allclose(exact[..., axis], (pixels(1) - pixels(-1)) / 2e-6, rtol=1e-4, atol=1e-3)


def test_the_mean_rotation_lies_between_two() -> None:
    turns = rotation_from_vector(np.array([[0.0, 0.2, 0.0], [0.0, -0.1, 0.0]]))
    np.testing.assert_allclose(vector_from_rotation(mean_rotation(turns)), [0, 0.05, 0], atol=1e-6)


def test_the_nearest_rotation_never_mirrors() -> None:
    assert np.linalg.det(nearest_rotation(np.diag([1.0, 1.0, -1.0]))) > 0


def test_viewmats_carry_head_points_to_the_camera() -> None:
    rotation = rotation_from_vector(np.array([[0.1, 0.2, 0.3]]))
    viewmat = viewmats_from(rotation, np.array([[1.0, 2.0, 3.0]]))[0]
    np.testing.assert_allclose(viewmat @ [0.5, 0, 0, 1], [*(rotation[0] @ [0.5, 0, 0] + [1, 2, 3]), 1])
