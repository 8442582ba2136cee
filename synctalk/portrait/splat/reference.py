"""The definition of the picture: 3D Gaussian splatting (Section III-D, preliminaries) in plain torch.

Any device, any floating type, differentiable by autograd. Slow: it exists to be read, to hold the fast
backends to account, and to draw where neither a CUDA device nor a compiler is there.
"""

from typing import NamedTuple

import torch
from torch import Tensor

EPS2D = 0.3  # px^2 added to the projected covariance: no Gaussian is thinner than a pixel
NEAR, FAR = 0.01, 1e10
ALPHA_MIN, ALPHA_MAX = 1 / 255, 0.999
TRANSMITTANCE_MIN = 1e-4
FOOTPRINT_SIGMA = 3.33
TILE_PX = 32


class Projected(NamedTuple):
    """Gaussians on the screen, before sorting."""

    means2d: Tensor  # [N, 2] px, pixel centres at +0.5
    covars2d: Tensor  # [N, 3] px^2: xx, xy, yy, EPS2D included
    depths: Tensor  # [N]
    extents: Tensor  # [N, 2] px, half the box that can reach ALPHA_MIN
    visible: Tensor  # [N] bool


def rotation_matrices(quats: Tensor) -> Tensor:
    """Quaternions [N,4] (wxyz, any length) to rotations [N,3,3]."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(rows, -1).reshape(-1, 3, 3)


def project(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4]
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    viewmat: Tensor,  # [4, 4]
    K: Tensor,  # [3, 3]
    width: int,
    height: int,
) -> Projected:
    """Means and covariances on the screen by the local affine approximation, gsplat's conventions."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    rotation = viewmat[:3, :3]
    x, y, depths = (means @ rotation.T + viewmat[:3, 3]).unbind(-1)
    in_range = (depths > NEAR) & (depths < FAR)
    z = torch.where(in_range, depths, torch.ones_like(depths))
    # The slope is held near the frustum, where the affine approximation would blow up.
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    slope_x = (x / z).clamp(-cx / fx - margin_x, (width - cx) / fx + margin_x)
    slope_y = (y / z).clamp(-cy / fy - margin_y, (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * slope_x / z, zero, fy / z, -fy * slope_y / z], -1)
    spread = (
        jacobian.reshape(-1, 2, 3) @ rotation @ rotation_matrices(quats) * scales[:, None, :]
    )  # [N, 2, 3]
    covars = spread @ spread.transpose(1, 2)
    a, b, c = covars[:, 0, 0] + EPS2D, covars[:, 0, 1], covars[:, 1, 1] + EPS2D
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)

    sigma = (2 * torch.log((opacities.detach() * 255).clamp_min(1))).sqrt().clamp_max(FOOTPRINT_SIGMA)
    extents = sigma[:, None] * torch.stack([a, c], -1).detach().clamp_min(0).sqrt()
    corner_low, corner_high = means2d.detach() - extents, means2d.detach() + extents
    on_screen = (corner_high > 0).all(-1) & (corner_low[:, 0] < width) & (corner_low[:, 1] < height)
    finite = torch.isfinite(corner_high - corner_low).all(-1) & torch.isfinite(a * c - b * b)
    visible = in_range & finite & on_screen & (a * c - b * b > 0) & (opacities >= ALPHA_MIN)
    return Projected(means2d, torch.stack([a, b, c], -1), depths, extents, visible)


def blend(
    pixels: Tensor,  # [P, 2] px
    means2d: Tensor,  # [n, 2] px, nearest first
    covars2d: Tensor,  # [n, 3] px^2
    extents: Tensor,  # [n, 2] px
    opacities: Tensor,  # [n]
    colors: Tensor,  # [n, D]
) -> tuple[Tensor, Tensor]:
    """Front-to-back alpha blending: colour [P,D] and alpha [P]."""
    dx, dy = (pixels[None] - means2d[:, None]).unbind(-1)  # [n, P]
    a, b, c = covars2d[:, :, None].unbind(1)
    sigma = 0.5 * (c * dx * dx - 2 * b * dx * dy + a * dy * dy) / (a * c - b * b)
    alpha = (opacities[:, None] * torch.exp(-sigma)).clamp_max(ALPHA_MAX)
    inside = (dx.abs() <= extents[:, :1]) & (dy.abs() <= extents[:, 1:])
    alpha = torch.where((sigma >= 0) & (alpha >= ALPHA_MIN) & inside, alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1 - alpha, 0)  # transmittance behind each Gaussian
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weights = torch.where(after > TRANSMITTANCE_MIN, alpha * before, torch.zeros_like(alpha))
    return weights.T @ colors, weights.sum(0)  # the weights telescope: their sum is 1 - transmittance


def rasterize_reference(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4]
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    colors: Tensor,  # [N, D]
    viewmat: Tensor,  # [4, 4]
    K: Tensor,  # [3, 3]
    width: int,
    height: int,
    background: Tensor | None = None,  # [D]
    screen: Tensor | None = None,  # [N, 2]
) -> tuple[Tensor, Tensor]:
    """Render image [H,W,D] and alpha [H,W], tile by tile; arguments as in `rasterize`."""
    with torch.no_grad():
        seen = project(means, quats, scales, opacities, viewmat, K, width, height)
        order = torch.nonzero(seen.visible & torch.isfinite(colors).all(-1))[:, 0]
        order = order[torch.argsort(seen.depths[order], stable=True)]
    # What is not drawn takes no part in autograd: a Gaussian that is not finite gets zero gradients.
    opacities, colors = opacities[order], colors[order]
    drawn = project(means[order], quats[order], scales[order], opacities, viewmat, K, width, height)
    means2d = drawn.means2d if screen is None else drawn.means2d + screen[order]
    covars2d, extents = drawn.covars2d, drawn.extents
    low, high = (means2d - extents).detach(), (means2d + extents).detach()

    rows = []
    for top in range(0, height, TILE_PX):
        row = []
        for left in range(0, width, TILE_PX):
            right, bottom = min(left + TILE_PX, width), min(top + TILE_PX, height)
            near = (high[:, 0] >= left) & (low[:, 0] <= right) & (high[:, 1] >= top) & (low[:, 1] <= bottom)
            ys = torch.arange(top, bottom, device=means.device, dtype=means.dtype) + 0.5
            xs = torch.arange(left, right, device=means.device, dtype=means.dtype) + 0.5
            pixels = torch.cartesian_prod(ys, xs).reshape(-1, 2).flip(-1)
            picture, alpha = blend(
                pixels, means2d[near], covars2d[near], extents[near], opacities[near], colors[near]
            )
            row.append(torch.cat([picture, alpha[:, None]], -1).reshape(bottom - top, right - left, -1))
        rows.append(torch.cat(row, 1))
    rendered = torch.cat(rows, 0)
    picture, alpha = rendered[..., :-1], rendered[..., -1]
    if background is not None:
        picture = picture + (1 - alpha[..., None]) * background
    return picture, alpha
