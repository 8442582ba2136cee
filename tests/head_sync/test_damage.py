"""Spoiled footage: the tracker finishes, reports, and stays right outside the damage."""

from pathlib import Path

import numpy as np
import pytest

from synctalk.head_sync.face_model import FaceModel
from synctalk.head_sync.motion_tracker import MotionSettings
from synctalk.head_sync.track import FrameSource, Track, TrackSettings, track_head
from synctalk.training import track_damage
from synctalk.training.track_damage import Outcome, Spoiled, damages
from synctalk.training.track_report import Truth


@pytest.fixture(scope="module")
def truth(clip) -> Truth:
    return Truth(clip.viewmats, clip.K, clip.nose_bridge)


@pytest.fixture(scope="module")
def frames(clip) -> FrameSource:
    return lambda first: iter(clip.frames[first:])


def outcome(spoiled: Spoiled, track: Track, truth: Truth, model: FaceModel) -> Outcome:
    return track_damage.survive(spoiled, track, truth, model)


@pytest.mark.parametrize("name", ["noise", "H.264 at 300 kbit/s"])
def test_noise_and_hard_compression_at_most_double_the_error(
    frames, track: Track, truth: Truth, model: FaceModel, tmp_path: Path, name: str
) -> None:
    result = outcome(damages(frames, truth, tmp_path)[name](), track, truth, model)
    assert result.held, result
    assert result.cuts == []


def test_a_hand_before_the_face_costs_confidence_not_the_other_frames(
    frames, track: Track, truth: Truth, model: FaceModel
) -> None:
    spoiled = track_damage.hidden(frames, truth)
    assert spoiled.bad.mean() == pytest.approx(0.2, abs=0.01)
    result = outcome(spoiled, track, truth, model)
    assert result.held, result
    sure, unsure = result.confidence
    assert unsure < sure
    # Even behind the hand the head does not jump.
    assert result.spoiled_deg < 2.0


def test_frozen_and_lost_frames_leave_the_rest_alone(
    frames, track: Track, truth: Truth, model: FaceModel
) -> None:
    spoiled = track_damage.gappy(frames, truth)
    assert len(spoiled.kept) == 63 and spoiled.bad.sum() == 11
    result = outcome(spoiled, track, truth, model)
    assert result.held, result


@pytest.mark.parametrize("aside_deg", [(0.0, 0.0), (0.2, 0.4)])
def test_a_hard_cut_is_found_and_both_shots_stay_right(
    frames, track: Track, truth: Truth, model: FaceModel, aside_deg: tuple[float, float]
) -> None:
    result = outcome(track_damage.cut(frames, truth, aside_deg), track, truth, model)
    assert result.held, result
    assert result.cuts == [37]
    assert result.shots is not None
    before, after = result.shots
    assert all(after[name] <= 2 * before[name] + 0.02 for name in before), result.shots
    assert "similarity for each shot" in track_damage.damage_table({"a hard cut": result})


def test_with_the_focal_length_known_a_camera_turned_aside_costs_nothing(
    frames, clip, truth: Truth, model: FaceModel
) -> None:
    settings = TrackSettings(motion=MotionSettings(focal_px=float(truth.K[0, 0])))
    clean = track_head(clip.frames, clip.landmarks, settings=settings, model=model)
    turned = track_damage.cut(frames, truth, (0.2, 0.4))
    result = track_damage.survive(turned, clean, truth, model, settings=settings)
    sideways = "sideways median (mm)"
    assert result.damaged.summary()[sideways] < 2 * result.clean.summary()[sideways] + 0.02


def test_damaged_footage_can_be_read_from_any_frame_on(frames, truth: Truth, tmp_path: Path) -> None:
    for name, make in damages(frames, truth, tmp_path).items():
        source = make().source
        whole = list(source(0))
        np.testing.assert_array_equal(next(iter(source(40))), whole[40], err_msg=name)


def test_an_error_that_more_than_doubles_is_not_held(truth: Truth, track: Track) -> None:
    good = truth.error_of(track)
    worse = type(good)(**{**good.__dict__, "rotation_deg": good.rotation_deg + 0.5})
    for damaged, held in ((good, True), (worse, False)):
        result = Outcome(good, damaged, 0.0, (1.0, float("nan")), [])
        assert result.held is held
        assert ("| yes |" if held else "| NO |") in track_damage.damage_table({"noise": result})
        assert track_damage.figures({"noise": result})["noise"]["held"] is held
