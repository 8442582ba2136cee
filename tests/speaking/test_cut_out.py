"""Cutting a person out: colours of the rim, haze, and what must stay as it is."""

import numpy as np

from synctalk.speaking.cut_out import cut_out


def scene(height: int = 300, width: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """A dark round person with a soft rim, and its matte."""
    y, x = np.mgrid[:height, :width]
    away = np.hypot(x - width / 2, y - height / 2)
    return np.full((height, width, 3), (60, 40, 30), np.float32), np.clip((90 - away) / 8 + 0.5, 0, 1)


def test_the_old_background_leaves_the_rim():
    own, matte = scene()
    picture = (own * matte[..., None] + 230 * (1 - matte[..., None])).round().astype(np.uint8)
    colours, cut = cut_out(picture, (255 * matte).round().astype(np.uint8))
    rim = (matte > 0.1) & (matte < 0.9)
    assert np.abs(picture[rim] - own[rim]).mean() > 80
    assert np.abs(colours[rim] - own[rim]).mean() < 15
    assert np.abs(cut[rim] - 255 * matte[rim]).max() <= 12  # the faintest 8 levels count as nothing


def test_haze_far_from_the_person_goes_and_the_inside_stays():
    own, matte = scene()
    picture = np.random.default_rng(0).integers(0, 256, own.shape, np.uint8)
    hazy = (255 * matte).round().astype(np.uint8)
    hazy[:60, :80] = 70
    colours, cut = cut_out(picture, hazy)
    assert not cut[:60, :80].any()
    inside = matte == 1
    assert (cut[inside] == 255).all() and (colours[inside] == picture[inside]).all()


def test_nobody_there_leaves_an_empty_matte():
    picture = np.full((64, 64, 3), 90, np.uint8)
    colours, cut = cut_out(picture, np.full((64, 64), 20, np.uint8))
    assert not cut.any() and (colours == picture).all()
