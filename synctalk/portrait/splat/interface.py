"""The one function everything else renders with."""

from functools import cache

from torch import Tensor

from synctalk.logs import get_logger
from synctalk.portrait.splat import gsplat_backend, native
from synctalk.portrait.splat.inputs import check_inputs
from synctalk.portrait.splat.reference import rasterize_reference

BACKENDS = ("gsplat", "native", "torch")
log = get_logger(__name__)


def rasterize(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4] wxyz, any length
    scales: Tensor,  # [N, 3] after activation
    opacities: Tensor,  # [N] in [0, 1]
    colors: Tensor,  # [N, D]
    viewmat: Tensor,  # [4, 4] world to camera, OpenCV axes
    K: Tensor,  # [3, 3] px
    width: int,
    height: int,
    background: Tensor | None = None,  # [D]
    *,
    screen: Tensor | None = None,  # [N, 2] px
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Draw Gaussians: image [H,W,D] over `background` (black without one) and alpha [H,W].

    Differentiable in the five Gaussian inputs, `viewmat` and `background`. Conventions are gsplat's: pixel
    centres at +0.5, 0.3 px^2 of low-pass, contributions under 1/255 dropped, opacity clamped at 0.999,
    blending stopped at a transmittance of 1e-4. A Gaussian that is not finite, transparent, or behind the
    camera is not drawn and has zero gradients.

    `screen` is a tensor of zeros added to the projected means; after a backward pass its gradient is the one
    of the projected means in pixels, which densification needs.

    `backend` is one of BACKENDS or "auto": gsplat for CUDA tensors, native for float32 on the CPU, torch for
    everything else and where the first choice cannot be had. native computes in float32 and returns the dtype
    of `means`.

    Raises TypeError or ValueError, naming the argument, for what cannot be rendered.
    """
    gaussians = {
        "means": means,
        "quats": quats,
        "scales": scales,
        "opacities": opacities,
        "colors": colors,
    }
    check_inputs(gaussians, viewmat, K, width, height, background)
    if screen is not None and tuple(screen.shape) != (means.shape[0], 2):
        raise ValueError(f"screen must have shape ({means.shape[0]}, 2), not {tuple(screen.shape)}")
    draw = {
        "gsplat": gsplat_backend.rasterize_gsplat,
        "native": native.rasterize_native,
        "torch": rasterize_reference,
    }[_choose(means, backend)]
    return draw(
        means,
        quats,
        scales,
        opacities,
        colors,
        viewmat,
        K,
        width,
        height,
        background=background,
        screen=screen,
    )


def available_backends() -> dict[str, str]:
    """Each backend with "" where it works here, or one sentence on why it does not."""
    return {"gsplat": gsplat_backend.why_not(), "native": native.why_not(), "torch": ""}


def _choose(means: Tensor, backend: str) -> str:
    if backend == "auto":
        if means.is_cuda:
            return _usable("gsplat")
        return _usable("native") if means.device.type == "cpu" and means.dtype.itemsize == 4 else "torch"
    if backend not in BACKENDS:
        raise ValueError(f"backend must be auto, {', '.join(BACKENDS)}, not {backend!r}")
    reason = available_backends()[backend]
    if reason:
        raise ValueError(f"backend {backend!r} cannot be used here: {reason}")
    if backend == "gsplat" and not means.is_cuda:
        raise ValueError("backend 'gsplat' draws CUDA tensors; means are on " + str(means.device))
    if backend == "native" and means.device.type != "cpu":
        raise ValueError("backend 'native' draws CPU tensors; means are on " + str(means.device))
    return backend


@cache
def _usable(backend: str) -> str:
    """`backend`, or "torch" with one warning for the whole process where it cannot be used."""
    reason = gsplat_backend.why_not() if backend == "gsplat" else native.why_not()
    if reason:
        log.warning("%s Drawing with plain torch instead, which is slow.", reason)
        return "torch"
    return backend
