import numpy as np
import pytest
import torch

from synctalk.portrait.splat import dssim, helpers, native, rgb_to_yuv420


@pytest.mark.parametrize("shape", [(64, 48, 3), (7, 5, 1), (1, 1, 3), (70, 131, 4)])
def test_dssim_and_its_gradient_are_those_of_the_definition(shape):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(shape, generator=generator).requires_grad_()
    target = (0.5 * image.detach() + 0.5 * torch.rand(shape, generator=generator)).clamp(0, 1)
    value = dssim(image, target)
    (gradient,) = torch.autograd.grad(3 * value, image)
    true_value = helpers.dssim_reference(image.double(), target.double())
    (true_gradient,) = torch.autograd.grad(3 * true_value, image)
    assert value.item() == pytest.approx(true_value.item(), abs=1e-5)
    assert (gradient - true_gradient).norm() < 1e-3 * true_gradient.norm()


def test_dssim_of_an_image_with_itself_is_zero_and_refuses_other_shapes():
    image = torch.rand(20, 30, 3)
    assert dssim(image, image).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="image and target"):
        dssim(image, image[:, :-1])


@pytest.mark.parametrize(
    ("matrix", "rgb", "yuv"),
    [
        ("bt709", (1, 1, 1), (235, 128, 128)),
        ("bt709", (0, 0, 0), (16, 128, 128)),
        ("bt709", (1, 0, 0), (63, 102, 240)),
        ("bt709", (0, 1, 0), (173, 42, 26)),
        ("bt601", (1, 0, 0), (81, 90, 240)),
        ("bt601", (0, 0, 1), (41, 240, 110)),
    ],
)
def test_known_colours_get_their_limited_range_codes(matrix, rgb, yuv):
    image = torch.tensor(rgb, dtype=torch.float32).expand(4, 6, 3)
    planes = rgb_to_yuv420(image, matrix)
    assert [plane.shape for plane in planes] == [(4, 6), (2, 3), (2, 3)]
    assert tuple(int(plane[0, 0]) for plane in planes) == yuv


def test_the_native_planes_are_those_of_numpy_and_take_bytes_and_nonsense():
    image = np.random.default_rng(0).random((34, 130, 3), dtype=np.float32) * 1.4 - 0.2
    image[0, 0] = np.nan
    ours = rgb_to_yuv420(image)
    plain = helpers._yuv_reference(image, helpers.yuv_weights("bt709"))
    for plane, other in zip(ours, plain, strict=True):
        assert np.abs(plane.astype(int) - other).max() <= 1
    as_bytes = (np.clip(np.nan_to_num(image), 0, 1) * 255 + 0.5).astype(np.uint8)
    assert np.abs(rgb_to_yuv420(as_bytes)[0].astype(int) - ours[0]).max() <= 1


def test_odd_sides_and_unknown_matrices_are_refused():
    with pytest.raises(ValueError, match="even"):
        rgb_to_yuv420(torch.zeros(3, 4, 3))
    with pytest.raises(ValueError, match="matrix"):
        rgb_to_yuv420(torch.zeros(4, 4, 3), "bt2020")


def test_without_the_native_module_the_helpers_still_work(monkeypatch):
    image = torch.rand(12, 10, 3)
    fast = rgb_to_yuv420(image), dssim(image, image.flip(0))
    monkeypatch.setattr(native, "why_not", lambda: "No C++ compiler was found.")
    slow = rgb_to_yuv420(image), dssim(image, image.flip(0))
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(fast[0], slow[0], strict=True))
    assert fast[1].item() == pytest.approx(slow[1].item(), abs=1e-5)
