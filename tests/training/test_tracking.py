import json
from pathlib import Path

import numpy as np
import pytest

from synctalk.cli import main
from synctalk.errors import TrainingError
from synctalk.head_sync.pose_error import pose_error
from synctalk.head_sync.track import Track
from synctalk.training.track_report import Truth, ablation, error_plot, overlay_sheet, table
from synctalk.training.tracking import capture_landmarks, load_track, track_video, work_folder

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
        "landmarks only", "no semantic weighting", "slips alone", "regions alone", "no bundle adjustment",
        "no adjustment, slips", "everything",
    }  # fmt: skip
    assert errors["everything"].tremble_px < errors["landmarks only"].tremble_px
    lines = table(errors).splitlines()
    assert len(lines) == 9 and "rotation median (deg)" in lines[0]
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


def test_damaged_half_done_work_is_made_anew(
    tracks: dict[str, Track], landmarks: np.ndarray, tmp_path: Path
) -> None:
    folder = work_folder(tmp_path, VIDEO, 0, 12)
    assert folder is not None and folder.parent == tmp_path
    (folder / "points.npz").write_bytes(b"PK\x03\x04 cut short")
    (folder / "landmarks_000.npz").write_bytes(b"")
    assert capture_landmarks(VIDEO, stop=12, folder=folder).shape == (12, 478, 3)
    again = track_video(VIDEO, like=tracks["everything"], stop=12, landmarks=landmarks[:12], work=tmp_path)
    assert len(again) == 12


def test_the_command_writes_a_track_and_leaves_no_half_done_work(
    landmarks: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    np.savez(tmp_path / "landmarks.npz", landmarks478=landmarks)
    output, figures = tmp_path / "track.npz", tmp_path / "figures.json"
    code = main(
        ["track", str(VIDEO), "-o", str(output), "--frames", ":20", "--evaluate", str(TRUTH), "--json",
         str(figures), "--landmarks", str(tmp_path / "landmarks.npz")]
    )  # fmt: skip
    assert code == 0
    assert len(Track.load(output)) == 20
    assert not output.with_suffix(".partial").exists()
    assert "| everything |" in capsys.readouterr().out
    values = json.loads(figures.read_text())
    assert values["everything"]["rotation median (deg)"] < 0.3
    assert values["focal search (px, RMS px)"][0][0] == pytest.approx(512)


def test_figures_against_the_truth_need_the_truth() -> None:
    for option in ("--ablation", "--damage"):
        assert main(["track", str(VIDEO), option]) != 0


def test_a_focal_length_must_be_a_length() -> None:
    assert main(["track", str(VIDEO), "--focal", "-3"]) != 0


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
