"""The torso restorer fills the hole and touches nothing else."""

import numpy as np
import pytest
import torch

from synctalk.errors import AvatarError
from synctalk.torso.masks import cheeks_and_chin, widen
from synctalk.torso.restorer import TorsoRestorer, pyramid_fill


def disc(height: int, width: int, row: int, column: int, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(rows - row, columns - column) <= radius


@pytest.fixture
def scene() -> dict[str, np.ndarray]:
    """A small face (disc) over a noisy background, with a ring between them that must be healed."""
    generator = np.random.default_rng(0)
    alpha = disc(90, 70, 40, 35, 20).astype(np.float32)
    return {
        "face": np.float32([0.8, 0.6, 0.5]) * alpha[..., None],
        "alpha": alpha,
        "background": generator.random((90, 70, 3), np.float32),
        "widened": disc(90, 70, 40, 35, 28).astype(np.float32),
    }


def trained_looking() -> TorsoRestorer:
    """A restorer whose last layer is not zero, so that it does change holes."""
    torch.manual_seed(0)
    restorer = TorsoRestorer()
    torch.nn.init.normal_(restorer.leave.weight, std=0.1)
    return restorer.eval()


def test_only_the_hole_depends_on_the_network(scene):
    result = trained_looking().fill(**scene)
    hole = (1 - scene["alpha"]) * scene["widened"] > 0
    face = scene["alpha"] > 0
    np.testing.assert_allclose(result[face], scene["face"][face], atol=1e-6)
    outside = ~hole & ~face
    np.testing.assert_allclose(result[outside], scene["background"][outside], atol=1e-6)
    plain = TorsoRestorer().eval().fill(**scene)
    assert np.abs(result - plain)[hole].mean() > 1e-3


def test_what_lies_under_the_widened_mask_never_shows(scene):
    restorer = trained_looking()
    before = restorer.fill(**scene)
    changed = dict(scene)
    changed["background"] = np.where(scene["widened"][..., None] > 0, 0.0, scene["background"]).astype(
        np.float32
    )
    np.testing.assert_array_equal(before, restorer.fill(**changed))


def test_the_smooth_fill_continues_a_constant_picture():
    known = torch.ones(1, 1, 64, 48)
    known[..., 20:40, 10:30] = 0
    filled = pyramid_fill(0.37 * known.expand(1, 3, 64, 48), known)
    assert torch.allclose(filled, torch.full_like(filled, 0.37), atol=1e-4)


def test_a_restorer_comes_back_from_its_file(tmp_path, scene):
    restorer = trained_looking()
    restorer.save(tmp_path / "torso.safetensors")
    again = TorsoRestorer.load(tmp_path / "torso.safetensors")
    np.testing.assert_allclose(again.fill(**scene), restorer.fill(**scene), atol=2e-3)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "torso.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(AvatarError, match=r"torso\.safetensors"):
        TorsoRestorer.load(path)


def test_the_mask_grows_at_the_chin_and_not_at_the_forehead():
    face = disc(200, 200, 100, 100, 60)
    grown = cheeks_and_chin(face, eye_line=90, mouth_line=130, reach_px=15)
    assert grown[100 + 60 + 14, 100] and not grown[100 + 60 + 17, 100]
    assert not grown[100 - 62, 100]
    assert (grown | face).sum() == grown.sum()


def test_widening_reaches_as_far_as_asked():
    mask = np.zeros((50, 50), np.uint8)
    mask[25, 25] = 255
    grown = widen(mask, 10)
    assert grown[25, 35] and not grown[25, 37]
