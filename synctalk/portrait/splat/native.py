"""The CPU backend: C++ kernels (the folder `native`) behind torch's autograd.

Arrays are handed over as NumPy views of CPU tensors; the kernels know no torch.
"""

import importlib
import os
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from synctalk.portrait.splat.build import CannotBuild, load_or_build


@cache
def _load() -> tuple[ModuleType | None, str]:
    try:
        return importlib.import_module("synctalk.portrait.splat._native"), ""
    except ImportError:
        pass  # a plain checkout: build it
    try:
        return load_or_build(), ""
    except (CannotBuild, OSError) as error:
        return None, str(error)


def module() -> ModuleType:
    """The compiled module; raises RuntimeError with the reason where it cannot be had."""
    found, reason = _load()
    if found is None:
        raise RuntimeError(reason)
    return found


def why_not() -> str:
    """ "" where the native backend works, else one sentence that says why not. May build it."""
    return _load()[1]


def default_threads() -> int:
    """One thread per processor this process may use, at most 16."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, 16))


def array(tensor: Tensor | None) -> Any:
    """A float32, contiguous NumPy view (or copy, where it must be) of a CPU tensor; None stays None."""
    return None if tensor is None else tensor.detach().to(torch.float32).contiguous().numpy()


class _Rasterize(torch.autograd.Function):
    """Inputs are float32 and contiguous; the scene kept in `ctx` holds what the way back needs."""

    @staticmethod
    def forward(ctx, means, quats, scales, opacities, colors, viewmat, K, size, background, screen, options):
        width, height = size
        threads, isa = options
        scene = module().Scene(threads, isa)
        image = torch.empty(height, width, colors.shape[1])
        alpha = torch.empty(height, width)
        inputs = [array(t) for t in (means, quats, scales, opacities, colors, viewmat, K, background)]
        scene.render(*inputs, image.numpy(), alpha.numpy(), False)
        ctx.scene = scene
        ctx.save_for_backward(means, quats, scales, opacities, colors, viewmat, K, background, image, alpha)
        return image, alpha

    @staticmethod
    def backward(ctx, grad_image, grad_alpha):
        saved = ctx.saved_tensors
        background, image, alpha = saved[7:]
        grads = [torch.empty_like(t) for t in saved[:5]]
        grad_screen, grad_view = torch.empty(len(saved[0]), 2), torch.zeros(4, 4)
        ctx.scene.backward(
            *[array(t) for t in saved],
            array(torch.zeros_like(image) if grad_image is None else grad_image),
            array(grad_alpha),
            *[g.numpy() for g in grads],
            grad_screen.numpy(),
            grad_view.view(16)[:12].numpy(),
        )
        grad_background = None
        if background is not None and ctx.needs_input_grad[8]:
            grad_background = torch.einsum("hwd,hw->d", grad_image, 1 - alpha)
        screen = grad_screen if ctx.needs_input_grad[9] else None
        return (*grads, grad_view, None, None, grad_background, screen, None)


def rasterize_native(
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
    threads: int | None = None,
    isa: str = "",
) -> tuple[Tensor, Tensor]:
    """Image [H,W,D] and alpha [H,W]; arguments as in `rasterize`, any floating type, computed in float32.

    `threads` defaults to one per processor; the result does not depend on it. `isa` picks one of
    `module().instruction_sets()` instead of the best.
    """
    tensors = [
        t.to(torch.float32).contiguous() for t in (means, quats, scales, opacities, colors, viewmat, K)
    ]
    if background is not None:
        background = background.to(torch.float32).contiguous()
    options = (threads or default_threads(), isa)
    image, alpha = _Rasterize.apply(*tensors, (width, height), background, screen, options)
    return image.to(means.dtype), alpha.to(means.dtype)
