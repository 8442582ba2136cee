"""Which part of which frame one training step looks at.

Most of a head never changes, so most steps render a small crop around mouth or eyes (a few
milliseconds) and only some the whole head.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOUTH, EYES, HEAD, PATCH = "mouth", "eyes", "head", "patch"
ATTENTION_BEFORE, ATTENTION_AFTER = 4, 3
_MATTE_FACE, _MATTE_HEAD = 0, 1
_OUTLINE_POINTS = 64  # remembered per frame


class PortraitDataset(Protocol):
    """What the two stages train on; arrays may be memory-mapped. T frames of H x W."""

    frames: NDArray[np.uint8]  # [T,H,W,3] RGB
    mattes: NDArray[np.uint8]  # [T,3,H,W] face, head, person
    viewmats: NDArray[np.float32]  # [T,4,4] world to camera
    K: NDArray[np.float32]  # [3,3] px
    lips: NDArray[np.float32]  # [T,512] audio-visual encoder
    expressions: NDArray[np.float32]  # [T,52]
    landmarks68: NDArray[np.float32]  # [T,68,2] px
    silence: NDArray[np.bool_]  # [T]
    train: NDArray[np.int64]  # frame indices
    validation: NDArray[np.int64]  # frame indices, never trained on
    weights: NDArray[np.float32]  # [T] how often a frame is drawn
    stretches: NDArray[np.int64]  # [S,2] start and stop of unbroken time
    neutral68: NDArray[np.float32]  # [68,3] landmarks of the face at rest, head space
    init_points: NDArray[np.float32]  # [M,3] surface of the fitted face, head space


@dataclass(frozen=True)
class Box:
    """Pixels [x0,x1) x [y0,y1)."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    def of(self, image: NDArray) -> NDArray:
        """The part of an image [H,W,...] inside the box."""
        return image[self.y0 : self.y1, self.x0 : self.x1]

    def mask(self, inner: "Box") -> Tensor:
        """1 in the pixels [h,w] of this box that lie in `inner`, else 0."""
        inside = torch.zeros(self.height, self.width)
        inside[
            max(inner.y0 - self.y0, 0) : max(inner.y1 - self.y0, 0),
            max(inner.x0 - self.x0, 0) : max(inner.x1 - self.x0, 0),
        ] = 1
        return inside

    def camera(self, K: Tensor) -> Tensor:
        """Intrinsics [3,3] of the picture that is only this box."""
        moved = K.clone()
        moved[0, 2] -= self.x0
        moved[1, 2] -= self.y0
        return moved


@dataclass(frozen=True)
class Sample:
    """One step's target: a crop of one frame as float tensors."""

    frame: int
    kind: str
    box: Box
    target: Tensor  # [h,w,3] in [0,1]
    matte: Tensor  # [h,w] head matte in [0,1]
    mouth: Tensor  # [h,w] 1 inside the mouth box
    viewmat: Tensor  # [4,4]
    camera: Tensor  # [3,3]


