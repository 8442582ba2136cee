"""The expression generator streams, obeys its style, and comes back from its file."""

import numpy as np
import pytest
import torch

from synctalk.errors import AvatarError, SpeechError
from synctalk.expression.generator import STYLES, ExpressionGenerator, ExpressionStream, GeneratorSettings
from synctalk.expression.voice import FEATURES


@pytest.fixture(scope="module")
def generator() -> ExpressionGenerator:
    torch.manual_seed(0)
    return ExpressionGenerator(GeneratorSettings(width=32, code=8, memory=10, mood=20)).eval()


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((300, FEATURES)).astype(np.float32)


def test_coefficients_have_the_right_shape_and_range(generator, features):
    curves = ExpressionStream(generator, "happy").push(features)
    assert curves.shape == (300, 52) and curves.dtype == np.float32
    assert (curves > 0).all() and (curves < 1).all()


def generator_in_one_go(
    generator: ExpressionGenerator, features: np.ndarray, style: str | None
) -> np.ndarray:
    code = None if style is None else generator.style_code(style)
    with torch.inference_mode():
        return generator(torch.from_numpy(features)[None], code)[0].numpy()


@pytest.mark.parametrize("style", [None, "serious"])
def test_pieces_give_what_the_whole_gives(generator, features, style):
    features = np.concatenate([features, features[::-1]])
    whole = generator_in_one_go(generator, features, style)
    stream = ExpressionStream(generator, style)
    pieces = np.concatenate([stream.push(features[a:b]) for a, b in ((0, 15), (15, 65), (65, 600))])
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


@pytest.mark.parametrize("style", [None, "neutral"])
def test_the_future_is_not_used(generator, features, style):
    changed = features.copy()
    changed[200:] = 0
    before = ExpressionStream(generator, style).push(features)
    after = ExpressionStream(generator, style).push(changed)
    np.testing.assert_allclose(before[:200], after[:200], atol=1e-6)


def test_strength_moves_from_neutral_to_the_style(generator):
    neutral = generator.style_code("neutral")
    assert torch.equal(generator.style_code("happy", 0.0), neutral)
    half = generator.style_code("happy", 0.5)
    assert torch.allclose(2 * half, neutral + generator.style_code("happy", 1.0), atol=1e-6)


def test_without_a_style_the_manner_is_heard_from_the_voice(generator, features):
    heard = ExpressionStream(generator).push(features[:50])
    given = ExpressionStream(generator, "neutral").push(features[:50])
    assert np.abs(heard - given).max() > 1e-4


def test_an_unknown_style_names_the_known_ones(generator):
    with pytest.raises(SpeechError, match="neutral, happy, serious, surprised"):
        generator.style_code("bored")
    assert STYLES[0] == "neutral"


def test_the_full_network_is_small():
    assert sum(p.numel() for p in ExpressionGenerator().parameters()) < 10_000_000


def test_a_generator_comes_back_from_its_file(tmp_path, generator, features):
    generator.save(tmp_path / "g.safetensors")
    again = ExpressionGenerator.load(tmp_path / "g.safetensors")
    expected = ExpressionStream(generator, "happy").push(features[:40])
    np.testing.assert_allclose(ExpressionStream(again, "happy").push(features[:40]), expected, atol=5e-3)
    (tmp_path / "bad.safetensors").write_bytes(b"x")
    with pytest.raises(AvatarError, match="bad"):
        ExpressionGenerator.load(tmp_path / "bad.safetensors")
