"""Face-Sync attention: over time for the audio, over the face for lips and expressions (Eq. 6)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEAK = 0.02
_BEFORE, _AFTER = 4, 3  # frames of the window around frame i: i - 4 ... i + 3
_RAMP = 0.1  # height over which a half fades in, 1 cm in canonical units of 10 cm


class TemporalAudioAttention(nn.Module):
    """One lip code per frame from the audio features around it.

    Each frame's feature is compressed (512 -> 256 -> 128 -> 32), then a small network reads the eight codes
    of frames i - 4 ... i + 3 and weighs them; beyond the ends of the sound the features are zero.

    Args:
        audio_dim: width of the audio encoder's features.
        lip_dim: width of the lip code.
    """

    def __init__(self, audio_dim: int = 512, lip_dim: int = 32) -> None:
        super().__init__()
        self.audio_dim = audio_dim
        self.lip_dim = lip_dim
        self.compress = nn.Sequential(
            nn.Linear(audio_dim, 256),
            nn.LeakyReLU(_LEAK),
            nn.Linear(256, 128),
            nn.LeakyReLU(_LEAK),
            nn.Linear(128, lip_dim),
        )
        widths = [lip_dim, 16, 8, 4, 2, 1]
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            layers += [nn.Conv1d(wide, narrow, 3, padding=1), nn.LeakyReLU(_LEAK)]
        self.score = nn.Sequential(*layers)
        self.weigh = nn.Linear(_BEFORE + 1 + _AFTER, _BEFORE + 1 + _AFTER)

    def forward(self, features: Tensor, padded: bool = True) -> Tensor:
        """Lip codes of a whole sound or of a chunk of it.

        Args:
            features: float [T, audio_dim], one row per video frame.
            padded: True puts zeros beyond both ends and returns T rows. False takes the first 4 and the last
                3 rows as context only and returns T - 7 rows: how a stream is cut into chunks.

        Returns:
            float [T or T - 7, lip_dim].

        Raises:
            ValueError: `features` is not [T, audio_dim], or shorter than a window while `padded` is False.
        """
        if features.ndim != 2 or features.shape[1] != self.audio_dim:
            raise ValueError(f"Audio features must be [T, {self.audio_dim}], not {list(features.shape)}.")
        if padded:
            features = functional.pad(features, (0, 0, _BEFORE, _AFTER))
        elif len(features) < _BEFORE + 1 + _AFTER:
            raise ValueError(f"A chunk without padding needs 8 rows or more, not {len(features)}.")
        codes = self.compress(features)
        return self._attend(codes.unfold(0, _BEFORE + 1 + _AFTER, 1))

    def windows(self, windows: Tensor) -> Tensor:
        """Lip codes of separate windows: float [B, 8, audio_dim] (frames i - 4 ... i + 3) -> [B, lip_dim]."""
        return self._attend(self.compress(windows).transpose(1, 2))

    def _attend(self, codes: Tensor) -> Tensor:
        """Weighted mean over the window: [T, lip_dim, 8] -> [T, lip_dim]."""
        weights = self.weigh(self.score(codes).squeeze(1)).softmax(-1)  # [T, 8]
        return torch.einsum("tcw,tw->tc", codes, weights)


class FacialAwareAttention(nn.Module):
    """Facial-Aware Masked Attention (Eq. 6): how much each Gaussian listens to lips and to expressions.

    Two bias-free networks read a Gaussian's triplane feature and give one vector to multiply the lip feature
    with and one for the expression feature. Masks split the face at the height of the nose tip: lips reach
    nothing above it and expressions nothing below, whatever the networks learn. Inside its own half each
    mask rises from 0 at the line to 1 within 1 cm, so that no crease shows.

    Args:
        triplane_dim: width of the triplane feature.
        lip_dim: width of the lip feature.
        expression_dim: width of the expression feature.
        hidden_dim: width of the hidden layer of each network.
        nose_height: canonical y of the nose tip, in units of 10 cm; kept with the weights.
    """

    nose_height: Tensor

    def __init__(
        self,
        triplane_dim: int,
        lip_dim: int = 32,
        expression_dim: int = 7,
        hidden_dim: int = 64,
        nose_height: float = 0.0,
    ) -> None:
        super().__init__()
        self.triplane_dim = triplane_dim
        self.lips = self._network(triplane_dim, hidden_dim, lip_dim)
        self.expression = self._network(triplane_dim, hidden_dim, expression_dim)
        self.register_buffer("nose_height", torch.tensor(float(nose_height)))

    @staticmethod
    def _network(wide: int, hidden: int, out: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(wide, hidden, bias=False),
            nn.LeakyReLU(_LEAK),
            nn.Linear(hidden, hidden, bias=False),
            nn.LeakyReLU(_LEAK),
            nn.Linear(hidden, out, bias=False),
        )

    def masks(self, heights: Tensor) -> tuple[Tensor, Tensor]:
        """Lip mask and expression mask in 0..1, float [N] each, from canonical heights y [N] (10 cm)."""
        above = (heights - self.nose_height) / _RAMP
        return (-above).clamp(0, 1), above.clamp(0, 1)

    def forward(self, features: Tensor, heights: Tensor) -> tuple[Tensor, Tensor]:
        """Attention of each Gaussian, masked.

        Args:
            features: float [N, triplane_dim].
            heights: canonical y of each Gaussian, float [N], in units of 10 cm (up is positive).

        Returns:
            lip_attention [N, lip_dim] and expression_attention [N, expression_dim], each in 0..2.

        Raises:
            ValueError: shapes do not fit.
        """
        if (
            features.ndim != 2
            or features.shape[1] != self.triplane_dim
            or heights.shape != features.shape[:1]
        ):
            raise ValueError(
                f"Attention needs features [N, {self.triplane_dim}] and heights [N], "
                f"not {list(features.shape)} and {list(heights.shape)}."
            )
        lip_mask, expression_mask = self.masks(heights)
        return self._attention(self.lips, features, lip_mask), self._attention(
            self.expression, features, expression_mask
        )

    @staticmethod
    def _attention(network: nn.Sequential, features: Tensor, mask: Tensor) -> Tensor:
        """Masked attention [N,C]; Gaussians outside the half are zero and cost nothing."""
        rows = torch.nonzero(mask).squeeze(1)
        # Twice a sigmoid: 1 where the features still say nothing, so that neither half starts out dead.
        inside = 2 * network(features.index_select(0, rows)).sigmoid() * mask.index_select(0, rows)[:, None]
        return inside.new_zeros(len(mask), inside.shape[1]).index_copy(0, rows, inside)
