"""Training of the generator and of the codebook, on small made-up faces."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from synctalk.errors import TrainingError
from synctalk.expression.generator import STYLES, ExpressionStream
from synctalk.expression.voice import ENERGY, FEATURES, VOICED
from synctalk.training.codebook import CodebookTraining, into_range, train_codebook
from synctalk.training.expression import (
    Filmed,
    GeneratorTraining,
    read_curves,
    train_generator,
    without_blinks,
)
from synctalk.training.expression_rules import BROWS_DOWN, BROWS_UP, SMILE, accents, upper_face


def rhythmic_voice(frames: int = 400, seed: int = 0) -> np.ndarray:
    """Normalised features of a voice with an accent every second."""
    generator = np.random.default_rng(seed)
    features = generator.normal(0, 0.1, (frames, FEATURES)).astype(np.float32)
    features[:, VOICED] = 1
    features[:, ENERGY] = np.maximum(0, np.sin(2 * np.pi * np.arange(frames) / 25)) ** 4
    return features


def filmed_pair() -> Filmed:
    """A face whose brows follow the accents and whose second half smiles."""
    features = rhythmic_voice()
    curves = np.zeros((400, 52), np.float32)
    curves[:, list(BROWS_UP)] = 0.5 * features[:, [ENERGY]]
    curves[200:, list(SMILE)] = 0.4
    return Filmed(features, curves, (np.arange(400) >= 200).astype(np.int64))


def test_accents_sit_on_the_peaks_of_the_voice():
    curve = accents(rhythmic_voice())
    peaks = np.flatnonzero((curve[1:-1] > curve[:-2]) & (curve[1:-1] >= curve[2:]) & (curve[1:-1] > 0.3)) + 1
    assert len(peaks) == 16
    assert np.abs(peaks % 25 - 6.25).max() <= 3


def test_styles_look_different_under_the_rules():
    faces = {style: upper_face(rhythmic_voice(), style).mean(0) for style in STYLES}
    assert faces["happy"][SMILE[0]] > faces["neutral"][SMILE[0]] + 0.1
    assert faces["serious"][BROWS_DOWN[0]] > faces["neutral"][BROWS_DOWN[0]] + 0.1
    assert faces["surprised"][BROWS_UP[0]] > faces["neutral"][BROWS_UP[0]] + 0.1


def test_surprise_raises_the_brows_first_and_a_question_last():
    features = rhythmic_voice(frames=150)
    features[:25, VOICED] = 0
    brow = BROWS_UP[0]
    surprised, question = (upper_face(features, style)[:, brow] for style in ("surprised", "question"))
    assert surprised[30:50].mean() > surprised[100:].mean() + 0.15
    assert question[30:45].mean() < question[100:].mean() - 0.15


def test_curves_are_read_with_their_styles_and_faults_are_named(tmp_path):
    np.savez(
        tmp_path / "c.npz",
        bs52=np.zeros((4, 52)),
        style=[0, 1, 2, 1],
        style_names=["bored", "happy", "question"],
    )
    curves, styles = read_curves(tmp_path / "c.npz")
    assert curves.shape == (4, 52) and curves.dtype == np.float32
    assert [STYLES[i] for i in styles] == ["neutral", "happy", "question", "happy"]
    np.savez(tmp_path / "d.npz", other=np.zeros(3))
    with pytest.raises(TrainingError, match=r"d\.npz holds no coefficients"):
        read_curves(tmp_path / "d.npz")


def test_blinks_are_taken_out_and_slow_lids_stay():
    curves = np.zeros((100, 52), np.float32)
    slow = 0.1 + 0.05 * np.sin(np.arange(100) / 15)
    curves[:, 8] = slow
    curves[40:45, 8] = [0.5, 1.0, 0.9, 0.6, 0.3]
    clean = without_blinks(curves)[:, 8]
    assert np.abs(clean - slow).max() < 0.05


def test_a_short_training_learns_accents_and_styles(tmp_path):
    pair = filmed_pair()
    settings = GeneratorTraining(
        steps=60,
        minutes=30,
        batch=4,
        window=50,
        learning_rate=4e-3,
        average=0.8,
        ruled_weight=0.05,
        cross_weight=0.05,
    )
    generator = train_generator([pair], [rhythmic_voice(seed=1)], tmp_path / "g.safetensors", settings)
    neutral = ExpressionStream(generator, "neutral").push(pair.features)
    happy = ExpressionStream(generator, "happy").push(pair.features)
    assert happy[:, SMILE[0]].mean() > neutral[:, SMILE[0]].mean() + 0.04
    brow = BROWS_UP[0]
    assert np.corrcoef(neutral[50:200, brow], pair.curves[50:200, brow])[0, 1] > 0.7


def test_too_little_footage_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="at least 150 frames"):
        train_generator([], [], tmp_path / "g.safetensors")
    with pytest.raises(TrainingError, match="at least 72 frames"):
        train_codebook([np.full((100, 52), np.nan)], tmp_path / "c.safetensors")


def test_a_raise_that_went_too_far_keeps_its_shape_and_others_are_untouched():
    curves = torch.zeros(1, 60, 52)
    curves[0, 10:30, 0] = torch.linspace(0, 2, 20)
    curves[0, 30:50, 0] = torch.linspace(2, 0.5, 20)
    curves[0, :, 1] = torch.linspace(0, 0.85, 60)
    target = into_range(curves, memory=24)
    assert 0.9 < float(target.max()) < 0.97
    torch.testing.assert_close(target[0, :, 1], curves[0, :, 1])
    torch.testing.assert_close(target[0, 10:18, 0], curves[0, 10:18, 0])
    falling = target[0, 30:50, 0] / curves[0, 30:50, 0]
    torch.testing.assert_close(falling, falling[:1].expand(20))


def test_a_short_training_makes_curves_come_back_and_a_subject_keeps_the_shared_codes(tmp_path):
    time = np.arange(600)[:, None]
    curves = (0.3 + 0.25 * np.sin(time / (8 + np.arange(52)))).astype(np.float32)
    settings = CodebookTraining(steps=80, minutes=30, batch=8, window=32)
    losses: list[float] = []
    shared = train_codebook(
        [curves],
        tmp_path / "c.safetensors",
        settings=settings,
        report=lambda r: losses.append(r["perplexity"]),
    )
    error = np.abs(shared.fit(curves) - curves).mean()
    assert error < 0.6 * np.abs(curves - curves.mean(0)).mean()
    assert losses and losses[-1] > 1
    own = train_codebook(
        [0.5 * curves],
        tmp_path / "own.safetensors",
        start=tmp_path / "c.safetensors",
        settings=replace(settings, steps=5),
    )
    torch.testing.assert_close(own.quantizer.entries, shared.quantizer.entries, atol=1e-3, rtol=1e-2)
    assert own.fit(curves).max() <= 0.5 * curves.max() + 0.02
