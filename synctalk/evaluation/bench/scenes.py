"""A made-up head of Gaussians for measuring: repeatable, opaque, half of the picture."""

from typing import NamedTuple

import torch
from torch import Tensor


class Scene(NamedTuple):
    """The arguments of `rasterize`, in its order."""

    means: Tensor  # [N, 3]
    quats: Tensor  # [N, 4]
    scales: Tensor  # [N, 3]
    opacities: Tensor  # [N]
    colors: Tensor  # [N, 3]
    viewmat: Tensor  # [4, 4]
    K: Tensor  # [3, 3]
    width: int
    height: int


def head_scene(
    count: int = 20_000, size_px: int = 512, radius_px: float | None = None, seed: int = 0
) -> Scene:
    """`count` Gaussians on an egg that fills half of a square picture.

    Flat flakes on the surface, front and back, as training leaves them. `radius_px` is the mean half-width of
    their footprints (where alpha falls under 1/255); by default the surface is covered equally well for every
    count and size: 9 px for 20 k at 512 px.
    """
    if radius_px is None:
        radius_px = 9.0 * (size_px / 512) * (20_000 / max(count, 1)) ** 0.5
    generator = torch.Generator().manual_seed(seed)
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    radii = torch.tensor([0.83, 1.14, 1.0])
    depth = 0.98 + 0.04 * torch.rand(count, 1, generator=generator)
    means = normals * radii * depth

    # The quaternion that turns z to the normal; flakes are thin along it.
    outward = torch.nn.functional.normalize(normals / radii, dim=-1)
    quats = torch.stack(
        [1 + outward[:, 2], -outward[:, 1], outward[:, 0], torch.zeros(count)], dim=-1
    ) + 0.05 * torch.randn(count, 4, generator=generator)

    distance, focal_px = 10.0, size_px * 4.14
    sigma = radius_px / 2.6 / focal_px * distance
    spread = torch.exp(0.4 * torch.randn(count, 3, generator=generator))
    scales = sigma * spread * torch.tensor([1.0, 1.0, 0.2])
    opacities = torch.sigmoid(1.0 + 1.5 * torch.randn(count, generator=generator))
    skin = torch.tensor([0.8, 0.6, 0.5])
    light = (outward @ torch.nn.functional.normalize(torch.tensor([0.4, 0.5, 0.8]), dim=0)).clamp_min(0)
    colors = (
        skin * (0.35 + 0.65 * light[:, None]) + 0.04 * torch.randn(count, 3, generator=generator)
    ).clamp(0, 1)

    viewmat = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    viewmat[2, 3] = distance
    K = torch.tensor([[focal_px, 0, size_px / 2], [0, focal_px, size_px / 2], [0, 0, 1.0]])
    return Scene(means, quats, scales, opacities, colors, viewmat, K, size_px, size_px)
