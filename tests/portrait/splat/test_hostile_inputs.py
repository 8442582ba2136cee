import math

import pytest
import torch
from scenes import Case, random_case

from synctalk.portrait.splat import native, rasterize

BACKENDS = ["torch"] if native.why_not() else ["torch", "native"]
HOSTILE = {
    "NaN mean": ("means", math.nan),
    "infinite mean": ("means", math.inf),
    "NaN quaternion": ("quats", math.nan),
    "zero quaternion": ("quats", 0.0),
    "NaN scale": ("scales", math.nan),
    "zero scale": ("scales", 0.0),
    "huge scale": ("scales", 1e10),
    "infinite scale": ("scales", math.inf),
    "opacity 0": ("opacities", 0.0),
    "opacity 1": ("opacities", 1.0),
    "NaN opacity": ("opacities", math.nan),
    "NaN color": ("colors", math.nan),
    "huge color": ("colors", 1e30),
}


def draw(case: Case, backend: str):
    inputs = [t.detach().clone().requires_grad_() for t in case[:6]]
    image, alpha = rasterize(*inputs, *case[6:], backend=backend)
    (image.sum() + alpha.sum()).backward()
    return image.detach(), alpha.detach(), [t.grad for t in inputs]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_value_leaves_a_defined_picture_and_finite_gradients(backend, what):
    name, value = HOSTILE[what]
    case = random_case(count=40, width=40, height=33)
    getattr(case, name)[::3] = value
    image, alpha, grads = draw(case, backend)
    assert bool(torch.isfinite(image).all())
    assert bool(((alpha >= 0) & (alpha <= 1)).all())
    for grad in grads:
        assert bool(torch.isfinite(grad).all())


@pytest.mark.parametrize("backend", BACKENDS)
def test_everything_behind_the_camera_is_background(backend):
    case = random_case(count=20)
    case.viewmat[2, 3] = -50
    image, alpha = rasterize(*case, background=torch.tensor([0.1, 0.2, 0.3]), backend=backend)
    assert bool((alpha == 0).all())
    torch.testing.assert_close(image, torch.tensor([0.1, 0.2, 0.3]).expand_as(image))


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_gaussians_at_all_are_background(backend):
    image, alpha, grads = draw(random_case(count=0), backend)
    assert image.shape == (45, 70, 3)
    assert not image.any()
    assert not alpha.any()
    assert grads[0].shape == (0, 3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 90), (97, 2)])
def test_pictures_of_any_shape_are_drawn(backend, width, height):
    case = random_case(count=30, width=width, height=height)
    image, alpha, _ = draw(case, backend)
    assert image.shape == (height, width, 3)
    assert alpha.shape == (height, width)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("means", (5, 2)),
        ("means", (5,)),
        ("quats", (5, 3)),
        ("scales", (4, 3)),
        ("opacities", (5, 1)),
        ("colors", (5,)),
        ("colors", (5, 0)),
        ("viewmat", (3, 4)),
        ("K", (4, 4)),
    ],
)
def test_a_wrong_shape_is_an_error_with_the_argument_s_name(name, shape):
    case = random_case(count=5)._replace(**{name: torch.ones(shape)})
    # A wrong number of means shows as every other argument's, too.
    with pytest.raises(ValueError, match=name if name != "means" else "means|quats"):
        rasterize(*case)


def test_other_wrong_arguments_are_named():
    case = random_case(count=5)
    with pytest.raises(TypeError, match="opacities"):
        rasterize(*case._replace(opacities=torch.ones(5, dtype=torch.int64)))
    with pytest.raises(TypeError, match="means"):
        rasterize(*case._replace(means=[[0.0, 0.0, 0.0]]))
    with pytest.raises(ValueError, match="width"):
        rasterize(*case._replace(width=0))
    with pytest.raises(ValueError, match="height"):
        rasterize(*case._replace(height=10**6))
    with pytest.raises(ValueError, match="background"):
        rasterize(*case, background=torch.zeros(2))
    with pytest.raises(ValueError, match="viewmat"):
        rasterize(*case._replace(viewmat=torch.full((4, 4), math.nan)))
    with pytest.raises(ValueError, match="focal"):
        rasterize(*case._replace(K=torch.zeros(3, 3)))
    with pytest.raises(ValueError, match="screen"):
        rasterize(*case, screen=torch.zeros(3, 2))
    with pytest.raises(ValueError, match="backend"):
        rasterize(*case, backend="opengl")
