"""Perceptual distance on the first stages of EfficientNet-Lite0 (ImageNet, Apache-2.0)."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from synctalk.assets import model_path

# (inputs, outputs, kernel, stride, expansion) of the blocks in use; strides 2, 4, 4, 8, 8 of the picture.
_BLOCKS = ((32, 16, 3, 1, 1), (16, 24, 3, 2, 6), (24, 24, 3, 1, 6), (24, 40, 5, 2, 6), (40, 40, 5, 1, 6))
_TAPS = (0, 2, 4)


class _Conv(nn.Module):
    """Convolution with its batch norm folded in, padded as TensorFlow's SAME."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.stride, self.groups = stride, groups
        total = kernel - stride
        self.padding = (total // 2, total - total // 2) if total > 0 else (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        if any(self.padding):
            x = F.pad(x, self.padding * 2)
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


class _Block(nn.Module):
    """Inverted residual block."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = inputs * expansion
        self.expand = _Conv(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = _Conv(inner, inner, kernel, stride, groups=inner)
        self.project = _Conv(inner, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class PerceptualLoss(nn.Module):
    """Distance between pictures as a network sees them (LPIPS without its learnt channel weights).

    Features of three stages, unit length over channels, mean squared difference. Weights come from
    `assets/models/perceptual_backbone.safetensors` unless `path` names another file of that shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, path: str | Path | None = None):
        super().__init__()
        self.stem = _Conv(3, 32, 3, stride=2)
        self.blocks = nn.ModuleList([_Block(*shape) for shape in _BLOCKS])
        self.register_buffer(
            "mean", torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1), persistent=False
        )
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1), persistent=False)
        tensors = load_file(str(path or model_path("perceptual_backbone.safetensors")))
        self.load_state_dict({name: value.float() for name, value in tensors.items()})
        self.requires_grad_(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Three feature maps [1,C,h,w] of a picture [H,W,3] in [0,1]; keep them for a target seen again."""
        x = (image.permute(2, 0, 1)[None] - self.mean) / self.std
        x = F.relu6(self.stem(x))
        found = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _TAPS:
                found.append(x / (x.pow(2).sum(1, keepdim=True) + 1e-6).sqrt())
        return found

    def forward(self, image: Tensor, target_features: list[Tensor]) -> Tensor:
        """Distance of `image` [H,W,3] to the picture with `target_features`."""
        pairs = zip(self.features(image), target_features, strict=True)
        distances = [(a - b.to(a.dtype)).pow(2).sum(1).mean() for a, b in pairs]
        return torch.stack(distances).mean()
