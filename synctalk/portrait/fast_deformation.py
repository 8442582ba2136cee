"""The deformation of the inference path in the native kernel: the same numbers, a third of the time."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from synctalk.portrait.splat import native

WIDTH = 64  # hidden units the kernel is written for


def can_run(hidden: int, trunk: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Whether the kernel works here and knows networks of this shape."""
    return (
        hidden == WIDTH
        and all(weight.shape == (WIDTH, WIDTH) for weight, _ in trunk)
        and not native.why_not()
    )


class FastHalf:
    """The moving Gaussians of one half of the face; its weights are packed once.

    Args:
        constant: [M,64], first layer, the part that never changes.
        attention: [M,C].
        weight: [C,64], first layer, the part from the conditions.
        trunk: (weight [64,64], bias [64]) of each hidden layer after the first.
        last: [64,10 or 13].
        rest: [M,10 or 13], attributes at rest plus the last layer's bias.
        limits: of the logarithm of a scale.
        half: multiply in bfloat16 where the processor does it natively.
    """

    def __init__(
        self,
        constant: Tensor,
        attention: Tensor,
        weight: Tensor,
        trunk: Sequence[tuple[Tensor, Tensor]],
        last: Tensor,
        rest: Tensor,
        limits: tuple[float, float],
        half: bool,
    ):
        layers = [weight for weight, _ in trunk], [bias for _, bias in trunk]
        stacked = [torch.stack(values) if values else torch.zeros(0, *shape) for values, shape in
                   zip(layers, ((WIDTH, WIDTH), (WIDTH,)), strict=True)]  # fmt: skip
        arrays = [native.array(t) for t in (constant, attention, weight, *stacked, last, rest)]
        self._network = native.module().Deformer(*arrays, *limits, half)

    def run(self, condition: Any, outputs: Sequence[Any], threads: int) -> None:
        """Write means [M,3], quats [M,4], scales [M,3] and tints [M,3] (or None) under `condition` [C].

        All are float32 NumPy arrays; safe to call from several threads at once.
        """
        self._network.run(condition, *outputs, threads)
