"""The lip-sync expert: do five frames of mouth belong to 200 ms of sound? (paper Eq. 1-2)."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from synctalk.assets import model_path
from synctalk.errors import AvatarError
from synctalk.face_sync.mouth_measures import MOUTH_MEASURES

EMBEDDING = 256
MOUTH_FRAMES = 5
WEIGHTS = "sync_expert.safetensors"


def sync_probability(face: Tensor, audio: Tensor) -> Tensor:
    """Eq. 1: cosine similarity of non-negative embeddings [..., D], so a number in [0, 1]: [...]."""
    return F.cosine_similarity(face, audio, dim=-1, eps=1e-6).clamp(0.0, 1.0)


def sync_loss(probability: Tensor, in_sync: Tensor) -> Tensor:
    """Eq. 2: binary cross-entropy of the probability [B] against 1 (in sync) or 0 [B]; a scalar."""
    p = probability.float().clamp(1e-4, 1 - 1e-4)
    return -(in_sync * p.log() + (1 - in_sync) * (1 - p).log()).mean()


class SyncExpert(nn.Module):
    """Two towers into one space: a mel window [B, 80, 16] and mouth measures [B, 5, 11], both to [B, 256]
    >= 0."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((80, 160, 1), (160, 160, 2), (160, 224, 2)):
            layers += [
                nn.Conv1d(inputs, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm1d(outputs),
                nn.ReLU(),
            ]
        self.audio = nn.Sequential(*layers, nn.Flatten(), nn.Linear(224 * 4, EMBEDDING))
        wide = 384
        self.mouth = nn.Sequential(
            nn.Flatten(), nn.Linear(MOUTH_FRAMES * len(MOUTH_MEASURES), wide), nn.LayerNorm(wide), nn.ReLU(),
            nn.Linear(wide, wide), nn.LayerNorm(wide), nn.ReLU(), nn.Linear(wide, EMBEDDING),
        )  # fmt: skip

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike | None = None) -> SyncExpert:
        """The expert with the embedded weights or those of a safetensors file, in eval mode.

        Raises AvatarError when the file is unreadable or not an expert's.
        """
        file = Path(path) if path is not None else model_path(WEIGHTS)
        expert = cls()
        try:
            state = {name: value.to(torch.float32) for name, value in load_file(file).items()}
            missing, unknown = expert.load_state_dict(state, strict=False)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise AvatarError(f"{file} cannot be read as sync expert weights ({error}).") from error
        missing = [name for name in missing if not name.endswith("num_batches_tracked")]
        if missing or unknown:
            raise AvatarError(f"{file}: tensors do not fit the sync expert: {(missing + unknown)[:3]}.")
        return expert.eval()

    def save_pretrained(self, path: str | os.PathLike) -> None:
        """Write the weights as float16 safetensors."""
        state = {k: v for k, v in self.state_dict().items() if not k.endswith("num_batches_tracked")}
        save_file({k: v.detach().to(torch.float16).contiguous() for k, v in state.items()}, Path(path))

    def embed_audio(self, windows: Tensor) -> Tensor:
        """Mel windows [B, 80, 16] in [-4, 4] -> [B, 256], non-negative."""
        return torch.relu(self.audio(windows))

    def embed_mouth(self, measures: Tensor) -> Tensor:
        """Normalised mouth measures [B, 5, 11] -> [B, 256], non-negative."""
        return torch.relu(self.mouth(measures))

    def forward(self, windows: Tensor, measures: Tensor) -> Tensor:
        """P_sync (Eq. 1) of pairs: [B]."""
        return sync_probability(self.embed_mouth(measures), self.embed_audio(windows))
