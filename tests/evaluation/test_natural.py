from pathlib import Path

import cv2
import numpy as np
import pytest

from synctalk.evaluation.natural import brisque, fit, niqe
from synctalk.video import read_frames

CLIP = Path(__file__).parents[1] / "data" / "ben_3s.mp4"


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return next(read_frames(CLIP))


def test_a_normal_distribution_is_recognised() -> None:
    values = np.random.default_rng(0).normal(0, 3, 200_000)
    fitted = fit(values)
    assert fitted.shape == pytest.approx(2, abs=0.03)
    assert fitted.left == pytest.approx(3, rel=0.01) and fitted.right == pytest.approx(3, rel=0.01)
    assert fitted.mean == pytest.approx(0, abs=0.05)


def test_a_lopsided_distribution_is_recognised() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate(
        [-np.abs(generator.normal(0, 1, 50_000)), np.abs(generator.normal(0, 2, 100_000))]
    )
    fitted = fit(values)
    assert fitted.left == pytest.approx(1, rel=0.02) and fitted.right == pytest.approx(2, rel=0.02)
    assert fitted.mean > 0.5


def test_constant_values_do_not_break_the_fit() -> None:
    assert np.isfinite(fit(np.zeros(10)).mean)


def test_brisque_agrees_with_the_brisque_package(picture: np.ndarray) -> None:
    # Scores of PyPI brisque 0.2.0 for the same three pictures; it takes grey by other weights.
    blurred = cv2.GaussianBlur(picture, (0, 0), 2)
    noise = np.random.default_rng(0).normal(0, 15, picture.shape)
    noisy = (picture + noise).clip(0, 255).astype(np.uint8)
    scores = [brisque(image) for image in (picture, blurred, noisy)]
    assert scores == pytest.approx([48.8, 78.4, 52.9], abs=3)


def test_niqe_calls_blur_and_noise_less_natural(picture: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 15, picture.shape)
    clean = niqe(picture)
    assert clean < niqe(cv2.GaussianBlur(picture, (0, 0), 2)) - 2
    assert clean < niqe((picture + noise).clip(0, 255).astype(np.uint8)) - 2


def test_niqe_refuses_small_pictures() -> None:
    with pytest.raises(ValueError, match="192 px"):
        niqe(np.zeros((100, 300, 3), np.uint8))
