"""The restorer's figures: mouths that do not fit the source, holes that are known."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from synctalk.errors import TrainingError
from synctalk.evaluation.torso import table, torso_figures
from synctalk.torso.restorer import TorsoRestorer

SIZE, FRAMES = 256, 5
GAPS = np.array([0.0, 0.0, 0.0, 0.3, 0.3])


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
    assert figures["source_shut"]["frames"] == 3
    for direction in ("source_open", "source_shut"):
        assert figures[direction]["restored"] == 1
        for name in ("with", "without"):
            assert {"niqe", "brisque", "flicker", "ms"} <= set(figures[direction][name])
    assert figures["source_shut"]["without"]["flicker"] == 0  # the same mouth over the same source
    assert figures["holes"]["smooth"] > figures["holes"]["dark"]
    text = table(figures)
    assert "source open, generated shut (2 frames)" in text and "ms per frame" in text


def test_a_mouth_that_never_opens_cannot_be_judged():
    with pytest.raises(TrainingError, match="both open and shut"):
        torso_figures(Renderer(), TorsoRestorer().eval(), footage(np.zeros(FRAMES)), np.arange(FRAMES))
