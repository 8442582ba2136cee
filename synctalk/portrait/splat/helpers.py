"""Image work that pays to have beside the rasterizer: D-SSIM with its gradient, and RGB to YUV planes."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synctalk.portrait.splat import native

# Weights of red and blue in luma.
MATRICES = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114)}


def dssim(
    image: Tensor,  # [H, W, D]
    target: Tensor,  # [H, W, D]
    threads: int | None = None,
) -> Tensor:
    """(1 - SSIM) / 2, a scalar; differentiable in `image`.

    SSIM with an 11x11 Gaussian window (sigma 1.5), zero padding, data range 1, averaged over pixels and
    channels: the loss of 3D Gaussian splatting. On the CPU value and gradient come from one native pass.

    Raises ValueError where the shapes differ or are not [H,W,D].
    """
    if image.dim() != 3 or image.shape != target.shape or image.numel() == 0:
        raise ValueError(
            f"image and target must both be [H, W, D], not {tuple(image.shape)} and {tuple(target.shape)}"
        )
    if image.device.type != "cpu" or image.dtype != torch.float32 or native.why_not():
        return dssim_reference(image, target)
    return _Dssim.apply(image, target, threads or native.default_threads())


def dssim_reference(image: Tensor, target: Tensor) -> Tensor:
    """The definition of `dssim` in plain torch: any device, any floating type."""
    offsets = torch.arange(-5, 6, device=image.device, dtype=image.dtype)
    window = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = window / window.sum()

    def blur(rows: Tensor) -> Tensor:  # [D, 1, H, W]
        return F.conv2d(
            F.conv2d(rows, window.view(1, 1, 1, 11), padding=(0, 5)), window.view(1, 1, 11, 1), padding=(5, 0)
        )

    x, y = image.permute(2, 0, 1)[:, None], target.to(image.dtype).permute(2, 0, 1)[:, None]
    mean_x, mean_y = blur(x), blur(y)
    variances = blur(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    ssim = (
        (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))
    )
    return (1 - ssim.mean()) / 2


class _Dssim(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, threads: int) -> Tensor:
        gradient = (
            torch.empty_like(image, memory_format=torch.contiguous_format)
            if ctx.needs_input_grad[0]
            else None
        )
        value = native.module().dssim(
            native.array(image), native.array(target), None if gradient is None else gradient.numpy(), threads
        )
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return image.new_tensor(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad, None, None


def rgb_to_yuv420(
    image: Tensor | np.ndarray,  # [H, W, 3]
    matrix: str = "bt709",
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Planes y [H,W], u and v [H/2,W/2], uint8, for an H.264 encoder.

    `image` is float RGB in [0,1] (clamped) or uint8. Limited range (luma 16-235, chroma 16-240), by the
    BT.709 matrix or BT.601 with `matrix="bt601"`: the stream must be tagged with the same. Chroma is the
    mean of 2x2 pixels (centred siting).

    Raises ValueError where the shape is not [H,W,3] with even sides, or the matrix is unknown.
    """
    rgb = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.shape[0] % 2 or rgb.shape[1] % 2 or rgb.size == 0:
        raise ValueError(f"image must be [H, W, 3] with even sides, not {rgb.shape}")
    if matrix not in MATRICES:
        raise ValueError(f"matrix must be one of {', '.join(MATRICES)}, not {matrix!r}")
    if rgb.dtype == np.uint8:
        rgb = rgb * np.float32(1 / 255)
    rgb = np.ascontiguousarray(rgb, dtype=np.float32)
    weights = yuv_weights(matrix)
    height, width = rgb.shape[:2]
    if native.why_not():
        return _yuv_reference(rgb, weights)
    y = np.empty((height, width), np.uint8)
    u, v = (np.empty((height // 2, width // 2), np.uint8) for _ in range(2))
    native.module().rgb_to_yuv420(rgb, weights, y, u, v, threads or native.default_threads())
    return y, u, v


def yuv_weights(matrix: str = "bt709") -> np.ndarray:
    """How RGB in [0,1] makes limited-range planes, float32 [3, 4].

    Rows are Y, U and V: weights of red, green and blue, and an offset.
    """
    red, blue = MATRICES[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    u = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    v = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    rows = np.stack([219 * luma, 224 * u, 224 * v])
    return np.concatenate([rows, [[16], [128], [128]]], 1).astype(np.float32)


def _yuv_reference(rgb: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rgb = np.clip(np.nan_to_num(rgb), 0, 1)
    height, width = rgb.shape[:2]
    quarter = rgb.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3))
    planes = [part @ row[:3] + row[3] for part, row in zip((rgb, quarter, quarter), weights, strict=True)]
    y, u, v = (np.floor(np.clip(plane, 0, 255) + 0.5).astype(np.uint8) for plane in planes)
    return y, u, v
