"""Three feature planes of several resolutions (Eq. 16-17)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_AXES = ((0, 1), (1, 2), (2, 0))


class TriPlane(nn.Module):
    """Dense planes over XY, YZ and ZX; a point's feature is what they hold there, concatenated."""

    def __init__(self, levels: tuple[int, ...], features: int, extent: float):
        super().__init__()
        self.extent = extent
        self.planes = nn.ParameterList(
            [nn.Parameter(0.1 * torch.randn(3, features, size, size)) for size in levels]
        )

    def forward(self, points: Tensor) -> Tensor:
        """Features [N, 3 * levels * features] at `points` [N,3] (head space, 10 cm).

        Points outside the cube read its border. No gradient flows to the points: where a Gaussian
        sits is for the picture to say, and the backward pass is half as dear.
        """
        unit = points.detach() / self.extent
        grid = torch.stack([unit[:, axes] for axes in _AXES])[:, None]
        sampled = [
            F.grid_sample(plane, grid, mode="bilinear", padding_mode="border", align_corners=True)
            for plane in self.planes
        ]
        return torch.cat(sampled, dim=1).squeeze(2).permute(2, 0, 1).reshape(len(points), -1)
