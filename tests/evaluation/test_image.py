import cv2
import numpy as np
import pytest

from synctalk.evaluation.image import frame_change, ms_ssim, psnr


def picture(seed: int = 0, size: int = 192) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (size, size, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 3).clip(0, 255).astype(np.uint8)


def test_psnr_of_a_known_error_is_the_formula() -> None:
    truth = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(truth + np.uint8(5), truth) == pytest.approx(20 * np.log10(255 / 5), abs=1e-4)
    assert psnr(truth, truth) == 100


def test_psnr_looks_only_into_its_region() -> None:
    truth = np.full((8, 8, 3), 100, np.uint8)
    image = truth.copy()
    image[:4] = 110
    top = np.zeros((8, 8), bool)
    top[:4] = True
    assert psnr(image, truth, ~top) == 100
    assert psnr(image, truth, top) == pytest.approx(20 * np.log10(25.5), abs=1e-4)
    assert np.isnan(psnr(image, truth, np.zeros((8, 8), bool)))


def test_ms_ssim_is_one_for_equal_pictures_and_falls_with_blur_and_noise() -> None:
    truth = picture()
    soft = cv2.GaussianBlur(truth, (0, 0), 2)
    noisy = (truth + np.random.default_rng(1).normal(0, 20, truth.shape)).clip(0, 255).astype(np.uint8)
    assert ms_ssim(truth, truth) == pytest.approx(1, abs=1e-6)
    assert ms_ssim(noisy, truth) < 0.99 and ms_ssim(soft, truth) < 0.99
    assert ms_ssim(picture(5), truth) < 0.7


def test_single_scale_ssim_agrees_with_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    truth, other = picture(size=20), picture(3, size=20)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    expected = metrics.structural_similarity(other, truth, channel_axis=2, **options)
    assert ms_ssim(other, truth) == pytest.approx(max(expected, 0), abs=2e-3)


def test_pictures_too_small_for_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="11 px"):
        ms_ssim(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8))


def test_frame_change_counts_only_the_region() -> None:
    before, now = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    now[0, 0] = 200
    region = np.ones((4, 4), bool)
    assert frame_change(before, now, region) == pytest.approx(200 / 16)
    region[0, 0] = False
    assert frame_change(before, now, region) == 0
    assert np.isnan(frame_change(before, now, np.zeros((4, 4), bool)))
