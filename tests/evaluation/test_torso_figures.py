"""The restorer's figures: mouths that do not fit the source, holes that are known."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from synctalk.errors import TrainingError
from synctalk.evaluation import torso
from synctalk.evaluation.natural import PATCH
from synctalk.evaluation.torso import WITH, WITHOUT, _Pairs, seam_band, table, torso_figures
from synctalk.torso.restorer import TorsoRestorer

SIZE, FRAMES = 256, 10
GAPS = np.array([0.0, 0.0, 0.05, 0.05, 0.1, 0.1, 0.15, 0.15, 0.3, 0.3])


def drawn(gap: float) -> tuple[np.ndarray, np.ndarray]:
    """A face over a neck, uint8 [256,256,3], and its matte; the chin goes down with the mouth's gap."""
    frame = np.full((SIZE, SIZE, 3), 90, np.uint8)
    cv2.rectangle(frame, (95, 150), (160, 255), (150, 110, 90), -1)
    matte = np.zeros((SIZE, SIZE), np.uint8)
    cv2.ellipse(matte, (128, 120), (50, 75 + round(60 * gap)), 0, 0, 360, 255, -1)
    frame[matte > 0] = (200, 160, 140)
    return frame, matte


class Renderer:
    """Draws the face with the mouth its condition says."""

    def conditions(self, lips, expressions, silence):
        return lips[:, :1]

    def render(self, conditions, place, viewmat):
        frame, matte = drawn(float(conditions[place]))
        alpha = torch.from_numpy(matte / np.float32(255))
        return torch.from_numpy(frame / np.float32(255)) * alpha[..., None], alpha


def footage(gaps: np.ndarray) -> SimpleNamespace:
    frames, mattes = zip(*map(drawn, gaps), strict=True)
    mesh = np.zeros((len(gaps), 478, 3), np.float32)
    mesh[:, 33, 0], mesh[:, 263, 0], mesh[:, 14, 1] = -0.5, 0.5, gaps
    angle = np.linspace(np.pi, 0, 17)
    points = np.full((68, 2), (128, 90), np.float32)
    points[:17] = np.stack([128 + 50 * np.cos(angle), 120 + 75 * np.sin(angle)], 1)
    points[48:60, 1] = 160
    return SimpleNamespace(
        frames=np.stack(frames),
        mattes=np.stack([[face, face, face] for face in mattes]),
        landmarks478=mesh,
        landmarks68=np.tile(points, (len(gaps), 1, 1)),
        lips=np.tile(gaps[:, None], (1, 512)).astype(np.float32),
        expressions=np.zeros((len(gaps), 52), np.float32),
        silence=np.zeros(len(gaps), bool),
        viewmats=np.tile(np.eye(4, dtype=np.float32), (len(gaps), 1, 1)),
        size=SIZE,
        train=np.arange(len(gaps)),
        __len__=lambda: len(gaps),
    )


def test_both_mismatches_are_forced_and_every_figure_is_there():
    figures = torso_figures(Renderer(), TorsoRestorer().eval(), footage(GAPS), np.arange(FRAMES))
    assert figures["source_open"]["frames"] == 2
    assert figures["source_shut"]["frames"] == 2
    for direction in ("source_open", "source_shut"):
        assert figures[direction]["restored"] == (direction == "source_open")
        for name in ("with", "without"):
            measured = {"niqe", "brisque", "niqe_chin", "brisque_chin", "flicker"}
            assert measured | {"ms"} == set(figures[direction][name])
            assert measured == set(figures[direction]["difference"])
    assert figures["source_shut"]["without"]["flicker"] == 0  # the same mouth over the same source
    assert figures["holes"]["smooth"] > figures["holes"]["dark"]
    text = table(figures)
    assert "source open, generated shut (2 frames)" in text and "ms per frame" in text


def test_niqe_sees_the_whole_head_in_whole_patches(monkeypatch):
    seen = []
    monkeypatch.setattr(torso, "niqe", lambda picture: seen.append(picture.shape[:2]) or 0.0)
    torso_figures(Renderer(), TorsoRestorer().eval(), footage(GAPS), np.arange(FRAMES))
    assert all(height % PATCH == 0 and width % PATCH == 0 for height, width in seen)


def test_a_mouth_that_never_opens_cannot_be_judged():
    with pytest.raises(TrainingError, match="both open and shut"):
        torso_figures(Renderer(), TorsoRestorer().eval(), footage(np.zeros(FRAMES)), np.arange(FRAMES))


def test_a_difference_comes_with_its_error_and_a_run_of_frames_counts_once():
    together, apart = _Pairs(), _Pairs()
    for number, change in enumerate([0.5, 0.5, 0.5, 0.5, -0.1, -0.1, -0.1, -0.1]):
        values = {WITH: 3 + change, WITHOUT: 3.0}
        together.add(values, number // 4)
        apart.add(values, number)
    together.add({WITH: float("nan"), WITHOUT: 1.0}, 9)
    assert together.difference()[0] == apart.difference()[0] == pytest.approx(0.2)
    assert apart.difference()[1] == pytest.approx(0.3 / np.sqrt(8), abs=1e-4)
    assert together.difference()[1] == pytest.approx(0.3 / np.sqrt(2), abs=1e-4)


def test_the_band_lies_around_the_chin_and_not_on_the_rendered_face():
    face = np.zeros((100, 100), np.uint8)
    face[10:81, 30:70] = 255
    alpha, region = (face > 0).astype(np.float32), np.ones((100, 100), bool)
    alpha[75:] = 0
    hair = face.copy()
    hair[60:, :40] = 255
    band = seam_band(np.stack([face, hair, hair]), alpha, region)
    assert band[78, 50] and band[85, 50] and band[70, 75]
    assert not band[70, 50] and not band[40, 75] and not band[70, 20]
