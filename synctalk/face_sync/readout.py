"""The 52 coefficients read from the mesh's movement: sharper than the network's own answer (Eq. 4).

The embedded network judges each frame alone and barely sees a brow come down. This read-out knows the
person's usual face, the median of the clip or of other footage of the same person, and how far the mesh and
the network's answer have moved from it; head pose is taken out first. It was fitted by
`synctalk.training.readout`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synctalk.assets import model_path
from synctalk.errors import SyncTalkError
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES
from synctalk.face_sync.face_mesh import NET_POINTS
from synctalk.tensor_file import load_module, read_tensors, write_tensors

# Frames with a face from which a clip's median is trusted: two seconds hold a blink, a word and a rest.
MIN_FRAMES = 50
# The mesh points read: those of the coefficient network, and around the brows also their neighbours.
# fmt: off
POINTS = tuple(sorted({
    *NET_POINTS, 9, 68, 69, 104, 108, 122, 151, 189, 193, 221, 222, 223, 224, 225, 244, 298, 299, 333,
    337, 351, 413, 417, 441, 442, 443, 444, 445, 464,
}))
# fmt: on
# Points that hardly move with expressions; head pose is what aligns these to the template.
STEADY = (
    *(4, 5, 195, 197, 6, 168, 10, 151, 33, 133, 362, 263, 127, 356, 234, 454),
    *(21, 251, 54, 284, 67, 297, 109, 338, 103, 332, 98, 327),
)
_CLIP = 6.0  # standardised features beyond this are taken for failures of the mesh
_CHUNK = 2048  # frames aligned at a time


def align(
    landmarks478: NDArray[np.floating], template: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Take out head pose and size: the best similarity of the steady points onto the template's.

    Args:
        landmarks478: [T, 478, 3] px, finite.
        template: [478, 3], eye corners one unit apart.

    Returns:
        Aligned landmarks float32 [T, 478, 3], and yaw, pitch, roll float32 [T, 3] in radians.
    """
    steady = list(STEADY)
    target = template[steady] - template[steady].mean(0)
    shapes, poses = [], []
    for start in range(0, len(landmarks478), _CHUNK):
        points = landmarks478[start : start + _CHUNK].astype(np.float64)
        middle = points[:, steady].mean(1, keepdims=True)
        source = points[:, steady] - middle
        u, s, vt = np.linalg.svd(np.einsum("tki,kj->tij", source, target))
        sign = np.ones((len(points), 3))
        sign[:, 2] = np.sign(np.linalg.det(u @ vt))
        turn = np.einsum("tij,tj,tjk->tik", u, sign, vt)  # row vectors: source @ turn ~ target
        scale = (s * sign).sum(1) / np.maximum((source**2).sum((1, 2)), 1e-12)
        shape = np.einsum("tki,tij->tkj", points - middle, turn) * scale[:, None, None]
        shapes.append((shape + template[steady].mean(0)).astype(np.float32))
        yaw = np.arctan2(turn[:, 0, 2], turn[:, 2, 2])
        pitch = np.arcsin(np.clip(-turn[:, 1, 2], -1, 1))
        roll = np.arctan2(turn[:, 1, 0], turn[:, 1, 1])
        poses.append(np.stack([yaw, pitch, roll], 1).astype(np.float32))
    return np.concatenate(shapes), np.concatenate(poses)


