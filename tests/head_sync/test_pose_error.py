import numpy as np
import pytest

from synctalk.head_sync.geometry import camera_matrix, rotation_from_vector, viewmats_from
from synctalk.head_sync.pose_error import pose_error

K = camera_matrix(1500, 512, 512)
NOSE = np.array([0.0, 0.4, 1.0])


def truth() -> tuple[np.ndarray, np.ndarray]:
    t = np.arange(80) / 25
    turns = np.stack([0.1 * np.sin(3 * t), 0.15 * np.cos(2 * t), 0.02 * np.sin(5 * t)], 1)
    rotations = np.diag([1.0, -1.0, -1.0]) @ rotation_from_vector(turns)
    return rotations, np.stack([0.1 * np.sin(2 * t), 0 * t, 12 + 0.1 * np.cos(t)], 1)


def test_another_head_space_of_another_size_is_no_error() -> None:
    rotations, translations = truth()
    gauge, offset, scale = rotation_from_vector(np.array([0.2, -0.1, 0.3])), np.array([0.1, 0.5, -0.3]), 1.3
    other = viewmats_from(rotations @ gauge, (rotations @ offset + translations) / scale)
    figures = pose_error(other, K, viewmats_from(rotations, translations), K, NOSE).summary()
    assert figures["rotation 95 % (deg)"] < 1e-5
    assert figures["sideways median (mm)"] < 1e-6
    assert figures["depth median (mm)"] < 1e-6
    assert figures["jitter ratio"] == pytest.approx(1)
    assert figures["tremble (px)"] < 1e-6


def test_errors_come_out_in_degrees_and_millimetres() -> None:
    rotations, translations = truth()
    moved = translations.copy()
    moved[::2] += [0.02, 0, 0]  # every other frame 2 mm to the side
    error = pose_error(viewmats_from(rotations, moved), K, viewmats_from(rotations, translations), K, NOSE)
    assert np.median(error.sideways_mm) == pytest.approx(1.0, rel=0.1)
    assert error.jitter_ratio > 2
    turned = rotations.copy()
    turned[40] = rotation_from_vector(np.radians([0.0, 2.0, 0.0])) @ turned[40]
    error = pose_error(
        viewmats_from(turned, translations), K, viewmats_from(rotations, translations), K, NOSE
    )
    assert error.rotation_deg[40] == pytest.approx(2, abs=0.1)


def test_frames_can_be_left_out() -> None:
    rotations, translations = truth()
    moved = translations.copy()
    moved[10:20] += 3
    use = np.ones(80, bool)
    use[10:20] = False
    error = pose_error(
        viewmats_from(rotations, moved), K, viewmats_from(rotations, translations), K, NOSE, use
    )
    assert len(error.depth_mm) == 70
    assert error.depth_mm.max() < 1e-6
