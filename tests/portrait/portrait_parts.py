"""A small portrait for tests, with plain stand-ins for the Face-Sync Controller's attention."""

import torch
from torch import Tensor, nn

from synctalk.portrait.model import PortraitModel
from synctalk.portrait.settings import PortraitSettings

NOSE = 0.0


class Temporal(nn.Module):
    """Lip feature = a linear map of the current frame."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(512, 32)

    def forward(self, lips: Tensor) -> Tensor:
        return self.map(lips)

    def windows(self, windows: Tensor) -> Tensor:
        return self.map(windows[:, 4])


class Facial(nn.Module):
    """Attention by height alone: lips below the nose, expressions above it."""

    nose_height: Tensor

    def __init__(
        self,
        triplane_dim: int,
        lip_dim: int,
        expression_dim: int,
        hidden_dim: int = 0,
        nose_height: float = NOSE,
    ):
        super().__init__()
        self.lips = nn.Linear(triplane_dim, lip_dim, bias=False)
        self.expression = nn.Linear(triplane_dim, expression_dim, bias=False)
        self.register_buffer("nose_height", torch.tensor(nose_height))

    def forward(self, features: Tensor, heights: Tensor) -> tuple[Tensor, Tensor]:
        above = ((heights - self.nose_height) / 0.1)[:, None]
        lips = (1 + self.lips(features)) * (-above).clamp(0, 1)
        return lips, (1 + self.expression(features)) * above.clamp(0, 1)


SETTINGS = PortraitSettings(
    upper=(0, 1, 2, 3, 4, 8, 9),
    lower=(43, 44),
    plane_levels=(8, 16),
    plane_features=4,
    hidden=16,
    head_hidden=8,
)


def small_portrait(count: int = 200, settings: PortraitSettings = SETTINGS, seed: int = 0) -> PortraitModel:
    """`count` coloured Gaussians in a ball, with a deformation large enough to see."""
    torch.manual_seed(seed)
    facial = Facial(settings.triplane_dim, settings.lower_dim, settings.upper_dim)
    model = PortraitModel(count, settings, Temporal(), facial)
    with torch.no_grad():
        model.canonical.means.copy_(torch.randn(count, 3) * 0.5)
        model.canonical.scales.copy_(torch.randn(count, 3) * 0.3 - 2.5)
        model.canonical.quats.copy_(torch.randn(count, 4))
        model.canonical.opacities.copy_(torch.randn(count) + 1)
        model.canonical.sh.copy_(torch.randn_like(model.canonical.sh) * 0.4)
        model.canonical.shifts.copy_(torch.randn(count, 3, 3) * 0.02)
        model.view_mean.copy_(torch.tensor([0.05, -0.02, 0.99]))
        model.view_spread.fill_(0.1)
        for regressor in model.deformation.regressors.values():
            nn.init.normal_(regressor.weight, std=0.1)
        model.deforms[::10] = False
        model.condition_samples.copy_(torch.randn_like(model.condition_samples))
    return model.eval()


def camera(size: int = 64) -> tuple[Tensor, Tensor]:
    """A viewmat [4,4] that looks at the ball from the front and intrinsics [3,3]."""
    viewmat = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    viewmat[2, 3] = 6.0
    focal = 1.8 * size
    return viewmat, torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
