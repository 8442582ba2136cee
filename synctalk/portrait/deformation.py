"""Deformation: what sound and expression do to the Gaussians (Eq. 19-20)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from synctalk.portrait.fused_offsets import half_offsets
from synctalk.portrait.settings import PortraitSettings


@dataclass
class Offsets:
    """Offsets of Gaussian attributes, before activation."""

    means: Tensor  # [N,3]
    quats: Tensor  # [N,4]
    scales: Tensor  # [N,3], added to the logarithm
    colors: Tensor | None  # [N,3]

    def spread(self, rows: Tensor, count: int) -> "Offsets":
        """The same offsets as those of `rows` [n] among `count` Gaussians; the others have none."""

        def place(values: Tensor) -> Tensor:
            return values.new_zeros(count, values.shape[1]).index_copy(0, rows, values)

        colors = None if self.colors is None else place(self.colors)
        return Offsets(place(self.means), place(self.quats), place(self.scales), colors)


class Deformation(nn.Module):
    """A shared trunk and one regressor per attribute.

    The first layer is written as three maps (triplane feature, attended lips, attended expression)
    whose sum is one linear layer of the concatenation: the first is constant per Gaussian, so
    inference computes it once.
    """

    def __init__(self, settings: PortraitSettings):
        super().__init__()
        width = settings.hidden
        self.from_feature = nn.Linear(settings.triplane_dim, width)
        self.from_lower = nn.Linear(settings.lower_dim, width, bias=False)
        self.from_upper = nn.Linear(settings.upper_dim, width, bias=False)
        self.trunk = nn.ModuleList([nn.Linear(width, width) for _ in range(settings.deform_layers - 1)])
        outputs = {"means": 3, "quats": 4, "scales": 3} | ({"colors": 3} if settings.deform_colors else {})
        self.regressors = nn.ModuleDict({name: _regressor(width, size) for name, size in outputs.items()})
        self.widths = tuple(outputs.values())

    def forward(self, features: Tensor, lower: Tensor, upper: Tensor) -> Offsets:
        """Offsets for `features` [N,D] with attended conditions `lower` [N,L] and `upper` [N,U]."""
        hidden = self.from_feature(features)
        for first, attended in ((self.from_lower, lower), (self.from_upper, upper)):
            if bool(attended.detach().any()):  # a crop of the mouth has no upper half
                hidden = hidden + first(attended)
        hidden = hidden.relu()
        for layer in self.trunk:
            hidden = layer(hidden).relu()
        with torch.autocast(hidden.device.type, enabled=False):  # rounded offsets would jitter
            found = {name: regressor(hidden.float()) for name, regressor in self.regressors.items()}
        return Offsets(found["means"], found["quats"], found["scales"], found.get("colors"))

    def of_half(
        self, features: Tensor, mask: Tensor, attention: nn.Sequential, condition: Tensor, lower: bool
    ) -> Tensor:
        """What `forward` gives for Gaussians of one half, side by side [n,10 or 13].

        `features` [n,D], `mask` [n] of Eq. 6, `attention` the half's network, `condition` [C] the half's.
        """
        looks = [layer.weight for layer in attention if isinstance(layer, nn.Linear)]
        slope = next(layer.negative_slope for layer in attention if isinstance(layer, nn.LeakyReLU))
        device = features.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        regressors = [r for r in self.regressors.values() if isinstance(r, nn.Linear)]
        with torch.autocast(device, enabled=False):
            return half_offsets(
                features,
                mask,
                condition.float(),
                looks,
                (
                    self.from_feature.weight,
                    self.from_feature.bias,
                    (self.from_lower if lower else self.from_upper).weight,
                ),
                [(layer.weight, layer.bias) for layer in self.trunk if isinstance(layer, nn.Linear)],
                (torch.cat([r.weight for r in regressors]), torch.cat([r.bias for r in regressors])),
                slope,
                dtype,
            )

    def split(self, made: Tensor) -> Offsets:
        """The columns of `of_half` [n,10 or 13] by attribute."""
        parts = made.split(list(self.widths), dim=1)
        return Offsets(parts[0], parts[1], parts[2], parts[3] if len(parts) > 3 else None)


def _regressor(inputs: int, outputs: int) -> nn.Linear:
    """A last layer that starts with hardly any offset."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)
    return layer