def measured(aligned: NDArray[np.float32], blendshapes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mesh and coefficients side by side, float32 [T, M]; see `features`."""
    mesh = aligned[:, list(POINTS)].reshape(len(aligned), -1)
    own = blendshapes[:, :51]
    sure = own.clip(1e-5, 1 - 1e-5)
    # The network squeezes faint movements into the last thousandths above 0; the log-odds spread them out.
    odds = np.log(sure / (1 - sure))
    return np.concatenate([mesh, own, odds], 1)


@dataclass(frozen=True)
class UsualFace:
    """How a person's face and head are most of the time."""

    face: NDArray[np.float32]  # [M], median of `measured`
    pose: NDArray[np.float32]  # [3] radians, median

    @classmethod
    def of(
        cls, aligned: NDArray[np.float32], pose: NDArray[np.float32], blendshapes: NDArray[np.float32]
    ) -> "UsualFace":
        """The medians of a clip; arguments as those of `features`."""
        return cls(np.median(measured(aligned, blendshapes), 0), np.median(pose, 0))


def features(
    aligned: NDArray[np.float32],
    pose: NDArray[np.float32],
    blendshapes: NDArray[np.float32],
    usual: UsualFace | None = None,
) -> NDArray[np.float32]:
    """What the read-out sees: movement away from the person's usual face, float32 [T, F].

    Args:
        aligned: [T, 478, 3] from `align`.
        pose: [T, 3] radians.
        blendshapes: the network's own coefficients [T, 52].
        usual: None takes the clip's own medians.
    """
    usual = usual or UsualFace.of(aligned, pose, blendshapes)
    turn = pose - usual.pose
    moved = measured(aligned, blendshapes) - usual.face
    return np.concatenate([moved, turn, turn**2, turn[:, :1] * turn[:, 1:]], 1).astype(np.float32)


def with_face(landmarks478: NDArray[np.float32], blendshapes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Rows in which both are measured, bool [T]."""
    return np.asarray(np.isfinite(landmarks478).all((1, 2)) & np.isfinite(blendshapes).all(1))


def feature_count() -> int:
    """F, the width of `features`."""
    return 3 * len(POINTS) + 2 * 51 + 3 + 3 + 2


class ReadOut(nn.Module):
    """Features -> 52 coefficients: a linear map and one hidden layer beside it.

    Args:
        hidden: width of the hidden layer.
        dropout: share of hidden units dropped in training.

    Attributes:
        template: [478, 3], the face that meshes are aligned to.
        used: bool [52], coefficients that are taken from here; the network's own are kept for the others.
    """

    template: Tensor
    used: Tensor
    centre: Tensor
    spread: Tensor
    level: Tensor
    reach: Tensor

    def __init__(self, hidden: int = 96, dropout: float = 0.3) -> None:
        super().__init__()
        count, names = feature_count(), len(BLENDSHAPE_NAMES)
        self.hidden_width = hidden
        self.linear = nn.Linear(count, names)
        self.hidden = nn.Sequential(
            nn.Linear(count, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, names, bias=False)
        )
        nn.init.zeros_(self.linear.weight)
        self.register_buffer("template", torch.zeros(478, 3))
        self.register_buffer("used", torch.zeros(names))
        self.register_buffer("centre", torch.zeros(count))  # mean of the features in training
        self.register_buffer("spread", torch.ones(count))  # and their standard deviation
        self.register_buffer("level", torch.zeros(names))  # mean of the coefficients in training
        self.register_buffer("reach", torch.ones(names))  # and their standard deviation

    def forward(self, moved: Tensor) -> Tensor:
        """Standardised coefficients [T, 52] from standardised features [T, F] (see `standardise`)."""
        return self.linear(moved) + self.hidden(moved)

    def standardise(self, moved: Tensor) -> Tensor:
        """Features in units of their spread in training, outliers cut: [T, F] -> [T, F]."""
        return ((moved - self.centre) / self.spread).clamp(-_CLIP, _CLIP)

    def usual_face(
        self, landmarks478: NDArray[np.float32], blendshapes: NDArray[np.float32]
    ) -> UsualFace | None:
        """The usual face of a person in a clip (arguments of `apply_to`); None with too few faces."""
        seen = with_face(landmarks478, blendshapes)
        if seen.sum() < MIN_FRAMES:
            return None
        aligned, pose = align(landmarks478[seen], self.template.double().numpy())
        return UsualFace.of(aligned, pose, blendshapes[seen])

    @torch.no_grad()
    def apply_to(
        self,
        landmarks478: NDArray[np.float32],
        blendshapes: NDArray[np.float32],
        usual: UsualFace | None = None,
    ) -> NDArray[np.float32]:
        """Coefficients of a clip of one person.

        Args:
            landmarks478: [T, 478, 3] px; rows without a face are NaN.
            blendshapes: [T, 52], the network's own, NaN in the same rows.
            usual: the person's usual face where other footage tells it; None takes the clip's.

        Returns:
            float32 [T, 52] in 0..1, NaN in the same rows; `blendshapes` unchanged when fewer than
            `MIN_FRAMES` rows show a face.
        """
        seen = with_face(landmarks478, blendshapes)
        if seen.sum() < MIN_FRAMES:
            return blendshapes
        aligned, pose = align(landmarks478[seen], self.template.double().numpy())
        moved = torch.from_numpy(features(aligned, pose, blendshapes[seen], usual))
        values = (self(self.standardise(moved)) * self.reach + self.level).clamp(0, 1).numpy()
        out = blendshapes.copy()
        used = self.used.numpy() > 0
        out[np.ix_(seen, used)] = values[:, used]
        return out

    def save(self, path: Path | str) -> None:
        """Write the weights (safetensors, half precision but for the statistics)."""
        exact = ("template", "used", "centre", "spread", "level", "reach")
        state = {name: value if name in exact else value.half() for name, value in self.state_dict().items()}
        write_tensors(path, state, {"hidden": self.hidden_width})

    @classmethod
    def from_pretrained(cls, path: Path | str | None = None) -> "ReadOut":
        """Read the weights that `save` wrote; the embedded ones by default.

        Raises:
            SyncTalkError: the file is missing, damaged or not a read-out.
        """
        path = Path(path) if path is not None else model_path("blendshape_readout.safetensors")
        tensors, settings = read_tensors(path, error=SyncTalkError)
        module = cls(hidden=int(settings.get("hidden", 96)))
        load_module(path, module, tensors, error=SyncTalkError)
        return module.eval()
