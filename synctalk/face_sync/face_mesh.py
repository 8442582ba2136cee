"""The 478-point face mesh and the 52-coefficient network of the embedded model, on one rotated crop."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.face_sync.face_detector import Face
from synctalk.face_sync.tflite import LiteModel

_SIDE = 256
_MARGIN = 1.5  # crop side over face box side

# The mesh points which the coefficient network reads.
# fmt: off
NET_POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66,
    67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144,
    145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173,
    176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284,
    285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332,
    334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
)
# fmt: on


@dataclass(frozen=True)
class Crop:
    """A rotated square in the frame, pixels: centre (x, y), side, angle (radians, x axis towards y)."""

    x: float
    y: float
    side: float
    angle: float

    def matrix(self) -> NDArray[np.float64]:
        """Affine [2, 3] from crop pixels (0..256) to frame pixels."""
        cos, sin = np.cos(self.angle) * self.side / _SIDE, np.sin(self.angle) * self.side / _SIDE
        half = _SIDE / 2
        return np.array(
            [
                [cos, -sin, self.x - half * cos + half * sin],
                [sin, cos, self.y - half * sin - half * cos],
            ]
        )


def crop_around_face(face: Face) -> Crop:
    """The crop the mesh wants: centred on the detection, upright along the eyes, 1.5 times its long side."""
    x, y = (face.box[:2] + face.box[2:]) / 2
    across = face.eyes[1] - face.eyes[0]
    side = float((face.box[2:] - face.box[:2]).max()) * _MARGIN
    return Crop(float(x), float(y), side, float(np.arctan2(across[1], across[0])))


def crop_around_mesh(landmarks478: NDArray[np.floating]) -> Crop:
    """The next frame's crop from this frame's mesh: the same rule, on the mesh's own rotated bounding box."""
    points = landmarks478[:, :2].astype(np.float64)
    across = points[263] - points[33]
    angle = float(np.arctan2(across[1], across[0]))
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    upright = points @ axes.T
    low, high = upright.min(0), upright.max(0)
    x, y = ((low + high) / 2) @ axes
    return Crop(float(x), float(y), float((high - low).max()) * _MARGIN, angle)


class FaceMesh:
    """Crop -> 478 points and the probability that the crop shows a face.

    Args:
        content: bytes of the mesh's .tflite file.
        threads: CPU threads.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        self._model = LiteModel(content, threads)

    def __call__(self, frame: NDArray[np.uint8], crop: Crop) -> tuple[NDArray[np.float32], float]:
        """Landmarks float32 [478, 3] (x, y in pixels of `frame`, z in the same scale) and presence 0..1."""
        matrix = crop.matrix()
        picture = cv2.warpAffine(
            frame, matrix, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=0
        )
        out = self._model(np.asarray(picture, np.float32)[None] / np.float32(255))
        points = out["Identity"].reshape(478, 3).astype(np.float64)
        logit = float(out["Identity_1"].reshape(-1)[0])
        landmarks = np.empty((478, 3), np.float32)
        landmarks[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        landmarks[:, 2] = points[:, 2] * (crop.side / _SIDE)
        return landmarks, float(1 / (1 + np.exp(-np.clip(logit, -60, 60))))


class BlendshapeNet:
    """Mesh -> 52 coefficients (Eq. 4), by the embedded network.

    Args:
        content: bytes of the network's .tflite file.
        threads: CPU threads.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        self._model = LiteModel(content, threads)
        self._points = list(NET_POINTS)

    def __call__(self, landmarks478: NDArray[np.floating]) -> NDArray[np.float32]:
        """Coefficients float32 [52] in 0..1 in `BLENDSHAPE_NAMES` order, from landmarks [478, >=2] px."""
        value = landmarks478[self._points, :2].astype(np.float32)[None]
        (out,) = self._model(value).values()
        # Its first output means 'neutral'; the others are the 51 named ones, and tongueOut has none.
        return np.append(out[1:], np.float32(0)).clip(0, 1)
