from pathlib import Path

import numpy as np
import pytest

from synctalk.errors import TrainingError
from synctalk.head_sync.pose_error import pose_error
from synctalk.head_sync.track import Track
from synctalk.training.track_report import Truth, ablation, error_plot, overlay_sheet, table
from synctalk.training.tracking import capture_landmarks, load_track, track_video

DATA = Path(__file__).parents[1] / "data"
VIDEO, TRUTH = DATA / "ben_3s.mp4", DATA / "ben_3s_truth.npz"


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    return capture_landmarks(VIDEO, stop=20)


@pytest.fixture(scope="module")
def tracks(landmarks: np.ndarray) -> dict[str, Track]:
    return ablation(VIDEO, landmarks, stop=20)


def test_the_ablation_has_the_papers_rows_and_prints_as_a_table(
    tracks: dict[str, Track], tmp_path: Path
) -> None:
    truth = Truth.load(TRUTH, stop=20)
    errors = {name: truth.error_of(track) for name, track in tracks.items()}
    assert set(errors) == {
        "landmarks only", "no semantic weighting", "no bundle adjustment", "everything"
    }  # fmt: skip
    assert errors["everything"].tremble_px < errors["landmarks only"].tremble_px
    lines = table(errors).splitlines()
    assert len(lines) == 6 and "rotation median (deg)" in lines[0]
    error_plot(tmp_path / "plot.png", errors)
    overlay_sheet(tmp_path / "sheet.png", VIDEO, tracks["everything"], count=2, columns=2)
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert (tmp_path / "sheet.png").stat().st_size > 10000


def test_a_video_is_tracked_resumably_and_like_itself(
    tracks: dict[str, Track], landmarks: np.ndarray, tmp_path: Path
) -> None:
    tracks["everything"].save(tmp_path / "track.npz")
    steps: list[str] = []
    again = track_video(
        VIDEO, like=tmp_path, progress=lambda step, done, total: steps.append(step), stop=20,
        landmarks=landmarks, work=tmp_path / "work",
    )  # fmt: skip
    np.testing.assert_array_equal(again.K, tracks["everything"].K)
    assert {"head motion", "head points", "bundle adjustment"} <= set(steps)
    assert list((tmp_path / "work").glob("*/points.npz"))
    error = pose_error(
        again.viewmats, again.K, tracks["everything"].viewmats, again.K, np.array([0.0, 0.4, 1.0])
    )
    assert np.median(error.rotation_deg) < 0.2


def test_a_missing_track_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="synctalk track VIDEO"):
        load_track(tmp_path)


def test_a_truth_without_poses_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "empty.npz", K=np.eye(3))
    with pytest.raises(TrainingError, match="no true poses"):
        Truth.load(tmp_path / "empty.npz")


def test_a_truth_of_another_length_is_refused(tracks: dict[str, Track]) -> None:
    with pytest.raises(TrainingError, match="20 frames, the truth 75"):
        Truth.load(TRUTH).error_of(tracks["everything"])
