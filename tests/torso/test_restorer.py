"""The torso restorer fills the hole and touches nothing else."""

import cv2
import numpy as np
import pytest
import torch

from synctalk.errors import AvatarError
from synctalk.tensor_file import read_tensors, write_tensors
from synctalk.torso.masks import cheeks_and_chin, widen
from synctalk.torso.restorer import TorsoRestorer, from_blocks, pyramid_fill, to_blocks


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
    torch.nn.init.normal_(restorer.net.leave.weight, std=0.1)
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


@pytest.mark.parametrize("size", [(48, 64), (80, 112), (176, 208)])
def test_the_fast_path_makes_the_same_picture_as_the_one_for_training(size):
    generator = np.random.default_rng(1)
    alpha = cv2.GaussianBlur((generator.random(size) > 0.7).astype(np.float32), (0, 0), 2)
    blotches = cv2.GaussianBlur(generator.random(size).astype(np.float32), (0, 0), 6)
    widened = (blotches > 0.5).astype(np.float32)
    face = generator.random((*size, 3), np.float32) * alpha[..., None]
    background = generator.random((*size, 3), np.float32)
    restorer = trained_looking()
    given = (face, alpha[..., None], background, widened[..., None])
    with torch.inference_mode():
        plain = restorer(*(torch.from_numpy(part).permute(2, 0, 1)[None] for part in given))
    fast = restorer.fill(face, alpha, background, widened)
    np.testing.assert_allclose(fast, plain[0].permute(1, 2, 0).numpy(), atol=1e-5)


def test_blocks_and_back_is_the_same_picture():
    picture = torch.rand(2, 5, 16, 24)
    assert to_blocks(picture).shape == (2, 80, 4, 6)
    assert torch.equal(from_blocks(to_blocks(picture)), picture)


def test_half_precision_changes_no_grey_level_by_much(tmp_path, scene):
    restorer = trained_looking()
    restorer.save(tmp_path / "torso.safetensors")
    half = TorsoRestorer.load(tmp_path / "torso.safetensors", torch.bfloat16)
    np.testing.assert_allclose(half.fill(**scene), restorer.fill(**scene), atol=3 / 255)


def test_the_smooth_fill_continues_a_constant_picture():
    known = torch.ones(1, 1, 64, 48)
    known[..., 20:40, 10:30] = 0
    filled = pyramid_fill(0.37 * known.expand(1, 3, 64, 48), known)
    assert torch.allclose(filled, torch.full_like(filled, 0.37), atol=1e-4)


def test_a_restorer_comes_back_from_its_file(tmp_path, scene):
    restorer = trained_looking()
    restorer.save(tmp_path / "torso.safetensors")
    again = TorsoRestorer.load(tmp_path / "torso.safetensors", torch.float32)
    np.testing.assert_allclose(again.fill(**scene), restorer.fill(**scene), atol=2e-3)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "torso.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(AvatarError, match=r"torso\.safetensors"):
        TorsoRestorer.load(path)


def test_a_file_of_an_older_version_says_what_to_do(tmp_path):
    path = tmp_path / "torso.safetensors"
    TorsoRestorer().save(path)
    tensors, settings = read_tensors(path)
    write_tensors(path, tensors, {"widths": settings["widths"]})
    with pytest.raises(AvatarError, match=r"version 1.*synctalk train-torso"):
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
