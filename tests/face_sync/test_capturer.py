import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial import Delaunay

from synctalk.errors import VideoError
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES, CORE_SEVEN, EYE_LOOK, MOUTH, SMILE, landmarks_68
from synctalk.face_sync.capturer import FaceCapturer, FaceTrack, smooth_runs

DATA = Path(__file__).parents[1] / "data"
Frames = list[np.ndarray]


@pytest.fixture(scope="module")
def capturer() -> FaceCapturer:
    return FaceCapturer(threads=1)


@pytest.fixture(scope="module")
def track(capturer: FaceCapturer, clip: Frames) -> FaceTrack:
    return capturer.capture(clip)


def eye_distance(landmarks478: np.ndarray) -> float:
    return float(np.linalg.norm(landmarks478[..., 33, :2] - landmarks478[..., 263, :2], axis=-1).mean())


def blank(height: int = 512, width: int = 512, value: int = 0) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_the_groups_of_coefficients_have_the_sizes_the_method_names() -> None:
    assert len(BLENDSHAPE_NAMES) == len(set(BLENDSHAPE_NAMES)) == 52
    assert BLENDSHAPE_NAMES[-1] == "tongueOut"
    assert list(BLENDSHAPE_NAMES[:51]) == sorted(BLENDSHAPE_NAMES[:51])
    assert (len(CORE_SEVEN), len(EYE_LOOK), len(SMILE)) == (7, 8, 2)
    assert not set(MOUTH) & {*CORE_SEVEN, *EYE_LOOK}


def test_landmarks_and_coefficients_equal_the_reference_pipeline(clip: Frames) -> None:
    with np.load(DATA / "face_reference.npz") as file:
        reference = dict(file)
    frames = [
        clip[i] if np.allclose(m[:, :2], np.eye(2)) else cv2.warpAffine(clip[i], m, (512, 512))
        for i, m in zip(reference["frames"], reference["affine"], strict=True)
    ]
    plain = FaceCapturer(threads=1, views=1, tracking=False, smooth=0, readout=False)
    measured = plain.capture(frames)
    for i in range(len(frames)):
        error = np.linalg.norm(measured.landmarks478[i, :, :2] - reference["landmarks"][i], axis=1)
        assert error.max() < 0.005 * eye_distance(reference["landmarks"][i])
    assert np.abs(measured.blendshapes[:, :51] - reference["blendshapes"]).max() < 0.03


def test_every_frame_of_a_clean_clip_has_a_face(track: FaceTrack) -> None:
    assert len(track) == 75
    assert not track.missing.any()
    assert (track.faces == 1).all()
    assert track.landmarks478.shape == (75, 478, 3)
    assert track.landmarks68.shape == (75, 68, 2)
    assert track.blendshapes.shape == (75, 52)
    assert track.blendshapes.min() >= 0 and track.blendshapes.max() <= 1


def test_eye_and_mouth_corners_scatter_less_than_a_percent_of_the_eye_distance(
    track: FaceTrack, truth: dict[str, np.ndarray]
) -> None:
    corners = [36, 39, 42, 45, 48, 54]
    error = track.landmarks68[:, corners] - truth["lm68_px"][:, corners]
    scatter = np.linalg.norm(error - error.mean(0), axis=-1)
    eyes = np.linalg.norm(truth["lm68_px"][:, 36] - truth["lm68_px"][:, 45], axis=-1).mean()
    assert np.sqrt((scatter**2).mean(0)).max() < 0.012 * eyes


@pytest.mark.parametrize(
    ("name", "least"), [("eyeBlinkLeft", 0.95), ("eyeBlinkRight", 0.95), ("jawOpen", 0.9)]
)
def test_blinks_and_the_jaw_follow_the_truth(
    track: FaceTrack, truth: dict[str, np.ndarray], name: str, least: float
) -> None:
    column = BLENDSHAPE_NAMES.index(name)
    assert np.corrcoef(track.blendshapes[:, column], truth["bs52"][:, column])[0, 1] > least


