import inspect
import sys
import types

import pytest
import torch
from scenes import random_case

from synctalk.portrait.splat import gsplat_backend, rasterize
from synctalk.portrait.splat.gsplat_backend import rasterize_gsplat


def test_every_argument_reaches_gsplat_under_its_name(monkeypatch):
    case = random_case(count=6)
    calls = []

    def recorded(**arguments):
        calls.append(arguments)
        images = torch.zeros(1, case.height, case.width, 3)
        return images, torch.ones(1, case.height, case.width, 1), {"means2d": torch.zeros(1, 6, 2)}

    monkeypatch.setitem(sys.modules, "gsplat", types.SimpleNamespace(rasterization=recorded))
    background = torch.tensor([0.1, 0.2, 0.3])
    image, alpha = rasterize_gsplat(*case, background=background)
    assert image.shape == (case.height, case.width, 3)
    assert alpha.shape == (case.height, case.width)
    (call,) = calls
    for name in ("means", "quats", "scales", "opacities", "colors", "width", "height"):
        assert call.pop(name) is getattr(case, name)
    assert torch.equal(call.pop("viewmats"), case.viewmat[None])
    assert torch.equal(call.pop("Ks"), case.K[None])
    assert torch.equal(call.pop("backgrounds"), background[None])
    assert call == {
        "near_plane": 0.01,
        "far_plane": 1e10,
        "eps2d": 0.3,
        "packed": False,
        "render_mode": "RGB",
        "rasterize_mode": "classic",
    }


def test_the_real_gsplat_knows_every_argument_we_pass():
    gsplat = pytest.importorskip("gsplat")
    known = inspect.signature(gsplat.rasterization).parameters
    passed = {"means", "quats", "scales", "opacities", "colors", "viewmats", "Ks", "width", "height"}
    passed |= {"near_plane", "far_plane", "eps2d", "packed", "backgrounds", "render_mode", "rasterize_mode"}
    assert passed <= set(known)


def test_without_a_usable_gsplat_one_sentence_says_why():
    reason = gsplat_backend.why_not()
    if torch.cuda.is_available() and not reason:
        pytest.skip("gsplat works here")
    assert reason.endswith(".")
    with pytest.raises(ValueError, match="gsplat"):
        rasterize(*random_case(count=3), backend="gsplat")


@pytest.mark.skipif(bool(gsplat_backend.why_not()), reason=gsplat_backend.why_not())
def test_gsplat_draws_what_the_definition_draws():
    case = random_case()
    on_gpu = [t.cuda() if isinstance(t, torch.Tensor) else t for t in case]
    image, alpha = rasterize(*on_gpu)
    truth, true_alpha = rasterize(*case, backend="torch")
    assert ((image.cpu() - truth).abs().amax(-1) > 2e-4).float().mean() <= 1e-3
    assert ((alpha.cpu() - true_alpha).abs() > 2e-4).float().mean() <= 1e-3
