"""Rendering a whole video in one call, for a GPU that is lent for some seconds at a time (ZeroGPU)."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synctalk.avatar import Avatar
from synctalk.portrait.splat import rasterize

FRAMES_PER_SECOND = 60
"""A cautious guess, for asking for enough time and not for more."""


def render_all(folder: str, conditions: Tensor, source_indices: list[int]) -> Iterator[NDArray[np.uint8]]:
    """Renders of an avatar, on the GPU where there is one; plain values in and out, so that they travel.

    Args:
        folder: the avatar.
        conditions: what drives the face, float32 [T,C].
        source_indices: the source frame whose pose each takes.

    Yields:
        uint8 RGBA [h,w,4], colour premultiplied.
    """
    avatar = Avatar.from_pretrained(folder, verify=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = avatar.portrait().to(device)
    K, viewmats = avatar.K.to(device), avatar.viewmats.to(device)
    width, height = avatar.size
    with torch.inference_mode():
        for condition, index in zip(conditions.to(device), source_indices, strict=True):
            head = model(viewmats[index], condition)
            splats = (head.means, head.quats, head.scales, head.opacities, head.colors)
            image, alpha = rasterize(*splats, viewmats[index], K, width, height)
            rgba = torch.cat([image, alpha[..., None]], dim=-1).clamp(0, 1).mul(255).round()
            yield rgba.to(torch.uint8).cpu().numpy()


def seconds_needed(folder: str, conditions: Tensor, source_indices: list[int]) -> int:
    """How long to ask for: start-up and the frames."""
    return 10 + round(len(source_indices) / FRAMES_PER_SECOND)
