"""How close a picture is to the truth: PSNR in a region, MS-SSIM, flicker."""

import cv2
import numpy as np
from numpy.typing import NDArray

# Wang, Simoncelli, Bovik 2003: weights of the five scales.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
BEST_PSNR = 100.0  # what equal pictures count as, so that a mean stays finite


def psnr(
    image: NDArray[np.uint8], truth: NDArray[np.uint8], region: NDArray[np.bool_] | None = None
) -> float:
    """Peak signal-to-noise ratio in dB over a region.

    Args:
        image, truth: uint8 [H,W,3].
        region: bool [H,W]; None is everywhere.

    Returns:
        dB, at most 100; NaN if the region is empty.
    """
    difference = image.astype(np.float32) - truth.astype(np.float32)
    squared = difference**2 if region is None else difference[region] ** 2
    if squared.size == 0:
        return float("nan")
    mean = float(squared.mean())
    return BEST_PSNR if mean == 0 else min(BEST_PSNR, 10 * float(np.log10(255**2 / mean)))


def ms_ssim(image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Multi-scale structural similarity, mean of the three channels; uint8 [H,W,3] of the same size.

    Uses the five scales of the definition, fewer (weights scaled to sum to 1) where a side would shrink
    below the 11 px window.
    """
    scales = min(len(SCALE_WEIGHTS), int(np.floor(np.log2(min(image.shape[:2]) / WINDOW))) + 1)
    if scales < 1:
        raise ValueError(f"MS-SSIM needs at least {WINDOW} px, not {image.shape[:2]}")
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    x, y = image.astype(np.float32), truth.astype(np.float32)
    value = np.ones(3)
    for scale, weight in enumerate(weights):
        luminance, structure = _ssim_parts(x, y)
        part = structure * luminance if scale == scales - 1 else structure
        value *= np.maximum(part.mean(axis=(0, 1)), 0) ** weight
        if scale < scales - 1:
            x, y = _halved(x), _halved(y)
    return float(value.mean())


def _ssim_parts(
    x: NDArray[np.float32], y: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The luminance and the contrast-structure map, where the window lies fully inside."""
    edge = WINDOW // 2

    def blur(values: NDArray[np.float32]) -> NDArray[np.float32]:
        smooth = cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA)
        return np.asarray(smooth[edge : values.shape[0] - edge, edge : values.shape[1] - edge], np.float32)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (var_x + var_y + C2)
    return luminance.astype(np.float32), structure.astype(np.float32)


def _halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of each 2x2 block."""
    height, width = values.shape[0] // 2 * 2, values.shape[1] // 2 * 2
    return cv2.resize(
        values[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA
    ).astype(np.float32)


def frame_change(before: NDArray[np.uint8], now: NDArray[np.uint8], region: NDArray[np.bool_]) -> float:
    """Mean absolute change from one frame to the next inside a region, grey levels; NaN if it is empty."""
    if not region.any():
        return float("nan")
    return float(np.abs(now[region].astype(np.int16) - before[region].astype(np.int16)).mean())
