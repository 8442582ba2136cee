import pytest
import torch
from scenes import random_case

from synctalk.portrait.splat.reference import project, rasterize_reference


def test_gradients_of_the_definition_are_those_of_finite_differences():
    # No pixel may sit on a cut for differences to hold: few, wide, soft Gaussians in a tiny picture.
    case = random_case(count=4, width=8, height=6, size=0.9, seed=3)
    inputs = [t.double().requires_grad_() for t in case[:6]]
    inputs[3] = (0.3 + 0.2 * case.opacities).double().requires_grad_()

    def draw(*tensors):
        return rasterize_reference(*tensors, case.K.double(), case.width, case.height)

    assert torch.autograd.gradcheck(draw, inputs, eps=1e-7, atol=1e-5, rtol=1e-4)


def test_projection_is_that_of_gsplat():
    oracle = pytest.importorskip("gsplat.cuda._torch_impl")
    case = random_case(count=300)
    seen = project(*case[:4], case.viewmat, case.K, case.width, case.height)
    covars, _ = oracle._quat_scale_to_covar_preci(case.quats, case.scales, compute_preci=False)
    radii, means2d, depths, conics, _ = oracle._fully_fused_projection(
        case.means, covars, case.viewmat[None], case.K[None], case.width, case.height
    )
    shown = seen.visible
    assert shown.sum() > 100
    a, b, c = seen.covars2d[shown].unbind(-1)
    expected = torch.stack([c, -b, a], -1) / (a * c - b * b)[:, None]
    torch.testing.assert_close(means2d[0][shown], seen.means2d[shown], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(depths[0][shown], seen.depths[shown])
    torch.testing.assert_close(conics[0][shown], expected, rtol=1e-3, atol=1e-5)
    assert bool((radii[0][shown] > 0).all())


def test_one_gaussian_on_the_axis_peaks_at_its_opacity_and_falls_off_by_its_covariance():
    K = torch.tensor([[100.0, 0, 8.5], [0, 100.0, 8.5], [0, 0, 1]], dtype=torch.float64)
    view = torch.eye(4, dtype=torch.float64)
    view[2, 3] = 2
    one = torch.ones(1, dtype=torch.float64)
    image, alpha = rasterize_reference(
        torch.zeros(1, 3, dtype=torch.float64),
        torch.tensor([[2.0, 0, 0, 0]], dtype=torch.float64),
        torch.full((1, 3), 0.04, dtype=torch.float64),
        0.8 * one,
        torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64),
        view,
        K,
        17,
        17,
    )
    variance = (100 / 2 * 0.04) ** 2 + 0.3
    assert alpha[8, 8] == pytest.approx(0.8)
    assert alpha[8, 11] == pytest.approx(0.8 * torch.exp(torch.tensor(-4.5 / variance)).item())
    torch.testing.assert_close(image[8, 8], torch.tensor([0.8, 0.4, 0.0], dtype=torch.float64))


def test_contributions_under_one_255th_are_dropped():
    case = random_case(count=1, width=64, height=64)._replace(
        means=torch.zeros(1, 3), opacities=torch.tensor([1.0]), viewmat=torch.eye(4)
    )
    case.viewmat[2, 3] = 4
    _, alpha = rasterize_reference(*case)
    assert alpha[alpha > 0].min() >= 1 / 255 - 1e-6
    assert alpha.max() <= 0.999 + 1e-6
