"""What every backend may rely on: one set of checks, each naming the argument that is wrong."""

from collections.abc import Mapping

import torch
from torch import Tensor

MAX_SIDE_PX = 16384
MAX_CHANNELS = 256


def check_inputs(
    gaussians: Mapping[str, Tensor],
    viewmat: Tensor,  # [4, 4]
    K: Tensor,  # [3, 3]
    width: int,
    height: int,
    background: Tensor | None,  # [D]
) -> None:
    """Raise TypeError or ValueError, with the argument's name, unless the scene can be rendered.

    `gaussians` maps means [N,3], quats [N,4], scales [N,3], opacities [N] and colors [N,D]. Values of single
    Gaussians are not checked: one that is not finite is not drawn.
    """
    tensors = {**gaussians, "viewmat": viewmat, "K": K}
    if background is not None:
        tensors["background"] = background
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor, not {type(value).__name__}")
        if not value.is_floating_point():
            raise TypeError(f"{name} must be of a floating type, not {value.dtype}")
    means = gaussians["means"]
    count = means.shape[0] if means.dim() else 0
    colors = gaussians["colors"]
    channels = colors.shape[-1] if colors.dim() == 2 else -1
    shapes = {
        "means": (count, 3),
        "quats": (count, 4),
        "scales": (count, 3),
        "opacities": (count,),
        "colors": (count, channels),
        "viewmat": (4, 4),
        "K": (3, 3),
        "background": (channels,),
    }
    for name, value in tensors.items():
        if tuple(value.shape) != shapes[name]:
            wanted = str(shapes[name]).replace("-1", "D")
            raise ValueError(f"{name} must have shape {wanted}, not {tuple(value.shape)}")
        if value.device != means.device:
            raise ValueError(f"{name} is on {value.device}, but means are on {means.device}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"colors must have 1 to {MAX_CHANNELS} channels, not {channels}")
    for name, side in (("width", width), ("height", height)):
        if not isinstance(side, int) or not 1 <= side <= MAX_SIDE_PX:
            raise ValueError(f"{name} must be a whole number from 1 to {MAX_SIDE_PX}, not {side!r}")
    for name in ("viewmat", "K", "background"):
        if name in tensors and not bool(torch.isfinite(tensors[name]).all()):
            raise ValueError(f"{name} holds values that are not finite")
    if float(K[0, 0]) <= 0 or float(K[1, 1]) <= 0:
        raise ValueError("K must have positive focal lengths at [0, 0] and [1, 1]")
