"""A thin adapter over gsplat's CUDA rasterizer, imported only when CUDA tensors are drawn."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from synctalk.portrait.splat.reference import EPS2D, FAR, NEAR


@cache
def why_not() -> str:
    """ "" where gsplat can draw, else one sentence that says why not."""
    if not torch.cuda.is_available():
        return "gsplat needs a CUDA device, and torch finds none."
    try:
        from gsplat.cuda._backend import _C
    except Exception as error:  # a broken CUDA build fails in many ways, all with the same meaning here
        reason = (str(error).splitlines() or ["no message"])[0]
        return f"gsplat cannot be used ({type(error).__name__}: {reason})."
    return "" if _C is not None else "gsplat is installed without its CUDA kernels."


def rasterize_gsplat(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    background: Tensor | None = None,
    screen: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Image [H,W,D] and alpha [H,W]; arguments as in `rasterize`, on a CUDA device."""
    from gsplat import rasterization

    images, alphas, info = rasterization(
        means=means,
        quats=quats,
        scales=scales,
        opacities=opacities,
        colors=colors,
        viewmats=viewmat[None],
        Ks=K[None],
        width=width,
        height=height,
        near_plane=NEAR,
        far_plane=FAR,
        eps2d=EPS2D,
        packed=False,
        backgrounds=None if background is None else background[None],
        render_mode="RGB",
        rasterize_mode="classic",
    )
    if screen is not None and screen.requires_grad:
        _hand_over_gradient(info, screen)
    return images[0], alphas[0, ..., 0]


def _hand_over_gradient(info: dict[str, Any], screen: Tensor) -> None:
    """gsplat adds no offset to the projected means, but shows them: copy their gradient to `screen`."""
    means2d = info["means2d"]  # [1, N, 2]
    if means2d.requires_grad:

        def copy(gradient: Tensor) -> None:
            part = gradient.reshape(screen.shape)
            screen.grad = part.clone() if screen.grad is None else screen.grad + part

        means2d.register_hook(copy)
