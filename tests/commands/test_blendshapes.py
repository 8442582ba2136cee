from pathlib import Path

import numpy as np
import pytest

from synctalk.cli import main
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES
from synctalk.video import VideoWriter, read_frames

CLIP = Path(__file__).parents[1] / "data" / "ben_3s.mp4"


@pytest.fixture
def gap_clip(tmp_path: Path) -> Path:
    """Ten frames, two of them black."""
    path = tmp_path / "gap.mp4"
    with VideoWriter(path, 512, 512) as writer:
        for i, frame in enumerate(read_frames(CLIP, stop=10)):
            writer.write(frame * 0 if i in (4, 5) else frame)
    return path


def test_curves_of_every_frame_are_written(
    gap_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["blendshapes", str(gap_clip), "-o", str(tmp_path / "curves.npz")]) == 0
    with np.load(tmp_path / "curves.npz", allow_pickle=False) as curves:
        assert tuple(curves["names"]) == BLENDSHAPE_NAMES
        assert curves["weights"].shape == (10, 52)
        assert curves["landmarks68"].shape == (10, 68, 2)
        assert (curves["confidence"] == 0).nonzero()[0].tolist() == [4, 5]
        assert np.isnan(curves["weights"]).all(1).nonzero()[0].tolist() == [4, 5]
    assert "a face in 8 (80.0%)" in capsys.readouterr().out


def test_gaps_are_bridged_on_request(gap_clip: Path, tmp_path: Path) -> None:
    assert main(["blendshapes", str(gap_clip), "-o", str(tmp_path / "sub" / "curves"), "--fill"]) == 0
    with np.load(tmp_path / "sub" / "curves.npz") as curves:
        assert np.isfinite(curves["weights"]).all() and np.isfinite(curves["landmarks68"]).all()


def test_a_video_without_a_face_ends_with_one_plain_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "black.mp4"
    with VideoWriter(path, 128, 96) as writer:
        for _ in range(5):
            writer.write(np.zeros((96, 128, 3), np.uint8))
    assert main(["blendshapes", str(path), "-o", str(tmp_path / "curves.npz")]) == 1
    error = capsys.readouterr().err
    assert "No face in any frame" in error and error.count("\n") == 1
    assert not (tmp_path / "curves.npz").exists()


def test_a_missing_video_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["blendshapes", str(tmp_path / "none.mp4"), "-o", str(tmp_path / "curves.npz")]) == 1
    assert "none.mp4" in capsys.readouterr().err
