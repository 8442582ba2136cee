"""Where faces are: the short-range single-shot detector (128x128, 896 anchors) of the embedded model."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.face_sync.tflite import LiteModel

_SIDE = 128
_MIN_SCORE = 0.5
_MAX_OVERLAP = 0.3
_NO_ROOM = 16  # frames thinner than this hold no face worth looking for, pixels


@dataclass(frozen=True)
class Face:
    """A detected face, in pixels of the frame.

    Attributes:
        box: float64 [4], left, top, right, bottom.
        eyes: float64 [2, 2], centre of the subject's right eye, then of the left one (x, y).
        score: 0..1.
    """

    box: NDArray[np.float64]
    eyes: NDArray[np.float64]
    score: float


def anchors() -> NDArray[np.float64]:
    """Centres of the 896 anchors, [896, 2] (x, y) in 0..1: two per cell of a 16x16 grid, then six per 8x8."""
    parts = []
    for cells, repeats in ((16, 2), (8, 6)):
        centre = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(centre, centre, indexing="ij")
        parts.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), repeats, 0))
    return np.concatenate(parts)


class FaceDetector:
    """Finds the faces of a frame.

    Args:
        content: bytes of the detector's .tflite file.
        threads: CPU threads.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        self._model = LiteModel(content, threads)
        self._anchors = anchors()

    def __call__(self, frame: NDArray[np.uint8], search_small: bool = True) -> list[Face]:
        """The faces of `frame` (uint8 RGB [H, W, 3]), most certain first; an empty list when there are none.

        Args:
            frame: the picture.
            search_small: when the whole frame shows no face, look again in five overlapping windows of
                half its size: the detector misses faces narrower than about a tenth of what it sees.
        """
        height, width = frame.shape[:2]
        if min(height, width) < _NO_ROOM:
            return []
        faces = self._detect(frame)
        if not faces and search_small:
            side = max(min(height, width) // 2, min(2 * _NO_ROOM, height, width))
            for top in (0, (height - side) // 2, height - side):
                for left in range(0, width - side + 1, max(1, min(side // 2, width - side) or 1)):
                    part = frame[top : top + side, left : left + side]
                    shift = np.array([left, top], dtype=np.float64)
                    faces += [
                        Face(f.box + np.tile(shift, 2), f.eyes + shift, f.score) for f in self._detect(part)
                    ]
            faces = merge(faces)
        return faces

    def _detect(self, frame: NDArray[np.uint8]) -> list[Face]:
        height, width = frame.shape[:2]
        # Letterbox into the square the network sees; `scale` is frame pixels per network pixel.
        scale = max(height, width) / _SIDE
        corner_x, corner_y = (width - scale * _SIDE) / 2, (height - scale * _SIDE) / 2
        matrix = np.array([[scale, 0, corner_x], [0, scale, corner_y]])
        square = cv2.warpAffine(
            frame, matrix, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=0
        )
        out = self._model((square.astype(np.float32) / 127.5 - 1)[None])
        logits = out["classificators"][0, :, 0].clip(-100, 100)
        kept = np.flatnonzero(logits > np.log(_MIN_SCORE / (1 - _MIN_SCORE)))
        values = out["regressors"][0, kept].astype(np.float64)
        # Per anchor: box centre and size, then six points (the first two are the eyes), all in network
        # pixels relative to the anchor's centre.
        points = values.reshape(-1, 8, 2)
        centre = self._anchors[kept] * _SIDE
        corner = np.array([corner_x, corner_y])
        faces = []
        for i, anchor in enumerate(kept):
            middle, size = centre[i] + points[i, 0], points[i, 1]
            if size.min() <= 0 or not np.isfinite(points[i]).all():
                continue
            box = np.concatenate([middle - size / 2, middle + size / 2]) * scale + np.tile(corner, 2)
            eyes = (centre[i] + points[i, 2:4]) * scale + corner
            faces.append(Face(box, eyes, float(1 / (1 + np.exp(-logits[anchor])))))
        return merge(faces)


def merge(faces: list[Face]) -> list[Face]:
    """Weighted non-maximum suppression: overlapping detections become their mean, weighted by score."""
    left = sorted(faces, key=lambda face: -face.score)
    merged = []
    while left:
        group = [face for face in left if face is left[0] or overlap(left[0].box, face.box) > _MAX_OVERLAP]
        left = [face for face in left if not any(face is one for one in group)]
        weight = np.array([face.score for face in group])
        weight /= weight.sum()
        box = np.tensordot(weight, np.stack([face.box for face in group]), 1)
        eyes = np.tensordot(weight, np.stack([face.eyes for face in group]), 1)
        merged.append(Face(box, eyes, group[0].score))
    return merged


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    size = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if size.min() <= 0:
        return 0.0
    shared = float(size.prod())
    return shared / float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


def main_face(faces: list[Face], width: int, height: int) -> Face | None:
    """The largest and most central face: area, discounted by the distance from the frame's middle."""

    def weight(face: Face) -> float:
        size = face.box[2:] - face.box[:2]
        offset = (face.box[2:] + face.box[:2]) / 2 - np.array([width, height]) / 2
        distance = np.hypot(*offset) / (np.hypot(width, height) / 2)
        return float(size.prod() * (1 - 0.5 * min(distance, 1.0)))

    return max(faces, key=weight, default=None)
