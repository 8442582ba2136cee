import pytest
import torch
from portrait_parts import camera, small_portrait

from synctalk.portrait.model import PortraitModel
from synctalk.portrait.renderer import PortraitRenderer
from synctalk.portrait.splat import rasterize

SIZE = 64


def by_training_path(model: PortraitModel, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    viewmat, K = camera(SIZE)
    with torch.no_grad():
        g = model(viewmat, condition)
        return rasterize(g.means, g.quats, g.scales, g.opacities, g.colors, viewmat, K, SIZE, SIZE)


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * torch.log10((a - b).pow(2).mean().clamp_min(1e-12)))


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def renderer(portrait: PortraitModel, request: pytest.FixtureRequest) -> PortraitRenderer:
    return PortraitRenderer(portrait, SIZE, SIZE, camera(SIZE)[1], dtype=request.param)


def test_inference_draws_what_training_draws(portrait, renderer):
    conditions = portrait.condition_samples
    for t in range(8):
        image, alpha = renderer.render(conditions, t, camera(SIZE)[0])
        expected, expected_alpha = by_training_path(portrait, conditions[t])
        assert psnr(image, expected) >= 50
        assert psnr(alpha, expected_alpha) >= 50


def test_a_frame_does_not_depend_on_the_frames_before_it(portrait, renderer):
    viewmat = camera(SIZE)[0]
    first = renderer.render(portrait.condition_samples, 0, viewmat)[0].clone()
    renderer.render(portrait.condition_samples, 1, viewmat)
    torch.testing.assert_close(renderer.render(portrait.condition_samples, 0, viewmat)[0], first)


def test_only_gaussians_that_training_conditions_move_are_deformed():
    model = small_portrait()
    with torch.no_grad():
        model.condition_samples.zero_()
    renderer = PortraitRenderer(model, SIZE, SIZE, camera(SIZE)[1])
    assert renderer.moving == 0
    image, _ = renderer.render(model.condition_samples, 0, camera(SIZE)[0])
    assert psnr(image, by_training_path(model, model.condition_samples[0])[0]) >= 50


def test_conditions_take_arrays_and_tensors_alike(portrait, renderer):
    lips, expressions = torch.randn(5, 512), torch.rand(5, 52)
    silence = torch.tensor([0, 0, 1, 1, 1], dtype=torch.bool)
    from_tensors = renderer.conditions(lips, expressions, silence)
    from_arrays = renderer.conditions(lips.numpy(), expressions.numpy(), silence.numpy())
    torch.testing.assert_close(from_tensors, from_arrays)
    assert from_tensors.shape == (5, 32 + 2 + 7)
