import numpy as np
import pytest

from synctalk.evaluation.eyes import LIDS, eye_figures, eye_opening
from synctalk.evaluation.lips import EYE_CORNERS


def face(opening: np.ndarray) -> np.ndarray:
    """Meshes [T,478,3] whose eyes are open by `opening` px."""
    points = np.zeros((len(opening), 478, 3))
    points[:, EYE_CORNERS[0], 0], points[:, EYE_CORNERS[1], 0] = -50, 50
    for _, lower in LIDS:
        points[:, lower, 1] = opening
    return points


def test_opening_is_the_gap_over_the_eye_distance() -> None:
    assert eye_opening(face(np.array([0.0, 10, 8]))) == pytest.approx([0, 0.1, 0.08])


def test_eyes_that_stay_open_are_found_out() -> None:
    true = np.array([8.0, 8, 8, 1, 8, 8, 2, 8])
    psnr = np.array([40.0, 40, 40, 20, 40, 40, 30, 40])
    same = eye_figures(true, true, psnr)
    assert same == pytest.approx({"eye_correlation": 1, "eyes_shut": 1, "psnr_lids": 25})
    stuck = eye_figures(np.array([8.0, 8, 8, 7, 8, 8, 3, 8]), true, psnr)
    assert stuck["eyes_shut"] == 0.5 and stuck["eye_correlation"] < 0.9


def test_a_clip_without_a_blink_has_no_figure_of_shut_eyes() -> None:
    figures = eye_figures(np.full(5, 8.0), np.full(5, 8.0), np.full(5, 40.0))
    assert set(figures) == {"eye_correlation"}
