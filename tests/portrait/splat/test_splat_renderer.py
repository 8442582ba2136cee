import pytest
import torch
from scenes import Case, random_case

from synctalk.portrait.splat import SplatRenderer, native, rasterize

pytestmark = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not())


def renderer_of(case: Case, **options) -> SplatRenderer:
    return SplatRenderer(case.width, case.height, case.K, torch.tensor([0.3, 0.2, 0.1]), **options)


def test_a_renderer_draws_what_rasterize_draws_into_the_same_memory():
    case = random_case(count=200, width=130, height=100)
    renderer = renderer_of(case)
    image, alpha = renderer.render(*case[:6])
    truth, true_alpha = rasterize(*case, background=torch.tensor([0.3, 0.2, 0.1]))
    assert torch.equal(image, truth)
    assert torch.equal(alpha, true_alpha)
    again, _ = renderer.render(*case[:6])
    assert again.data_ptr() == image.data_ptr()


def test_redrawing_what_moved_is_bit_identical_to_drawing_all():
    case = random_case(count=300, width=200, height=160, size=0.03)
    partial, full = renderer_of(case), renderer_of(case)
    partial.render(*case[:6])
    moved = [case.means, case.quats, case.scales, case.opacities, case.colors]
    for step, tensor in enumerate(moved):
        tensor[step * 6 : step * 6 + 6] *= torch.linspace(0.8, 0.9, tensor[0].numel())
        image, alpha = partial.rerender(*case[:6])
        truth, true_alpha = full.render(*case[:6])
        assert torch.equal(image, truth)
        assert torch.equal(alpha, true_alpha)
        assert 0 < partial.tiles_drawn < full.tiles_drawn


def test_redrawing_notices_a_gaussian_that_comes_to_the_front_or_goes():
    case = random_case(count=100, width=96, height=96)
    partial, full = renderer_of(case), renderer_of(case)
    partial.render(*case[:6])
    case.means[5] *= 0.3
    case.opacities[6] = 0
    assert torch.equal(partial.rerender(*case[:6])[0], full.render(*case[:6])[0])


def test_redrawing_after_the_camera_moved_draws_it_all_anew():
    case = random_case(count=100, width=96, height=96)
    partial, full = renderer_of(case), renderer_of(case)
    partial.render(*case[:6])
    case.viewmat[0, 3] += 0.3
    assert torch.equal(partial.rerender(*case[:6])[0], full.render(*case[:6])[0])


def test_nothing_is_redrawn_where_nothing_changed():
    case = random_case(count=100)
    renderer = renderer_of(case)
    first = renderer.render(*case[:6])[0].clone()
    assert torch.equal(renderer.rerender(*case[:6])[0], first)
    assert renderer.tiles_drawn == 0


def test_changes_of_many_channels_are_noticed():
    case = random_case(count=60, channels=7)
    renderer = SplatRenderer(case.width, case.height, case.K)
    renderer.render(*case[:6])
    case.colors[:, 6] = 0
    expected, _ = rasterize(*case)
    assert torch.equal(renderer.rerender(*case[:6])[0], expected)
