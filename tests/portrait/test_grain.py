"""Grain: noise of the strength asked for, where it was asked for, the same for the same moment."""

import numpy as np
import pytest
import torch

from synctalk.portrait.grain import Grain
from synctalk.portrait.portrait_sync import PortraitSync
from synctalk.portrait.splat import rgb_to_yuv420
from synctalk.video import Planes

SIZE = 128
GREY = np.full((SIZE, SIZE, 3), 128, np.uint8)


def roughened(strength: float, moment: int, where: float = 1.0) -> np.ndarray:
    picture = GREY[..., 0].copy()
    Grain((SIZE, SIZE), strength).add(picture, (0, 0), np.full((SIZE, SIZE), where, np.float32), moment)
    return picture.astype(int) - 128


@pytest.mark.parametrize("strength", [0.4, 0.6, 1.0, 3.0])
def test_noise_has_the_strength_asked_for_and_no_mean(strength: float) -> None:
    noise = roughened(strength, 5)
    assert noise.std() == pytest.approx(strength, rel=0.15)
    assert abs(noise.mean()) < 0.05 * max(1, strength)


def test_no_noise_where_nothing_is_rendered_or_none_is_wanted() -> None:
    assert not roughened(2.0, 5, where=0.4).any()
    assert not roughened(0.0, 5).any()


def test_a_moment_has_its_own_noise_and_always_the_same() -> None:
    assert (roughened(2.0, 7) == roughened(2.0, 7)).all()
    first, second = roughened(2.0, 7).ravel(), roughened(2.0, 8).ravel()
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


@pytest.mark.parametrize("crop", [None, (37, 21, 256, 256)])
def test_the_rendered_face_gets_it_on_both_ways_and_nothing_else_does(crop) -> None:
    side = SIZE if crop is None else 320
    frame = np.full((side, side, 3), 128, np.uint8)
    alpha = torch.zeros(SIZE, SIZE)
    alpha[40:100, 30:90] = 1
    image = alpha[..., None] * 0.5
    mattes = np.repeat((255 * alpha.numpy()).astype(np.uint8)[None], 3, 0)
    sync = PortraitSync((SIZE, SIZE), crop, grain=2.0)
    out = sync(frame, image.expand(-1, -1, 3).contiguous(), alpha, mattes, 3)
    planes = sync.on_planes(
        Planes.from_planes(*rgb_to_yuv420(frame)), image.expand(-1, -1, 3).contiguous(), alpha, mattes, 3
    )
    x, y, width, _ = crop or (0, 0, SIZE, SIZE)
    scale = width // SIZE
    face = np.s_[y + 50 * scale : y + 90 * scale, x + 40 * scale : x + 80 * scale]
    assert out[face].astype(float).std() == pytest.approx(2.0, rel=0.15)
    assert planes.y[face].astype(float).std() == pytest.approx(2.0 * 219 / 255, rel=0.15)
    outside = np.ones((side, side), bool)
    outside[y : y + SIZE * scale, x : x + SIZE * scale] = ~np.kron(sync.region, np.ones((scale, scale), bool))
    assert (out[outside] == 128).all()


def test_the_same_grain_however_often_a_frame_is_made() -> None:
    alpha = torch.ones(SIZE, SIZE)
    mattes = np.full((3, SIZE, SIZE), 255, np.uint8)
    sync = PortraitSync((SIZE, SIZE), grain=1.5)
    image = torch.full((SIZE, SIZE, 3), 0.5)
    assert (sync(GREY, image, alpha, mattes, 4) == sync(GREY, image, alpha, mattes, 4)).all()
    assert (sync(GREY, image, alpha, mattes, 4) != sync(GREY, image, alpha, mattes, 5)).any()
