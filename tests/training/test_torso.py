"""Training the torso restorer on a few frames makes it better than a smooth fill."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from synctalk.errors import TrainingError
from synctalk.torso.restorer import TorsoRestorer
from synctalk.training.torso import TorsoTraining, cut_hole, hole_psnr, train_torso
from synctalk.video import read_frames

DATA = Path(__file__).parents[1] / "data"


@dataclass
class Footage:
    frames: np.ndarray
    mattes: np.ndarray
    landmarks68: np.ndarray
    train: np.ndarray


@pytest.fixture(scope="module")
def footage() -> Footage:
    """The labelled frames of the test clip; the last three are held out."""
    truth = np.load(DATA / "ben_3s_truth.npz")
    numbers = truth["label_frames"]
    frames = np.stack(list(read_frames(DATA / "ben_3s.mp4")))[numbers]
    face = list(truth["label_names"]).index("face")
    mattes = np.zeros((len(numbers), 3, 512, 512), np.uint8)
    mattes[:, 0] = np.where(truth["labels"] == face, 255, 0)
    return Footage(frames, mattes, truth["lm68_px"][numbers], np.arange(len(numbers) - 3))


def test_a_hole_lies_between_face_and_background(footage):
    generator = np.random.default_rng(0)
    target, alpha, widened = cut_hole(
        footage.frames[0],
        footage.mattes[0, 0],
        footage.landmarks68[0],
        generator,
        TorsoTraining(partial=0.0),
    )
    assert target.shape == (160, 224, 3) and alpha.shape == widened.shape == (160, 224)
    hole = (1 - alpha) * widened
    assert 0.01 < hole.mean() < 0.4
    assert hole[alpha > 0.99].max() < 0.02


def test_a_short_training_beats_the_smooth_fill_and_the_gap(footage, tmp_path):
    seen: list[float] = []
    settings = replace(TorsoTraining(), steps=50, batch=1, crop=(128, 160), minutes=30.0)
    trained = train_torso(
        footage, tmp_path / "t.safetensors", settings=settings, report=lambda r: seen.append(r["step"])
    )
    held_out = np.arange(len(footage.frames) - 3, len(footage.frames))
    gap = hole_psnr(None, footage, held_out, settings)
    smooth = hole_psnr(TorsoRestorer().eval(), footage, held_out, settings)
    healed = hole_psnr(trained, footage, held_out, settings)
    assert gap < smooth < healed
    assert seen == [25, 50]
    assert (tmp_path / "t.safetensors").exists()


def test_a_partial_hole_is_part_of_the_whole_one(footage):
    whole, part = (
        cut_hole(
            footage.frames[0],
            footage.mattes[0, 0],
            footage.landmarks68[0],
            np.random.default_rng(3),
            TorsoTraining(partial=share),
        )[2]
        for share in (0.0, 1.0)
    )
    assert 0 < part.sum() < whole.sum()
    assert (part <= whole).all()


def test_a_busy_machine_does_not_cut_the_training_short(footage, tmp_path):
    seen: list[float] = []
    settings = replace(
        TorsoTraining(), steps=1000, least_steps=25, minutes=1e-6, batch=1, crop=(64, 96), perceptual_every=50
    )
    train_torso(
        footage, tmp_path / "t.safetensors", settings=settings, report=lambda r: seen.append(r["step"])
    )
    assert seen == [25]


def test_footage_without_a_face_is_refused(footage, tmp_path):
    blind = replace(footage, landmarks68=np.full_like(footage.landmarks68, np.nan))
    with pytest.raises(TrainingError, match="no frame with a face"):
        train_torso(blind, tmp_path / "t.safetensors")
