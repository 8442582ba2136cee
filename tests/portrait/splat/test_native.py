import pytest
import torch
from scenes import NAMES, Case, random_case

from synctalk.portrait.splat import native, rasterize
from synctalk.portrait.splat.native import rasterize_native
from synctalk.portrait.splat.reference import rasterize_reference

pytestmark = pytest.mark.skipif(bool(native.why_not()), reason=native.why_not())


def instruction_sets() -> list[str]:
    return [] if native.why_not() else native.module().instruction_sets()


def gradients(case: Case, background, dtype, draw, **options):
    inputs = [t.detach().to(dtype).clone().requires_grad_() for t in case[:6]]
    back = background.detach().to(dtype).clone().requires_grad_()
    screen = torch.zeros(len(case.means), 2, dtype=dtype, requires_grad=True)
    image, alpha = draw(
        *inputs, case.K.to(dtype), case.width, case.height, background=back, screen=screen, **options
    )
    generator = torch.Generator().manual_seed(9)
    weights = torch.randn(image.shape, generator=generator).to(dtype)
    alpha_weights = torch.randn(alpha.shape, generator=generator).to(dtype)
    ((image * weights).sum() + (alpha * alpha_weights).sum()).backward()
    grads = dict(zip((*NAMES, "background", "screen"), (*inputs, back, screen), strict=True))
    return image.detach(), alpha.detach(), {name: tensor.grad for name, tensor in grads.items()}


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize(
    ("channels", "width", "height"), [(3, 70, 45), (4, 33, 64), (1, 31, 17), (6, 40, 40)]
)
def test_native_draws_and_differentiates_as_the_definition_does(isa, channels, width, height):
    case = random_case(width=width, height=height, channels=channels, seed=channels)
    background = torch.linspace(0.1, 0.9, channels)
    image, alpha, grads = gradients(case, background, torch.float32, rasterize_native, isa=isa)
    true_image, true_alpha, true_grads = gradients(case, background, torch.float64, rasterize_reference)
    assert ((image - true_image).abs().amax(-1) > 2e-4).float().mean() <= 1e-3
    assert ((alpha - true_alpha).abs() > 2e-4).float().mean() <= 1e-3
    for name, truth in true_grads.items():
        error = (grads[name] - truth).norm() / truth.norm()
        assert error < 1e-3, f"{name}: {error:.1e}"


def test_the_picture_and_gradients_do_not_depend_on_the_number_of_threads():
    case = random_case(count=400, width=150, height=130)
    background = torch.tensor([0.2, 0.4, 0.6])
    one = gradients(case, background, torch.float32, rasterize_native, threads=1)
    two = gradients(case, background, torch.float32, rasterize_native, threads=2)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    for name in one[2]:
        assert torch.equal(one[2][name], two[2][name]), name


def test_a_deep_stack_of_opaque_gaussians_stops_at_the_first_ones():
    case = random_case(count=300, size=0.8)._replace(opacities=torch.full((300,), 0.98))
    image, alpha = rasterize(*case, backend="native")
    truth, true_alpha = rasterize(*(t.double() if isinstance(t, torch.Tensor) else t for t in case))
    assert ((image - truth).abs().amax(-1) > 2e-4).float().mean() <= 1e-3
    assert alpha.max() < 1
    assert true_alpha.max() > 0.999


def test_float64_goes_to_the_definition_and_native_takes_it_when_asked():
    case = random_case(count=50)
    double = [t.double() if isinstance(t, torch.Tensor) else t for t in case]
    assert rasterize(*double)[0].dtype == torch.float64
    image, _ = rasterize(*double, backend="native")
    assert image.dtype == torch.float64
    assert torch.equal(image.float(), rasterize(*case, backend="native")[0])


def test_arguments_that_are_not_contiguous_are_drawn_alike():
    case = random_case(count=50)
    strided = [t.t().contiguous().t() if isinstance(t, torch.Tensor) and t.dim() == 2 else t for t in case]
    assert torch.equal(rasterize(*strided, backend="native")[0], rasterize(*case, backend="native")[0])


def test_gradients_flow_where_only_some_inputs_want_them():
    case = random_case(count=20)
    colors = case.colors.clone().requires_grad_()
    image, _ = rasterize(*case._replace(colors=colors), backend="native")
    image.sum().backward()
    assert colors.grad is not None
    assert colors.grad.abs().sum() > 0


def test_an_unknown_instruction_set_is_refused_by_name():
    with pytest.raises(ValueError, match="sse1"):
        rasterize_native(*random_case(count=3), isa="sse1")
