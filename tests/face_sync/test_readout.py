from pathlib import Path

import numpy as np
import pytest
import torch

from synctalk.errors import SyncTalkError
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES, CORE_SEVEN
from synctalk.face_sync.capturer import FaceCapturer, FaceTrack
from synctalk.face_sync.readout import MIN_FRAMES, ReadOut, align, feature_count, features


@pytest.fixture(scope="module")
def track(clip: list[np.ndarray]) -> FaceTrack:
    return FaceCapturer(threads=1, smooth=0, readout=False).capture(clip)


@pytest.fixture(scope="module")
def readout() -> ReadOut:
    return ReadOut.from_pretrained()


def turned(points: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The points, rotated, scaled and moved as a head would be in front of a distant camera."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    matrix = (
        np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    )
    return points @ matrix.T * 1.7 + [40, -20, 5]


def test_alignment_takes_out_pose_size_and_place(track: FaceTrack, readout: ReadOut) -> None:
    template = readout.template.double().numpy()
    still = track.landmarks478[:3].astype(np.float64)
    before, pose_before = align(still, template)
    after, pose_after = align(turned(still, 0.3, -0.2, 0.1), template)
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert np.abs(pose_after - pose_before).max() > 0.1


def test_features_say_nothing_for_a_face_at_rest(track: FaceTrack, readout: ReadOut) -> None:
    aligned, pose = align(np.repeat(track.landmarks478[:1], 5, 0), readout.template.double().numpy())
    values = features(aligned, pose, np.repeat(track.blendshapes[:1], 5, 0))
    assert values.shape == (5, feature_count())
    assert np.abs(values).max() < 1e-5


def test_brow_jaw_and_lids_follow_the_truth_of_the_clip(
    track: FaceTrack, readout: ReadOut, truth: dict[str, np.ndarray]
) -> None:
    read = readout.apply_to(track.landmarks478, track.blendshapes)
    for name, least in (
        ("eyeBlinkLeft", 0.97),
        ("eyeBlinkRight", 0.97),
        ("jawOpen", 0.95),
        ("browDownLeft", 0.6),
    ):
        column = BLENDSHAPE_NAMES.index(name)
        assert np.corrcoef(read[:, column], truth["bs52"][:, column])[0, 1] > least, name
    assert read.min() >= 0 and read.max() <= 1


def test_every_core_coefficient_comes_from_the_readout(readout: ReadOut) -> None:
    assert (readout.used[list(CORE_SEVEN)] == 1).all()
    assert readout.used[BLENDSHAPE_NAMES.index("tongueOut")] == 0


def test_a_short_clip_keeps_the_networks_own_coefficients(track: FaceTrack, readout: ReadOut) -> None:
    few = slice(0, MIN_FRAMES - 1)
    read = readout.apply_to(track.landmarks478[few], track.blendshapes[few])
    np.testing.assert_array_equal(read, track.blendshapes[few])


def test_part_of_a_clip_is_read_alike_when_the_usual_face_is_that_of_all(
    track: FaceTrack, readout: ReadOut
) -> None:
    usual = readout.usual_face(track.landmarks478, track.blendshapes)
    assert usual is not None
    part = np.s_[:55]
    whole = readout.apply_to(track.landmarks478, track.blendshapes)[part]
    read = readout.apply_to(track.landmarks478[part], track.blendshapes[part], usual)
    np.testing.assert_allclose(read, whole, atol=1e-4)
    alone = readout.apply_to(track.landmarks478[part], track.blendshapes[part])
    assert np.abs(alone - whole).max() > 1e-3
    assert readout.usual_face(track.landmarks478[:20], track.blendshapes[:20]) is None


def test_frames_without_a_face_stay_empty_and_change_nothing_else(track: FaceTrack, readout: ReadOut) -> None:
    def pad(values: np.ndarray) -> np.ndarray:
        hole = np.full((2, *values.shape[1:]), np.nan, np.float32)
        return np.concatenate([values[:10], hole, values[10:]])

    read = readout.apply_to(pad(track.landmarks478), pad(track.blendshapes))
    assert np.isnan(read[10:12]).all()
    whole = readout.apply_to(track.landmarks478, track.blendshapes)
    np.testing.assert_allclose(np.delete(read, (10, 11), 0), whole, atol=1e-5)


def test_the_capturer_applies_it_unless_told_not_to(
    clip: list[np.ndarray], track: FaceTrack, readout: ReadOut
) -> None:
    measured = FaceCapturer(threads=1, smooth=0).capture(clip)
    np.testing.assert_array_equal(
        measured.blendshapes, readout.apply_to(track.landmarks478, track.blendshapes)
    )


def test_a_readout_survives_saving(track: FaceTrack, readout: ReadOut, tmp_path: Path) -> None:
    readout.save(tmp_path / "copy.safetensors")
    copy = ReadOut.from_pretrained(tmp_path / "copy.safetensors")
    np.testing.assert_array_equal(
        copy.apply_to(track.landmarks478, track.blendshapes),
        readout.apply_to(track.landmarks478, track.blendshapes),
    )


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SyncTalkError, match=r"none\.safetensors"):
        ReadOut.from_pretrained(tmp_path / "none.safetensors")
    torch.save({}, tmp_path / "foreign.safetensors")
    with pytest.raises(SyncTalkError, match="foreign"):
        ReadOut.from_pretrained(tmp_path / "foreign.safetensors")
