"""Dense optical flow and its Laplacian (Section III-C, Eq. 9-10)."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


class DenseFlow:
    """Eq. 9: F(x, y) = (u, v) from one grey picture to another, by OpenCV's DIS method.

    Args:
        preset: 'ultrafast', 'fast' or 'medium'.
    """

    def __init__(self, preset: str = "medium") -> None:
        presets = {
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }
        if preset not in presets:
            raise ValueError(f"The flow preset is one of {', '.join(presets)}, not {preset!r}.")
        # Newer OpenCV type stubs know only the class.
        self._method = cv2.DISOpticalFlow.create(presets[preset])

    def __call__(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow [H, W, 2] in pixels: what is at x in `source` [H, W] is at x + F(x) in `target`."""
        empty: Any = None
        flow = self._method.calc(np.ascontiguousarray(source), np.ascontiguousarray(target), empty)
        return np.asarray(flow, np.float32)


def flow_change(flow: NDArray[np.float32], blur_px: float = 3.0) -> NDArray[np.float32]:
    """Eq. 10's |L(F)| [H, W]: how much the flow bends at a pixel, averaged over a small neighbourhood.

    A rigid head seen from afar moves by a nearly linear field, whose Laplacian is zero; skin that moves on
    its own, edges of things in front of others, and flow without texture to hold it stand out.
    """
    bend = np.stack([cv2.Laplacian(flow[..., i], cv2.CV_32F, ksize=3) for i in range(2)])
    return cv2.GaussianBlur(np.sqrt((bend**2).sum(0)), (0, 0), blur_px)
