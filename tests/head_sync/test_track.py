from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synctalk.errors import TrainingError, VideoError
from synctalk.head_sync.face_model import FaceModel
from synctalk.head_sync.track import Track, TrackSettings, find_cuts, track_head


def test_the_small_clip_meets_the_numbers_of_the_method(clip, track: Track) -> None:
    error = clip.error_of(track)
    assert np.median(error.rotation_deg) <= 0.3
    assert np.percentile(error.rotation_deg, 95) <= 1.0
    assert np.median(error.sideways_mm) <= 1.0
    assert np.median(error.depth_mm) <= 4.0
    assert 0.7 <= error.jitter_ratio <= 1.5


def test_a_track_says_what_it_is(track: Track) -> None:
    assert len(track) == 75
    assert track.viewmats.shape == (75, 4, 4)
    assert track.size == (512, 512)
    assert track.landmarks68.shape == (75, 68, 2)
    assert track.confidence.min() > 0.3 and track.confidence.max() <= 1
    assert len(track.cuts) == 0
    assert track.keypoints is not None and np.nanmax(track.residual_px) < 1.5


def test_each_step_of_the_method_steadies_the_head(clip, track: Track, model: FaceModel) -> None:
    landmarks_only = track_head(
        clip.frames, clip.landmarks, model=model, settings=TrackSettings(stable_points=False)
    )
    assert landmarks_only.keypoints is None
    assert clip.error_of(track).tremble_px < 0.5 * clip.error_of(landmarks_only).tremble_px


def test_a_track_survives_saving(track: Track, tmp_path: Path) -> None:
    track.save(tmp_path / "track.npz")
    again = Track.load(tmp_path / "track.npz")
    np.testing.assert_array_equal(again.viewmats, track.viewmats)
    assert again.size == track.size
    assert again.keypoints is not None and track.keypoints is not None
    np.testing.assert_array_equal(again.keypoints.points, track.keypoints.points)
    np.testing.assert_array_equal(again.keypoints.keyframes.pictures, track.keypoints.keyframes.pictures)


def test_what_is_no_track_is_refused_with_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", K=np.eye(3))
    with pytest.raises(TrainingError, match=r"other\.npz is not a head track"):
        Track.load(tmp_path / "other.npz")


def test_another_video_of_the_person_shares_the_head_space(clip, track: Track, model: FaceModel) -> None:
    part = track_head(clip.frames[40:], clip.landmarks[40:], like=track, model=model)
    np.testing.assert_array_equal(part.K, track.K)
    np.testing.assert_array_equal(part.identity, track.identity)
    assert len(part.focal_curve) == 0
    # Same frames, same space: the poses agree without any alignment.
    assert np.abs(part.viewmats[:, :3, 3] - track.viewmats[40:, :3, 3])[:, :2].max() < 0.02
    difference = part.viewmats[:, :3, :3] @ np.swapaxes(track.viewmats[40:, :3, :3], 1, 2)
    assert np.degrees(np.arccos(((np.trace(difference, axis1=1, axis2=2) - 1) / 2).clip(-1, 1))).max() < 0.4


def test_pictures_that_match_nothing_fall_back_to_new_points(clip, track: Track, model: FaceModel) -> None:
    assert track.keypoints is not None
    blank = replace(track.keypoints.keyframes, pictures=np.zeros_like(track.keypoints.keyframes.pictures))
    stranger = replace(track, keypoints=replace(track.keypoints, keyframes=blank))
    part = track_head(clip.frames[:30], clip.landmarks[:30], like=stranger, model=model)
    np.testing.assert_array_equal(part.K, track.K)
    assert part.keypoints is not None and part.keypoints.keyframes.pictures.any()


def test_a_video_of_another_size_is_refused(clip, track: Track, model: FaceModel) -> None:
    small = [frame[:256, :256] for frame in clip.frames[:2]]
    with pytest.raises(VideoError, match="256x256"):
        track_head(small, clip.landmarks[:2], like=track, model=model)


def test_no_frames_is_an_error(model: FaceModel) -> None:
    with pytest.raises(VideoError, match="no frame"):
        track_head([], np.zeros((0, 478, 2)), model=model)


def test_an_interrupted_run_goes_on_and_gives_the_same(clip, track: Track, model: FaceModel) -> None:
    saved: list[tuple[np.ndarray, np.ndarray]] = []
    seen: list[tuple[str, int, int]] = []
    frames, landmarks = clip.frames[:30], clip.landmarks[:30]

    def keep(places: np.ndarray, rows: np.ndarray) -> None:
        saved.append((places, rows[:12].copy()))

    def report(step: str, done: int, total: int) -> None:
        seen.append((step, done, total))

    whole = track_head(frames, landmarks, model=model, like=replace(track, keypoints=None), keep=keep)
    again = track_head(
        frames,
        landmarks,
        model=model,
        like=replace(track, keypoints=None),
        followed=saved[-1],
        report=report,
    )
    np.testing.assert_allclose(again.viewmats, whole.viewmats, atol=1e-9)
    assert ("head points", 30, 30) in seen and ("bundle adjustment", 1, 1) in seen


def test_cuts_are_found_and_turning_heads_are_none() -> None:
    random = np.random.default_rng(0)
    scene, other = random.uniform(0, 255, (2, 32, 32))
    frames = [scene + random.normal(0, 2, (32, 32)) for _ in range(40)]
    frames += [other + random.normal(0, 2, (32, 32)) for _ in range(20)]
    assert find_cuts(np.stack(frames).astype(np.float32)).tolist() == [40]
    columns = np.arange(32)[None] + np.zeros((32, 1))
    drift = [128 + 60 * np.sin((columns + 0.5 * t) / 6) for t in range(60)]
    assert find_cuts(np.stack(drift).astype(np.float32)).tolist() == []
    assert find_cuts(np.zeros((1, 32, 32), np.float32)).tolist() == []
