"""What surrounds the encoder while it is trained and is thrown away afterwards: face encoder, decoder,
read-outs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synctalk.face_sync.audio_visual_encoder import FEATURES
from synctalk.face_sync.mouth_measures import MOUTH_MEASURES
from synctalk.face_sync.sync_expert import EMBEDDING
from synctalk.training.corpus.mouth_motion import ARTICULATORS
from synctalk.training.corpus.phones import PHONE_NAMES

FACE_FEATURES = 64


class FaceEncoder(nn.Module):
    """A picture of the same lips at another time [B, 1, 24, 32] -> who they belong to [B, 64]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 3 * 4, FACE_FEATURES),
        )  # fmt: skip

    def forward(self, picture: Tensor) -> Tensor:
        return self.layers(picture)


class LipDecoder(nn.Module):
    """Audio and face features, joined, to the picture of the lips now: [B, 512], [B, 64] -> [B, 1, 24, 32]
    (Eq. 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(FEATURES + FACE_FEATURES, 64 * 3 * 4)
        self.layers = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1),
            nn.ReLU(), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 1, 3, 1, 1),
        )  # fmt: skip

    def forward(self, audio: Tensor, face: Tensor) -> Tensor:
        start = self.start(torch.cat([audio, face], dim=1)).unflatten(1, (64, 3, 4))
        return torch.sigmoid(self.layers(start))


class ReadOuts(nn.Module):
    """Linear heads on the feature: what a plain reader must be able to take from it.

    opening [B, 3] at frames i-1, i, i+1; articulators [B, 9]; measures [B, 11]; phone logits [B, 3, 42];
    sync [B, 256], the audio side of Eq. 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.opening = nn.Linear(FEATURES, 3)
        self.articulators = nn.Linear(FEATURES, len(ARTICULATORS))
        self.measures = nn.Linear(FEATURES, len(MOUTH_MEASURES))
        self.phones = nn.Linear(FEATURES, 3 * len(PHONE_NAMES))
        self.sync = nn.Linear(FEATURES, EMBEDDING)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {
            "opening": self.opening(features),
            "articulators": self.articulators(features),
            "measures": self.measures(features),
            "phones": self.phones(features).unflatten(1, (3, len(PHONE_NAMES))),
            "sync": torch.relu(self.sync(features)),
        }
