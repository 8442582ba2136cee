from pathlib import Path

import numpy as np
import pytest

from synctalk.errors import TrainingError
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES, LANDMARKS_68
from synctalk.face_sync.readout import ReadOut
from synctalk.training.readout import (
    FitSettings,
    Take,
    better_than_own,
    corner_scatter,
    correlations,
    cross_check,
    fit,
    load_takes,
    mirror_names,
    mirror_points,
    report,
)

JAW = BLENDSHAPE_NAMES.index("jawOpen")
QUICK = FitSettings(hidden=8, epochs=40, batch=64, every=1)


def make_take(person: str, seed: int, frames: int = 200) -> Take:
    """A face whose chin drops with jawOpen, with noise on the mesh and a network that sees half of it."""
    random = np.random.default_rng(seed)
    template = ReadOut.from_pretrained().template.numpy()
    jaw = (0.3 + 0.3 * np.sin(np.arange(frames) * 0.3 + seed)).astype(np.float32)
    mesh = np.repeat(template[None], frames, 0) * 100 + 256
    mesh[:, [152, 148, 377, 17, 14], 1] += 30 * jaw[:, None]
    mesh += random.normal(0, 0.1, mesh.shape)
    truth = np.zeros((frames, 52), np.float32)
    truth[:, JAW] = jaw
    own = random.uniform(0.0, 0.3, (frames, 52)).astype(np.float32)
    own[:, JAW] += 0.3 * jaw
    mesh = mesh.astype(np.float32)
    points = mesh[:, list(LANDMARKS_68), :2]
    return Take(person, mesh, points, own, truth, points + np.float32([2, 0]))


@pytest.fixture(scope="module")
def takes() -> list[Take]:
    return [make_take("ann", 1), make_take("bob", 2)]


def test_a_person_is_read_better_by_what_was_fitted_on_another(takes: list[Take]) -> None:
    checked = cross_check(takes, QUICK)
    assert sorted(checked) == ["ann", "bob"]
    for own, read in checked.values():
        assert read[JAW] > 0.9 > own[JAW]
        assert np.isnan(own[0]) and np.isnan(read[0])
    assert better_than_own(checked).nonzero()[0].tolist() == [JAW]
    text = report(takes, checked)
    assert "jawOpen" in text and "ann" in text and "browDownLeft" not in text


def test_fitting_twice_gives_the_same_weights(takes: list[Take]) -> None:
    short = FitSettings(hidden=4, epochs=2, batch=64)
    first, second = fit(takes, short), fit(takes, short)
    assert all((a == b).all() for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_one_person_alone_cannot_be_judged(takes: list[Take]) -> None:
    with pytest.raises(TrainingError, match="two persons"):
        cross_check(takes[:1], QUICK)


def test_mirroring_swaps_sides_and_is_its_own_inverse() -> None:
    points = mirror_points(ReadOut.from_pretrained().template.double().numpy())
    names = mirror_names()
    np.testing.assert_array_equal(points[points], np.arange(478))
    assert points[33] == 263 and points[61] == 291 and points[1] == 1
    assert names[BLENDSHAPE_NAMES.index("eyeBlinkLeft")] == BLENDSHAPE_NAMES.index("eyeBlinkRight")
    assert names[JAW] == JAW


def test_a_constant_offset_is_no_scatter(takes: list[Take]) -> None:
    offset, scatter = corner_scatter(takes[0])
    assert (offset > 0.1).all()
    np.testing.assert_allclose(scatter, 0, atol=1e-3)


def test_correlation_is_unknown_for_still_truth_and_zero_for_a_still_answer() -> None:
    truth = np.zeros((50, 52))
    truth[:, 1] = truth[:, 2] = np.linspace(0, 1, 50)
    measured = np.zeros((50, 52))
    measured[:, 1] = 3 - truth[:, 1]
    value = correlations(measured, truth)
    assert np.isnan(value[0]) and value[1] == pytest.approx(-1) and value[2] == 0


def test_a_folder_without_truth_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ann_train.mp4").touch()
    with pytest.raises(TrainingError, match="truth"):
        load_takes(tmp_path)
