"""The cheek-and-chin mask, widened: where the source frame must not show through (Section III-F)."""

import cv2
import numpy as np


def widen(mask: np.ndarray, reach_px: float) -> np.ndarray:
    """Grow a mask by a distance.

    Args:
        mask: bool or uint8 [H,W], not 0 inside.
        reach_px: pixels to grow by.

    Returns:
        bool [H,W].
    """
    outside = (np.asarray(mask) == 0).astype(np.uint8)
    return cv2.distanceTransform(outside, cv2.DIST_L2, 3) <= reach_px


def cheeks_and_chin(face: np.ndarray, eye_line: float, mouth_line: float, reach_px: float) -> np.ndarray:
    """The face mask grown over cheeks and chin but not over the forehead.

    Args:
        face: face matte, uint8 [H,W] (cut at 128) or bool.
        eye_line, mouth_line: image rows of eyes and mouth, px; growth starts at the first and is whole
            at the second, so that hair and ears stay as they are.
        reach_px: growth at cheeks and chin, px (10-30 at random in training, 15 at inference, for 512 px).

    Returns:
        bool [H,W], the widened mask (it contains the face).
    """
    inside = face if face.dtype == bool else face >= 128
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
    rows = np.arange(face.shape[0], dtype=np.float32)[:, None]
    reach = reach_px * np.clip((rows - eye_line) / max(mouth_line - eye_line, 1.0), 0, 1)
    return inside | (distance <= reach) & (reach > 0)