def test_the_stream_gives_the_same_landmarks_as_the_batch(
    capturer: FaceCapturer, clip: Frames, track: FaceTrack
) -> None:
    rows = [row for row, _ in zip(capturer.stream(iter(clip)), range(10), strict=False)]
    np.testing.assert_array_equal(np.stack([row.landmarks478 for row in rows]), track.landmarks478[:10])


def test_two_threads_change_nothing(clip: Frames, track: FaceTrack) -> None:
    two = FaceCapturer(threads=2).capture(clip[:8])
    np.testing.assert_array_equal(two.landmarks478, track.landmarks478[:8])


def test_black_frames_are_reported_and_tracking_recovers(capturer: FaceCapturer, clip: Frames) -> None:
    frames = [*clip[:4], blank(), blank(value=255), *clip[4:8]]
    measured = capturer.capture(frames)
    assert measured.missing.tolist() == [False] * 4 + [True] * 2 + [False] * 4
    assert np.isnan(measured.landmarks478[4:6]).all()
    assert np.isnan(measured.blendshapes[4:6]).all()
    assert (measured.confidence[4:6] == 0).all()


def test_gaps_can_be_bridged_and_stay_marked(capturer: FaceCapturer, clip: Frames) -> None:
    filled = capturer.capture([blank(), clip[0], blank(), clip[1]]).filled()
    assert np.isfinite(filled.landmarks478).all() and np.isfinite(filled.blendshapes).all()
    np.testing.assert_allclose(
        filled.landmarks68[2], (filled.landmarks68[1] + filled.landmarks68[3]) / 2, atol=1e-3
    )
    np.testing.assert_array_equal(filled.landmarks68[0], filled.landmarks68[1])
    assert filled.missing.tolist() == [True, False, True, False]


def test_a_video_without_any_face_cannot_be_bridged(capturer: FaceCapturer) -> None:
    measured = capturer.capture([blank(), blank(value=128)])
    assert measured.missing.all()
    with pytest.raises(VideoError, match="one face"):
        measured.filled()


def test_of_two_faces_the_larger_is_followed_with_one_warning(
    capturer: FaceCapturer, clip: Frames, caplog: pytest.LogCaptureFixture
) -> None:
    frames = []
    for frame in clip[:3]:
        scene = blank(512, 1024, 90)
        scene[80:480, 40:440] = cv2.resize(frame, (400, 400))
        scene[:, 512:] = frame
        frames.append(scene)
    with caplog.at_level(logging.WARNING):
        measured = capturer.capture(frames)
    assert (measured.faces == 2).all()
    assert measured.landmarks68[:, 30, 0].min() > 512
    assert len([r for r in caplog.records if "2 faces" in r.message]) == 1


def test_a_small_face_in_a_large_frame_is_found(capturer: FaceCapturer, clip: Frames) -> None:
    scene = blank(1080, 1920, 60)
    scene[700:956, 300:556] = cv2.resize(clip[0], (256, 256), interpolation=cv2.INTER_AREA)
    measured = capturer.capture([scene])
    middle = measured.landmarks68[0].mean(0)
    assert measured.confidence[0] > 0.5
    assert 300 < middle[0] < 556 and 700 < middle[1] < 956


def test_a_face_of_a_few_pixels_is_reported_as_none(capturer: FaceCapturer, clip: Frames) -> None:
    scene = blank(256, 256, 60)
    scene[100:124, 100:124] = cv2.resize(clip[0], (24, 24), interpolation=cv2.INTER_AREA)
    assert capturer.capture([scene]).missing.all()


