"""Random scenes for the rasterizer's tests."""

from typing import NamedTuple

import torch
from torch import Tensor

NAMES = ("means", "quats", "scales", "opacities", "colors", "viewmat")


class Case(NamedTuple):
    """The arguments of `rasterize`, in its order."""

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    viewmat: Tensor
    K: Tensor
    width: int
    height: int


def random_case(
    count: int = 120, width: int = 70, height: int = 45, channels: int = 3, seed: int = 0, size: float = 0.12
) -> Case:
    """Gaussians of all shapes before a tilted camera, some of them outside of the picture."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    means = (uniform(count, 3) - 0.5) * torch.tensor([3.4, 2.4, 2.0])
    scales = size * torch.exp(0.7 * torch.randn(count, 3, generator=generator))
    viewmat = torch.eye(4)
    viewmat[:3, :3] = torch.linalg.matrix_exp(
        torch.tensor([[0, 0.2, 0.1], [-0.2, 0, -0.15], [-0.1, 0.15, 0]])
    )
    viewmat[:3, 3] = torch.tensor([0.1, -0.05, 4.0])
    K = torch.tensor([[1.2 * width, 0, 0.48 * width], [0, 1.25 * width, 0.53 * height], [0, 0, 1]])
    quats = torch.randn(count, 4, generator=generator)
    return Case(means, quats, scales, uniform(count), uniform(count, channels), viewmat, K, width, height)
