"""Picture losses of the portrait (Eq. 22 and 24) beside D-SSIM and the perceptual network."""

import torch
from torch import Tensor


def weighted_l1(image: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute difference of [H,W,3] pictures, `weight` [H,W] where some pixels count more."""
    difference = (image - target).abs().mean(dim=-1)
    return difference.mean() if weight is None else (difference * weight).sum() / weight.sum()


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal to noise ratio in dB of [H,W,3] pictures in [0,1], inside `mask` [H,W] if given."""
    squared = (image - target).pow(2).mean(dim=-1)
    error = squared.mean() if mask is None else (squared * mask).sum() / mask.sum().clamp_min(1)
    return float(-10 * torch.log10(error.clamp_min(1e-10)))
