"""Quality without a reference: NIQE and BRISQUE, from how local contrast is distributed.

Mittal, Moorthy, Bovik 2012 (BRISQUE) and Mittal, Soundararajan, Bovik 2013 (NIQE). Lower is better.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma

from synctalk.assets import model_path

Array = NDArray[np.float64]

PATCH = 96
WINDOW, SIGMA = 7, 7 / 6
SHAPES = np.arange(0.2, 10.0005, 0.001)
_RATIOS = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))


@dataclass(frozen=True)
class Asymmetric:
    """An asymmetric generalised Gaussian fitted by moments."""

    shape: float
    left: float  # standard deviation of the negative values
    right: float

    @property
    def scale(self) -> float:
        """From standard deviations to the distribution's own width."""
        return float(np.sqrt(gamma(1 / self.shape) / gamma(3 / self.shape)))

    @property
    def mean(self) -> float:
        """Mean parameter, with the width taken by `scale`."""
        widths = (self.right - self.left) * self.scale
        return float(widths * gamma(2 / self.shape) / gamma(1 / self.shape))


def fit(values: Array) -> Asymmetric:
    """Fits `Asymmetric` to all values of an array."""
    squares = values**2
    negative = values < 0
    left = float(np.sqrt(squares[negative].mean())) if negative.any() else 0.0
    right = float(np.sqrt(squares[~negative].mean())) if not negative.all() else 0.0
    if not squares.any() or right == 0:
        return Asymmetric(float(SHAPES[-1]), left, right)
    skew = left / right
    ratio = np.abs(values).mean() ** 2 / squares.mean()
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    nearest = int(np.abs(_RATIOS - ratio).argmin())
    return Asymmetric(float(SHAPES[nearest]), left, right)


def contrast_normalised(grey: Array, border: int) -> Array:
    """(value - local mean) / (local deviation + 1), the MSCN coefficients of a grey image [H,W] in 0..255."""
    mean = cv2.GaussianBlur(grey, (WINDOW, WINDOW), SIGMA, borderType=border)
    square = cv2.GaussianBlur(grey**2, (WINDOW, WINDOW), SIGMA, borderType=border)
    return np.asarray((grey - mean) / (np.sqrt(np.abs(square - mean**2)) + 1), np.float64)


def grey_levels(image: NDArray[np.uint8]) -> Array:
    """uint8 RGB [H,W,3] -> luma [H,W] in 0..255."""
    return np.asarray(image.astype(np.float64) @ (0.299, 0.587, 0.114), np.float64)


def niqe(image: NDArray[np.uint8]) -> float:
    """Distance from natural pictures.

    Args:
        image: uint8 RGB [H,W,3], at least 192 px on each side.

    Raises:
        ValueError: too small.
    """
    height, width = (side // PATCH * PATCH for side in image.shape[:2])
    if min(height, width) < 2 * PATCH:
        raise ValueError(f"NIQE needs at least {2 * PATCH} px on each side, not {image.shape[:2]}")
    model = _parameters()
    grey = grey_levels(image)[:height, :width]
    half = cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    halves = [grey, np.asarray(half, np.float64)]
    features = np.concatenate(
        [_patch_features(level, PATCH >> scale) for scale, level in enumerate(halves)], axis=1
    )
    difference = features.mean(axis=0) - model["niqe_mean"]
    spread = (np.cov(features, rowvar=False) + model["niqe_covariance"]) / 2
    return float(np.sqrt(difference @ np.linalg.pinv(spread) @ difference))


def _patch_features(grey: Array, patch: int) -> Array:
    """NIQE's 18 features of each patch, [patches,18]."""
    normal = contrast_normalised(grey, cv2.BORDER_REPLICATE)
    maps = [normal, *(normal * np.roll(normal, shift, (0, 1)) for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)))]
    rows = []
    for y in range(0, grey.shape[0] - patch + 1, patch):
        for x in range(0, grey.shape[1] - patch + 1, patch):
            own, *pairs = (fit(part[y : y + patch, x : x + patch]) for part in maps)
            row = [own.shape, (own.left + own.right) / 2 * own.scale]
            for pair in pairs:
                row += [pair.shape, pair.mean, pair.left * pair.scale, pair.right * pair.scale]
            rows.append(row)
    return np.array(rows)


def brisque(image: NDArray[np.uint8]) -> float:
    """Predicted mean opinion of the distortion, about 0 (best) to 100.

    Args:
        image: uint8 RGB [H,W,3].
    """
    model = _parameters()
    grey = grey_levels(image)
    half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
    features = np.array([*_whole_features(grey), *_whole_features(np.asarray(half, np.float64))])
    low, high = model["brisque_low"], model["brisque_high"]
    scaled = 2 * (features - low) / (high - low) - 1
    distances = ((model["brisque_vectors"] - scaled) ** 2).sum(axis=1)
    kernel = np.exp(-float(model["brisque_gamma"]) * distances)
    return float(model["brisque_weights"] @ kernel - float(model["brisque_rho"]))


def _whole_features(grey: Array) -> list[float]:
    """BRISQUE's 18 features of one scale."""
    normal = contrast_normalised(grey, cv2.BORDER_CONSTANT)
    own = fit(normal)
    features = [own.shape, (own.left**2 + own.right**2) / 2]
    for pair in (
        normal[:, :-1] * normal[:, 1:],
        normal[:-1] * normal[1:],
        normal[:-1, :-1] * normal[1:, 1:],
        normal[1:, :-1] * normal[:-1, 1:],
    ):
        fitted = fit(pair)
        features += [fitted.shape, fitted.mean, fitted.left**2, fitted.right**2]
    return features


@cache
def _parameters() -> dict[str, Array]:
    """The published models, see assets/README.md."""
    with np.load(model_path("natural_statistics.npz"), allow_pickle=False) as file:
        return {key: file[key].astype(np.float64) for key in file.files}
