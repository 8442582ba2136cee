"""Eq. 6 and 19 for one half of the face, with the way back written out.

Training spends most of its time here. Automatic differentiation walks over all Gaussians once per
operation, which is a walk through main memory; this walks once over pieces that fit the processor's cache,
and multiplies the condition into the (small) weights instead of into the attention of every Gaussian.
Pieces have few different lengths: torch compiles a bfloat16 product anew for each shape it meets, which takes
several times as long as the product itself [measured: 0.25 ms with known shapes, 0.9-2 ms with new ones].
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 2048  # of a piece: its hidden layers take a few hundred kilobytes
GRAIN = 256  # lengths are multiples of this


def half_offsets(
    features: Tensor,
    mask: Tensor,
    condition: Tensor,
    attention: Sequence[Tensor],
    first: tuple[Tensor, Tensor, Tensor],
    trunk: Sequence[tuple[Tensor, Tensor]],
    last: tuple[Tensor, Tensor],
    slope: float,
    dtype: torch.dtype,
) -> Tensor:
    """Offsets float32 [n,O] of the Gaussians of one half, differentiable in all but `mask`.

    Args:
        features: triplane features, float32 [n,D].
        mask: of Eq. 6 in this half, float32 [n].
        condition: of this half, float32 [C].
        attention: weights of the bias-free attention network, [H,D], [H,H] ... [C,H].
        first: weight [W,D] and bias [W] of the first layer for the feature, weight [W,C] for the attended.
        trunk: weights [W,W] and biases [W] of the other hidden layers.
        last: weight [O,W] and bias [O]; computed in float32, for rounded offsets would jitter.
        slope: of the attention network's leaky rectifiers.
        dtype: of the hidden layers.
    """
    flat = [tensor for pair in trunk for tensor in pair]
    return _HalfOffsets.apply(
        features, mask, condition, slope, dtype, len(attention), *attention, *first, *flat, *last
    )


class _HalfOffsets(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features, mask, condition, slope, dtype, layers, *weights):
        attention, (constant, bias, attended), trunk, (last, last_bias) = _sorted(weights, layers)
        attention = [weight.to(dtype) for weight in attention]
        folded = (attended * condition).to(dtype)
        constant, bias = constant.to(dtype), bias.to(dtype)
        trunk = [(weight.to(dtype), shift.to(dtype)) for weight, shift in trunk]
        made, kept = [], []
        for part, gate in zip(features.split(ROWS), mask.split(ROWS), strict=True):
            x = _padded(part.to(dtype))
            looks = [x]
            for weight in attention[:-1]:
                looks.append(F.leaky_relu_(looks[-1] @ weight.T, slope))
            open_ = (looks[-1] @ attention[-1].T).sigmoid_()
            gate2 = _padded((2 * gate[:, None]).to(dtype))
            hidden = [torch.addmm(bias, x, constant.T).addmm_(open_ * gate2, folded.T).relu_()]
            for weight, shift in trunk:
                hidden.append(torch.addmm(shift, hidden[-1], weight.T).relu_())
            made.append(torch.addmm(last_bias, hidden[-1].float(), last.T)[: len(part)])
            kept += [open_, gate2, *looks, *hidden]
        ctx.save_for_backward(condition, *weights, *kept)
        ctx.shape = (slope, dtype, layers, len(weights), len(trunk) + 1, features.shape)
        return torch.cat(made) if made else last_bias.new_zeros(0, len(last_bias))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        slope, dtype, layers, count, depth, shape = ctx.shape
        condition, *saved = ctx.saved_tensors
        weights, kept = saved[:count], saved[count:]
        attention, (constant, _, attended), trunk, (last, _) = _sorted(weights, layers)
        attention = [weight.to(dtype) for weight in attention]
        folded, constant = (attended * condition).to(dtype), constant.to(dtype)
        trunk = [weight.to(dtype) for weight, _ in trunk]
        grads = [torch.zeros_like(weight) for weight in weights]
        to_attention, (to_constant, to_bias, to_folded), to_trunk, (to_last, to_last_bias) = _sorted(
            grads, layers
        )
        back = grad.new_empty(shape)
        stride = 2 + layers + depth
        for piece, (start, g) in enumerate(zip(range(0, shape[0], ROWS), grad.split(ROWS), strict=True)):
            open_, gate2, *rest = kept[piece * stride : (piece + 1) * stride]
            looks, hidden = rest[:layers], rest[layers:]
            length, g = len(g), _padded(g)
            to_last.addmm_(g.T, hidden[-1].float())
            to_last_bias += g.sum(0)
            g = (g @ last).to(dtype)
            for level in range(depth - 1, 0, -1):
                g = torch.where(hidden[level] > 0, g, 0)
                weight_grad, bias_grad = to_trunk[level - 1]
                weight_grad += g.T @ hidden[level - 1]
                bias_grad += g.sum(0, dtype=torch.float32)
                g = g @ trunk[level - 1]
            g = torch.where(hidden[0] > 0, g, 0)
            to_constant += g.T @ looks[0]
            to_bias += g.sum(0, dtype=torch.float32)
            to_folded += g.T @ (open_ * gate2)
            to_features = g @ constant
            g = (g @ folded) * gate2 * (open_ * (1 - open_))
            for level in range(layers - 1, 0, -1):
                to_attention[level] += g.T @ looks[level]
                g = g @ attention[level]
                g = torch.where(looks[level] > 0, g, g * slope)
            to_attention[0] += g.T @ looks[0]
            back[start : start + length] = to_features.addmm_(g, attention[0])[:length]
        to_condition = (to_folded * attended).sum(0)
        to_folded *= condition
        return back, None, to_condition, None, None, None, *grads


def _padded(values: Tensor) -> Tensor:
    """`values` [n,C] with rows of zeros up to the next multiple of GRAIN."""
    missing = -len(values) % GRAIN
    return F.pad(values, (0, 0, 0, missing)) if missing else values


def _sorted(tensors: Sequence[Tensor], layers: int) -> tuple[list[Tensor], Any, Any, Any]:
    """Attention, first layer, trunk and last layer again, from the flat list."""
    inner = tensors[layers + 3 : -2]
    return (
        list(tensors[:layers]),
        tuple(tensors[layers : layers + 3]),
        list(zip(inner[::2], inner[1::2], strict=True)),
        tuple(tensors[-2:]),
    )
