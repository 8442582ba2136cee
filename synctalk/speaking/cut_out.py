"""A person cut out of a picture: no haze far from the body, no old background in the soft rim."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
_ROWS = 256  # of the small picture on which haze and colours around the rim are judged
_REACH = 5  # its pixels around the body where hair and soft edges may lie
_WINDOW = (11, 11)  # its pixels over which the colours on either side of the rim are averaged


def cut_out(picture: Image, person: Image) -> tuple[Image, Image]:
    """The person's own colours, and a matte without what does not belong to the person.

    In the rim a filmed pixel is a mixture of person and background, C = a F + (1 - a) B; laid over another
    background as it is, the old one shows as a halo. F and B are averaged around each pixel of the rim and
    corrected so that the mixture is C again.

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
    near = cv2.GaussianBlur(cv2.dilate((small >= 128).astype(np.float32), disc), (0, 0), _REACH / 3)
    weight = small / np.float32(255) * near
    near = cv2.resize(near, (width, height), interpolation=cv2.INTER_LINEAR)
    matte = np.rint(person * near).astype(np.uint8)

    colours = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    inside, outside = _mean(colours, _sure(weight)), _mean(colours, _sure(1 - weight))
    rows, columns = np.nonzero((matte > 0) & (matte < 255))
    own = picture.copy()
    if len(rows):
        at = (rows * _ROWS // height, columns * size[0] // width)
        share = matte[rows, columns, None] / np.float32(255)
        mixed = picture[rows, columns].astype(np.float32)
        guess, behind = inside[at], outside[at]
        guess += share * (mixed - share * guess - (1 - share) * behind)
        own[rows, columns] = np.rint(guess.clip(0, 255))
    return own, matte


def _sure(share: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sixth power: a pixel that is half background says next to nothing about the person."""
    squared = share * share
    return squared * squared * squared


def _mean(colours: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted mean colour around each pixel: [h,w,3], [h,w] -> [h,w,3]."""
    total = cv2.boxFilter(colours * weight[..., None], cv2.CV_32F, _WINDOW)
    return total / (cv2.boxFilter(weight, cv2.CV_32F, _WINDOW) + np.float32(1e-3))[..., None]
