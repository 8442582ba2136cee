"""A person cut out of a picture: no haze far from the body, no old background in the soft rim."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
_ROWS = 256  # of the small picture on which haze and colours around the rim are judged
_REACH = 5  # its pixels around the body where hair and soft edges may lie
_WINDOW = (11, 11)  # its pixels over which the colours on either side of the rim are averaged
# Mattes pass through a video codec: all but clear counts as clear, all but opaque as opaque.
_LEVELS = np.interp(np.arange(256), (8, 247), (0, 255)).round().astype(np.uint8)


def cut_out(picture: Image, person: Image) -> tuple[Image, Image]:
    """The person's own colours, and a matte without what does not belong to the person.

    In the rim a filmed pixel is a mixture of person and background, C = a F + (1 - a) B; laid over another
    background as it is, the old one shows as a halo. F and B are the mean colours of what is surely person
    and surely background nearby; of what they leave unexplained in C, F gets the share a.

    Args:
        picture: uint8 RGB [H,W,3].
        person: soft matte uint8 [H,W].

    Returns:
        Colours uint8 [H,W,3], which differ from `picture` only in the rim, and the matte uint8 [H,W].
    """
    height, width = person.shape
    size = (max(1, round(width * _ROWS / height)), _ROWS)
    small = cv2.resize(person, size, interpolation=cv2.INTER_AREA)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _REACH + 1, 2 * _REACH + 1))
    near = cv2.GaussianBlur(cv2.dilate(cv2.inRange(small, 128, 255), disc), (0, 0), _REACH / 3)
    weight = np.float32(255**-2) * cv2.multiply(small, near, dtype=cv2.CV_32F)
    near = cv2.resize(near, (width, height), interpolation=cv2.INTER_LINEAR)
    matte = np.asarray(cv2.LUT(cv2.multiply(person, near, scale=1 / 255), _LEVELS), np.uint8)

    colours = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    inside, outside = _mean(colours, _sure(weight)), _mean(colours, _sure(1 - weight))
    own = picture.copy()
    rim = np.flatnonzero(cv2.inRange(matte, 1, 254))
    if len(rim):
        rows, columns = np.divmod(rim, width)
        at = rows * _ROWS // height * size[0] + columns * size[0] // width
        share = (matte.ravel()[rim] / np.float32(255))[:, None]
        guess, behind = inside.reshape(-1, 3).take(at, 0), outside.reshape(-1, 3).take(at, 0)
        guess += share * (picture.reshape(-1, 3).take(rim, 0) - share * guess - (1 - share) * behind)
        own.reshape(-1, 3)[rim] = np.rint(guess.clip(0, 255))
    return own, matte


def _sure(share: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sixth power: a pixel that is half background says next to nothing about the person."""
    squared = share * share
    return squared * squared * squared


def _mean(colours: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted mean colour around each pixel: [h,w,3], [h,w] -> [h,w,3]."""
    total = cv2.boxFilter(colours * weight[..., None], cv2.CV_32F, _WINDOW)
    return total / (cv2.boxFilter(weight, cv2.CV_32F, _WINDOW) + np.float32(1e-3))[..., None]
