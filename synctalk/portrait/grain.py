"""Grain: what footage does from frame to frame and a render does not.

A camera and its codec leave noise in every frame; a Gaussian head has learnt the mean of all frames and holds
still. In a source frame it looks like plastic. So the rendered face gets noise of the footage's strength.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

LARGEST = 6.0  # grey levels; stronger noise is not put back
_LEAST = 0.1  # weaker noise is none
_ROOM = 64  # px by which the pattern is larger than the picture: it lies elsewhere in each frame
_BLUR = 0.45  # px: neighbouring pixels of decoded footage correlate by about a fifth [measured]
_ROUNDING = 1 / 12  # variance that rounding adds by itself
_FAINT = 0.6  # below, single steps here and there have the strength


class Grain:
    """A pattern of noise for pictures of one size; the same for the same moment.

    Args:
        size: width, height of the largest part asked for, px.
        strength: standard deviation, in steps of the picture's values.
    """

    def __init__(self, size: tuple[int, int], strength: float):
        self.size = size
        self.strength = min(strength, LARGEST) if strength >= _LEAST else 0.0

    def add(
        self, picture: NDArray[np.uint8], place: tuple[int, int], where: NDArray[np.float32], moment: int
    ) -> None:
        """Add noise to `picture` [h,w] or [h,w,3] in place, where `where` [h,w] exceeds a half.

        `place` x, y is the picture's corner in the whole, `moment` the number of the frame.
        """
        if not self.strength or not where.size:
            return
        height, width = where.shape
        x, y = place[0] + 29 * moment % _ROOM, place[1] + (37 * moment + moment // _ROOM) % _ROOM
        noise = _pattern(*self.size, self.strength)[y : y + height, x : x + width]
        noise = np.where(where > 0.5, noise, np.int16(0))
        noisy = picture + (noise if picture.ndim == 2 else noise[..., None])
        picture[:] = np.clip(noisy, 0, 255, out=noisy)


@lru_cache(maxsize=4)
def _pattern(width: int, height: int, strength: float) -> NDArray[np.int16]:
    """Noise [height + room, width + room] in whole steps."""
    shape = (height + _ROOM, width + _ROOM)
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=shape).astype(np.float32), (0, 0), _BLUR)
    if strength < _FAINT:
        return np.asarray(
            np.sign(noise) * (np.abs(noise) > np.quantile(np.abs(noise), 1 - strength**2)), np.int16
        )
    wanted = (strength**2 - _ROUNDING) ** 0.5
    return np.rint(noise * np.float32(wanted / noise.std())).astype(np.int16)
