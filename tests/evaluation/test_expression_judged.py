"""Expressions are judged against truth and baselines, codebooks by their range, blinks as distributions."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from synctalk.errors import AvatarError
from synctalk.evaluation.expression import (
    JUDGED,
    compare,
    compare_blinks,
    compare_raises,
    judge_codebook,
)
from synctalk.evaluation.expression_render import judge_render
from synctalk.expression.blinks import BlinkHabit, Blinks
from synctalk.expression.codebook import Codebook, CodebookSettings
from synctalk.expression.generator import ExpressionGenerator, GeneratorSettings
from synctalk.expression.voice import FEATURES
from synctalk.face_sync.blendshapes import BLINK
from synctalk.training.expression import Filmed


class Echo:
    """Stands in for a codebook: cuts what it is given at the range."""

    def __init__(self, curves: np.ndarray) -> None:
        book = Codebook(CodebookSettings(width=32, layers=1, tokens=4, code=4, entries=8, stages=2)).eval()
        book.set_range(curves)
        self.low, self.high, self.quantizer, self._book = book.low, book.high, book.quantizer, book

    def __call__(self, curves: torch.Tensor):
        return self._book(curves)

    def fit(self, curves: np.ndarray) -> np.ndarray:
        return np.clip(curves, self.low.numpy(), self.high.numpy())


@pytest.fixture(scope="module")
def curves() -> np.ndarray:
    steps = np.random.default_rng(0).normal(size=(500, 52)).cumsum(0)
    return (0.1 + 0.3 * (steps - steps.min(0)) / np.ptp(steps, axis=0)).astype(np.float32)


def test_the_truth_itself_makes_no_error_and_the_baselines_do(curves):
    torch.manual_seed(0)
    generator = ExpressionGenerator(GeneratorSettings(width=32, code=8, memory=10)).eval()
    features = np.random.default_rng(1).normal(size=(500, FEATURES)).astype(np.float32)
    styles = np.ones(500, np.int64)
    with torch.inference_mode():
        code = generator.styles(torch.from_numpy(styles[None]))
        own = generator(torch.from_numpy(features[None]), code)[0].numpy()
    table = compare(generator, Filmed(features, own, styles), curves, start=400)
    assert table["generator"]["l1"] < 1e-6 and table["generator"]["r"] == pytest.approx(1)
    assert table["mean face"]["aue"] > 0.01 and table["mean face"]["r"] == 0
    assert table["repeat"]["l1"] > 0.01


def test_a_codebook_that_clips_is_found_out(curves):
    judged = judge_codebook(Echo(curves), curves)  # type: ignore[arg-type]
    assert judged["r_min"] > 0.98 and 0.9 < judged["variance_min"] <= judged["variance_max"] < 1.1
    assert judged["outside_before"] > 0.9 and judged["clipped"] > 0.9 and judged["outside"] == 0
    assert judged["perplexity"] >= 1


def test_blinks_of_the_same_habit_look_alike_and_slower_ones_do_not():
    usual = Blinks(BlinkHabit(), seed=0).next(25 * 600)
    same = compare_blinks(Blinks(BlinkHabit(), seed=1).next(25 * 600), usual)
    assert same["made"]["per_minute"] == pytest.approx(same["truth"]["per_minute"], rel=0.15)
    assert all(same["distance"][f"{name}_p"] > 0.01 for name in ("duration_s", "depth", "pause_s"))
    slow = BlinkHabit(closing_s=(0.2, 0.3), opening_s=(0.3, 0.4))
    other = compare_blinks(Blinks(slow, seed=1).next(25 * 600), usual)
    assert other["distance"]["duration_s"] > 0.9
    assert other["made"]["duration_s_50"] > 1.4 * other["truth"]["duration_s_50"]


def test_raises_are_counted_and_measured():
    brow = np.zeros(1500, np.float32)
    for start in range(100, 1500, 150):
        brow[start : start + 11] = 0.2 * np.hanning(11)
    found = compare_raises(brow, 2 * brow)
    assert found["made"]["per_minute"] == found["truth"]["per_minute"] == 10
    assert found["made"]["height_50"] == pytest.approx(0.2) and found["truth"]["height_50"] == pytest.approx(
        0.4
    )
    assert found["made"]["pause_s_50"] == 6 and found["distance"]["height"] == 1


class FakeRenderer:
    """A face of one square that moves with the first brow."""

    def conditions(
        self, lips: torch.Tensor, expressions: torch.Tensor, silence: torch.Tensor
    ) -> torch.Tensor:
        return expressions

    def deform(self, condition: torch.Tensor, view: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.tensor([[0.0, float(condition[JUDGED[0]]), 0.0], [0.0, 0.0, 0.0]]),)

    def render(
        self, conditions: torch.Tensor, t: int, view: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        image = torch.from_numpy(np.random.default_rng(0).uniform(0, 0.3, (256, 256, 3))).float()
        height = int(100 + 200 * conditions[t, JUDGED[0]])
        image[100:height, 60:200] += 0.5
        return image, torch.ones(256, 256)


def fake_avatar(curves: np.ndarray, expression: Echo | None) -> SimpleNamespace:
    mattes = np.zeros((3, 256, 256), np.uint8)
    mattes[1, 40:220, 50:210] = 255
    return SimpleNamespace(
        name="fake",
        size=(256, 256),
        blendshapes=torch.from_numpy(curves),
        viewmats=torch.eye(4).repeat(len(curves), 1, 1),
        expression=expression,
        mattes=lambda frame: mattes,
        renderer=FakeRenderer,
    )


def test_the_render_shows_what_the_codebook_is_for(tmp_path, curves):
    table = judge_render(fake_avatar(curves, Echo(curves)), tmp_path / "s.png", frames=8)  # type: ignore[arg-type]
    assert table["own"]["outside"] == 0 and table["own"]["astray"] == 0
    assert table["without"]["outside"] == 1 and table["without"]["astray"] > 0.2
    assert table["without"]["astray_mm"] > 2
    assert table["with"]["outside"] == 0 and table["with"]["astray"] == 0
    assert table["with"]["psnr"] > table["without"]["psnr"]
    sheet = cv2.imread(str(tmp_path / "s.png"))
    assert sheet is not None and sheet.shape[1] == 6 * 224


def test_an_avatar_without_a_codebook_is_named(tmp_path, curves):
    with pytest.raises(AvatarError, match="fake has no codebook"):
        judge_render(fake_avatar(curves, None), tmp_path / "s.png")  # type: ignore[arg-type]


def test_lids_are_not_judged_as_expressions():
    assert not set(BLINK) & set(JUDGED)