class Crops:
    """Crops of fixed sizes around the landmarks of each frame."""

    def __init__(self, data: PortraitDataset, outline_share: float = 0.0):
        self.data, self.outline_share = data, outline_share
        self.size = (data.frames.shape[1], data.frames.shape[2])
        points = np.asarray(data.landmarks68, dtype=np.float32)
        eye_distance = float(np.median(np.linalg.norm(points[:, 36] - points[:, 45], axis=-1)))
        self.mouth_size = _even(1.0 * eye_distance), _even(0.78 * eye_distance)
        self.eyes_size = _even(1.7 * eye_distance), _even(0.75 * eye_distance)
        self.patch_size = _even(1.2 * eye_distance), _even(1.2 * eye_distance)
        self.mouth_centres = points[:, 48:68].mean(axis=1)
        brows_and_eyes = np.concatenate([points[:, 17:27], points[:, 36:48]], axis=1)
        self.eye_centres = brows_and_eyes.mean(axis=1)
        self.heads: dict[int, tuple[Box, NDArray[np.float32]]] = {}
        self.K = torch.as_tensor(np.asarray(data.K, dtype=np.float32))
        self.viewmats = torch.as_tensor(np.asarray(data.viewmats, dtype=np.float32))

    def mouth_box(self, frame: int) -> Box:
        """The box around the mouth of a frame."""
        return self._around(self.mouth_centres[frame], self.mouth_size)

    def eyes_box(self, frame: int) -> Box:
        """The box around eyes and brows of a frame."""
        return self._around(self.eye_centres[frame], self.eyes_size)

    def head_box(self, frame: int) -> Box:
        """The box around the head matte of a frame."""
        return self._head(frame)[0]

    def _head(self, frame: int) -> tuple[Box, NDArray[np.float32]]:
        """Box of the head matte, and points [n,2] px along its outline (the middle if it has none)."""
        if frame not in self.heads:
            self.heads[frame] = self._find_head(frame, margin=6)
        return self.heads[frame]

    def _find_head(self, frame: int, margin: int) -> tuple[Box, NDArray[np.float32]]:
        inside = np.asarray(self.data.mattes[frame, _MATTE_HEAD]) > 127
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        height, width = self.size
        box = Box(0, 0, width, height)
        if len(rows):
            box = Box(
                max(int(columns[0]) - margin, 0),
                max(int(rows[0]) - margin, 0),
                min(int(columns[-1]) + 1 + margin, width),
                min(int(rows[-1]) + 1 + margin, height),
            )
        part = box.of(inside)
        edge = (part[1:, 1:] != part[:-1, 1:]) | (part[1:, 1:] != part[1:, :-1])
        y, x = np.nonzero(edge)
        if not len(y):
            return box, np.array([[(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]], np.float32)
        chosen = np.linspace(0, len(y) - 1, min(_OUTLINE_POINTS, len(y))).astype(int)
        return box, np.stack([x[chosen] + box.x0, y[chosen] + box.y0], axis=1).astype(np.float32)

    def box(self, frame: int, kind: str, draws: Tensor) -> Box:
        """The crop of `kind`; `draws` [2] in [0,1) place a patch on the outline or anywhere on the head."""
        if kind == MOUTH:
            return self.mouth_box(frame)
        if kind == EYES:
            return self.eyes_box(frame)
        head, outline = self._head(frame)
        if kind == HEAD:
            return head
        x, y = (float(d) for d in draws)
        if x < self.outline_share:
            return self._around(outline[int(y * len(outline))], self.patch_size)
        x = (x - self.outline_share) / (1 - self.outline_share)
        centre = np.array([head.x0 + x * head.width, head.y0 + y * head.height])
        return self._around(centre, self.patch_size)

    def sample(self, frame: int, kind: str, draws: Tensor) -> Sample:
        """Read one crop."""
        box = self.box(frame, kind, draws)
        target = torch.from_numpy(np.array(box.of(self.data.frames[frame]))).float() / 255
        matte = torch.from_numpy(np.array(box.of(self.data.mattes[frame, _MATTE_HEAD]))).float() / 255
        mouth = box.mask(self.mouth_box(frame))
        return Sample(frame, kind, box, target, matte, mouth, self.viewmats[frame], box.camera(self.K))

    def _around(self, centre: NDArray, size: tuple[int, int]) -> Box:
        height, width = self.size
        w, h = min(size[0], width), min(size[1], height)
        x0 = int(np.clip(round(float(centre[0]) - w / 2), 0, width - w))
        y0 = int(np.clip(round(float(centre[1]) - h / 2), 0, height - h))
        return Box(x0, y0, x0 + w, y0 + h)


def _even(pixels: float) -> int:
    """The nearest multiple of 8, at least 16: the perceptual network halves three times."""
    return max(16, 8 * round(pixels / 8))


def attention_windows(frames: int, stretches: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frame indices [T,8] that the audio attention of each frame sees; -1 where its stretch has ended."""
    offsets = np.arange(-ATTENTION_BEFORE, ATTENTION_AFTER + 1)
    windows = np.arange(frames)[:, None] + offsets
    inside = np.zeros(windows.shape, dtype=bool)
    for start, stop in np.asarray(stretches):
        inside[start:stop] = (windows[start:stop] >= start) & (windows[start:stop] < stop)
    return np.where(inside, windows, -1)


def project(points: Tensor, viewmat: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [N,2] and depths [N] of head-space `points` [N,3]."""
    camera = points @ viewmat[:3, :3].T + viewmat[:3, 3]
    depth = camera[:, 2].clamp_min(1e-3)
    pixels = camera[:, :2] / depth[:, None] * torch.stack([K[0, 0], K[1, 1]]) + K[:2, 2]
    return pixels, depth
