import pytest
import torch
from portrait_parts import SETTINGS
from torch import nn

from synctalk.portrait.deformation import Deformation
from synctalk.portrait.fused_offsets import GRAIN, ROWS

SLOPE = 0.02


def parts(count: int) -> tuple[Deformation, nn.Sequential, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Deformation, attention network of the lower half, features, mask and condition."""
    torch.manual_seed(0)
    deformation = Deformation(SETTINGS)
    for regressor in deformation.regressors.values():
        nn.init.normal_(regressor.weight, std=0.1)
    layers: list[nn.Module] = []
    for wide, narrow in ((SETTINGS.triplane_dim, 8), (8, 8), (8, SETTINGS.lower_dim)):
        layers += [nn.Linear(wide, narrow, bias=False), nn.LeakyReLU(SLOPE)]
    features = torch.randn(count, SETTINGS.triplane_dim, requires_grad=True)
    condition = torch.randn(SETTINGS.lower_dim, requires_grad=True)
    return deformation, nn.Sequential(*layers[:-1]), features, torch.rand(count), condition


def by_definition(
    deformation: Deformation,
    attention: nn.Sequential,
    features: torch.Tensor,
    mask: torch.Tensor,
    condition: torch.Tensor,
) -> torch.Tensor:
    lower = 2 * attention(features).sigmoid() * mask[:, None] * condition
    offsets = deformation(features, lower, torch.zeros(len(features), SETTINGS.upper_dim))
    made = [offsets.means, offsets.quats, offsets.scales, offsets.colors]
    return torch.cat([part for part in made if part is not None], dim=1)


@pytest.mark.parametrize("count", [1, GRAIN, ROWS + 3])
def test_offsets_and_their_gradients_are_those_of_the_definition(count):
    deformation, attention, features, mask, condition = parts(count)
    inputs = [features, condition, *attention.parameters(), *deformation.parameters()]
    direction = torch.randn(count, sum(deformation.widths))
    found = []
    for made in (
        by_definition(deformation, attention, features, mask, condition),
        deformation.of_half(features, mask, attention, condition, lower=True),
    ):
        grads = torch.autograd.grad((made * direction).sum(), inputs, allow_unused=True)
        found.append((made.detach(), grads))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    for expected, actual in zip(found[0][1], found[1][1], strict=True):
        if expected is not None and actual is not None:
            torch.testing.assert_close(expected, actual, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_half_precision_stays_close_and_returns_single():
    deformation, attention, features, mask, condition = parts(300)
    exact = deformation.of_half(features, mask, attention, condition, lower=True)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = deformation.of_half(features, mask, attention, condition, lower=True)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).detach().norm() < 0.03 * exact.detach().norm()