def test_frame_sizes_may_change_on_the_way(capturer: FaceCapturer, clip: Frames, track: FaceTrack) -> None:
    small = cv2.resize(clip[1], (256, 256), interpolation=cv2.INTER_AREA)
    measured = capturer.capture([clip[0], small, clip[2]])
    assert not measured.missing.any()
    error = np.linalg.norm(2 * measured.landmarks68[1] - track.landmarks68[1], axis=1)
    assert error.mean() < 0.03 * eye_distance(track.landmarks478[1])


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3), (20, 20)])
def test_frames_too_thin_for_a_face_are_reported_as_none(
    capturer: FaceCapturer, shape: tuple[int, int]
) -> None:
    assert capturer.capture([blank(*shape)]).missing.all()


def test_a_head_turned_on_its_side_and_noise_do_not_raise(capturer: FaceCapturer, clip: Frames) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    measured = capturer.capture([np.rot90(clip[0]).copy(), noise, np.rot90(clip[0], 2).copy(), noise])
    assert measured.missing[[1, 3]].all()


def turned(frame: np.ndarray, landmarks478: np.ndarray, degrees: float) -> np.ndarray:
    """The face of a frame turned about its vertical axis: its mesh in flat colours, far triangles first."""
    points = landmarks478.astype(np.float64)
    triangles = Delaunay(points[:, :2]).simplices
    angle, middle = np.radians(degrees), points.mean(0)
    spin = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    placed = (points - middle) @ spin.T + [256, 256, 0]
    scene = blank(512, 512, 120)
    for corners in sorted(triangles, key=lambda k: -placed[k, 2].mean()):
        x, y = points[corners, :2].mean(0).astype(int)
        outline = placed[corners, :2].round().astype(np.int32)
        cv2.fillConvexPoly(scene, outline, frame[y, x].tolist(), cv2.LINE_AA)
    return scene


@pytest.mark.parametrize("degrees", [-90, -75, 75, 90])
def test_a_profile_is_reported_as_none_and_tracking_recovers(
    capturer: FaceCapturer, clip: Frames, track: FaceTrack, degrees: float
) -> None:
    profile = turned(clip[0], track.landmarks478[0], degrees)
    measured = capturer.capture([clip[0], profile, clip[1]])
    assert measured.missing.tolist() == [False, True, False]
    assert np.isnan(measured.landmarks478[1]).all() and measured.confidence[1] == 0


def test_a_face_turned_by_a_little_is_still_measured(
    capturer: FaceCapturer, clip: Frames, track: FaceTrack
) -> None:
    measured = capturer.capture([turned(clip[0], track.landmarks478[0], 20)])
    assert not measured.missing.any()


@pytest.mark.parametrize(
    "frame",
    [np.zeros((512, 512), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32),
     np.zeros((0, 8, 3), np.uint8)],
)  # fmt: skip
def test_what_is_not_a_picture_is_refused_with_its_number(capturer: FaceCapturer, frame: np.ndarray) -> None:
    with pytest.raises(VideoError, match="Frame 1 is not"):
        list(capturer.stream([blank(), frame]))


def test_no_frame_at_all_is_an_error(capturer: FaceCapturer) -> None:
    with pytest.raises(VideoError, match="no frame"):
        capturer.capture([])


def test_smoothing_keeps_a_parabola_and_does_not_cross_gaps() -> None:
    time = np.arange(20, dtype=np.float32)
    values = np.stack([time**2, np.where(time < 10, 0, 1)], 1).astype(np.float32)
    valid = time != 10
    smooth = smooth_runs(values, valid, 5)
    np.testing.assert_allclose(smooth[:, 0], values[:, 0], atol=1e-3)
    np.testing.assert_array_equal(smooth[:10, 1], 0)
    np.testing.assert_allclose(smooth[11:, 1], 1, atol=1e-6)


@pytest.mark.parametrize("bad", [1, 2, 4, -3])
def test_a_smoothing_window_must_be_odd(bad: int) -> None:
    with pytest.raises(ValueError, match="odd"):
        FaceCapturer(smooth=bad)


def test_the_68_points_are_read_from_the_mesh(track: FaceTrack) -> None:
    np.testing.assert_array_equal(landmarks_68(track.landmarks478), track.landmarks68)
