"""Where to look in the footage: lips and head from the mesh, and the static crop around the face."""

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.video import VideoInfo

FOREHEAD, CHIN, NOSE, LIP_UP, LIP_DOWN, EYE_RIGHT, EYE_LEFT = 10, 152, 1, 13, 14, 33, 263
CROP_OVER_FACE = 2.4  # side of the crop over the face's height: hair, neck and shoulders come along


def lip_gap(landmarks478: NDArray[np.floating]) -> NDArray[np.float64]:
    """Inner lip distance over the median eye distance, [T]."""
    gap = np.linalg.norm(landmarks478[:, LIP_UP, :2] - landmarks478[:, LIP_DOWN, :2], axis=1)
    eyes = np.linalg.norm(landmarks478[:, EYE_RIGHT, :2] - landmarks478[:, EYE_LEFT, :2], axis=1)
    return gap / np.median(eyes)


def head_angles(landmarks478: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rough yaw and pitch [T,2] from where the nose tip lies between eyes and chin; any scale."""
    eyes = (landmarks478[:, EYE_RIGHT, :2] + landmarks478[:, EYE_LEFT, :2]) / 2
    across = np.linalg.norm(landmarks478[:, EYE_RIGHT, :2] - landmarks478[:, EYE_LEFT, :2], axis=1)
    nose = landmarks478[:, NOSE, :2] - eyes
    return nose / np.median(across)


def choose_crop(landmarks478: NDArray[np.floating], info: VideoInfo) -> tuple[int, int, int, int]:
    """The square x0, y0, x1, y1 px that keeps the head with hair and shoulders through the whole video.

    A square video is used whole.
    """
    if info.width == info.height:
        return 0, 0, info.width, info.height
    low = np.percentile(landmarks478[..., :2].min(axis=1), 2, axis=0)
    high = np.percentile(landmarks478[..., :2].max(axis=1), 98, axis=0)
    tall = float(np.median(np.linalg.norm(landmarks478[:, FOREHEAD, :2] - landmarks478[:, CHIN, :2], axis=1)))
    side = int(min(max(CROP_OVER_FACE * tall, (high - low).max() * 1.3), info.width, info.height)) // 2 * 2
    centre = (low + high) / 2
    x0 = int(np.clip(centre[0] - side / 2, 0, info.width - side))
    y0 = int(np.clip(centre[1] - side / 2, 0, info.height - side))
    return x0, y0, x0 + side, y0 + side


def cut_out(frame: NDArray[np.uint8], crop: tuple[int, int, int, int], size: int) -> NDArray[np.uint8]:
    """The crop of a frame, scaled to size x size."""
    x0, y0, x1, y1 = crop
    part = frame[y0:y1, x0:x1]
    if part.shape[:2] == (size, size):
        return np.ascontiguousarray(part)
    method = cv2.INTER_AREA if x1 - x0 > size else cv2.INTER_CUBIC
    return cv2.resize(part, (size, size), interpolation=method).astype(np.uint8)
