import numpy as np
import pytest

from synctalk.evaluation.lips import (
    EYE_CORNERS,
    INNER_DOWN,
    INNER_UP,
    OUTER_LIPS,
    correlation,
    lag_frames,
    landmark_distance,
    mouth_opening,
    static_distance,
)


def face(opening: np.ndarray) -> np.ndarray:
    """Meshes [T,478,3] whose inner lips and lower outer lips open by `opening` px."""
    points = np.zeros((len(opening), 478, 3))
    points[:, EYE_CORNERS[0], 0], points[:, EYE_CORNERS[1], 0] = -50, 50
    points[:, INNER_DOWN, 1] = opening
    points[:, list(OUTER_LIPS[:10]), 1] = opening[:, None]
    return points


def waves(frames: int = 200) -> np.ndarray:
    t = np.arange(frames)
    return 5 + 3 * np.sin(t / 3.1) + 2 * np.sin(t / 1.7 + 1)


def test_there_are_twenty_outer_lip_points() -> None:
    assert len(set(OUTER_LIPS)) == 20 and INNER_UP not in OUTER_LIPS


def test_opening_is_the_gap_over_the_eye_distance() -> None:
    assert mouth_opening(face(np.array([0.0, 10, 20]))) == pytest.approx([0, 0.1, 0.2])


def test_a_mouth_that_is_only_elsewhere_has_no_landmark_distance() -> None:
    truth = face(waves())
    assert landmark_distance(truth + np.array([7, -3, 0]), truth) == pytest.approx(0, abs=1e-9)


def test_landmark_distance_of_a_known_difference() -> None:
    truth = face(np.zeros(4))
    assert landmark_distance(face(np.full(4, 6.0)), truth) == pytest.approx(3)


def test_the_static_distance_is_that_of_the_mean_mouth() -> None:
    truth = face(np.array([0.0, 8.0]))
    assert static_distance(truth) == pytest.approx(2)


@pytest.mark.parametrize("shift", [-3, 0, 2])
def test_the_lag_of_a_shifted_curve_is_found(shift: int) -> None:
    curve = waves(220)
    assert lag_frames(curve[10 - shift : 210 - shift], curve[10:210]) == pytest.approx(shift, abs=0.05)


def test_half_a_frame_of_lag_is_seen() -> None:
    t = np.arange(200)
    curve = [np.sin(t / 3.0 + d / 3.0) + np.sin(t / 1.9 + d / 1.9) for d in (0, -0.5)]
    assert lag_frames(curve[1], curve[0]) == pytest.approx(0.5, abs=0.1)


def test_correlation_of_equal_opposite_and_constant_curves() -> None:
    curve = waves()
    assert correlation(curve, 2 * curve + 1) == pytest.approx(1)
    assert correlation(curve, -curve) == pytest.approx(-1)
    assert correlation(curve, np.ones(200)) == 0
