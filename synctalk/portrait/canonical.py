"""Canonical Gaussians: what the head looks like at rest (Eq. 18).

Every attribute has an explicit value per Gaussian. Those that the setting names are also predicted
from the triplane by a head of their own, and the sum counts: the planes carry what neighbours share,
the explicit part the detail finer than a cell.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synctalk.portrait.settings import PortraitSettings

SH_C0 = 0.28209479177387814
SH_C1 = 0.4886025119029199
_PREDICTED = {
    "sh_opacity": ("sh", "opacities"),
    "all": ("means", "quats", "scales", "opacities", "sh"),
    "none": (),
    "random": (),
}
# Explicit parameters, one row per Gaussian; densification edits exactly these.
PER_GAUSSIAN = ("means", "quats", "scales", "opacities", "sh", "shifts")


@dataclass
class Attributes:
    """Gaussian attributes before activation."""

    means: Tensor  # [N,3] head space, 10 cm
    quats: Tensor  # [N,4] wxyz, any length
    scales: Tensor  # [N,3] natural log
    opacities: Tensor  # [N] logit
    sh: Tensor  # [N,K,3]
    shifts: Tensor  # [N,3,3] how far a mean moves (last axis) per step of the view along each axis


class CanonicalGaussians(nn.Module):
    """Explicit attributes plus one small MLP head per attribute that the triplane predicts."""

    def __init__(self, count: int, settings: PortraitSettings):
        super().__init__()
        self.coefficients = (settings.sh_degree + 1) ** 2
        self.means = nn.Parameter(torch.zeros(count, 3))
        self.quats = nn.Parameter(F.normalize(torch.ones(count, 4), dim=1))
        self.scales = nn.Parameter(torch.full((count, 3), -4.0))
        self.opacities = nn.Parameter(torch.zeros(count))
        self.sh = nn.Parameter(torch.zeros(count, self.coefficients, 3))
        self.shifts = nn.Parameter(torch.zeros(count, 3, 3))
        widths = {"means": 3, "quats": 4, "scales": 3, "opacities": 1, "sh": 3 * self.coefficients}
        self.heads = nn.ModuleDict(
            {
                name: _head(settings.triplane_dim, settings.head_hidden, widths[name])
                for name in _PREDICTED[settings.predicted]
            }
        )

    def __len__(self) -> int:
        return self.means.shape[0]

    def forward(self, features: Tensor, rows: Tensor | None = None) -> Attributes:
        """Attributes of the Gaussians `rows` [n] (all of them by default); `features` [n,D] are theirs."""
        values = {}
        for name in PER_GAUSSIAN:
            value = getattr(self, name)
            if rows is not None:
                value = value.index_select(0, rows)
            if name in self.heads:
                value = value + self.heads[name](features).float().reshape(value.shape)
            values[name] = value
        return Attributes(**values)


def _head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers; the last starts at zero so that training starts from the explicit values."""
    last = nn.Linear(hidden, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), last)


def sh_to_rgb(sh: Tensor, means: Tensor, viewmat: Tensor) -> Tensor:
    """Colours [N,3] seen from the camera `viewmat` [4,4]; `sh` [N,K,3] of degree 0 or 1, `means` [N,3].

    Not clamped: the picture is clamped once, after blending.
    """
    colors = SH_C0 * sh[:, 0] + 0.5
    if sh.shape[1] == 1:
        return colors
    camera = -viewmat[:3, :3].T @ viewmat[:3, 3]
    x, y, z = (SH_C1 * F.normalize(means.detach() - camera, dim=1)).unbind(1)
    return colors - y[:, None] * sh[:, 1] + z[:, None] * sh[:, 2] - x[:, None] * sh[:, 3]


def rgb_to_sh(colors: Tensor) -> Tensor:
    """The constant coefficient [N,3] that shows `colors` [N,3]."""
    return (colors - 0.5) / SH_C0
