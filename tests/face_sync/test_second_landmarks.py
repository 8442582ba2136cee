from pathlib import Path

import numpy as np
import pytest
import torch

from synctalk.errors import SyncTalkError
from synctalk.face_sync.capturer import FaceCapturer
from synctalk.face_sync.second_landmarks import WEIGHTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the file layout of the real ones."""
    import numba

    # The package compiles its small helpers at the first call, which takes longer than running them here.
    numba.config.DISABLE_JIT = True
    try:
        from face_alignment.models import FAN
    finally:
        numba.config.DISABLE_JIT = False

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("fan")
    torch.save(FAN(4).state_dict(), folder / WEIGHTS)
    return folder


def test_face_alignments_own_code_gives_the_68_points_of_frames_with_a_face(
    folder: Path, clip: list[np.ndarray]
) -> None:
    capturer = FaceCapturer(threads=1, landmarks="face-alignment", landmark_weights=folder)
    track = capturer.capture([clip[0], clip[0] * 0])
    assert track.landmarks68.shape == (2, 68, 2)
    assert np.isnan(track.landmarks68[1]).all()
    # Untrained weights point anywhere, but only inside the crop around the face.
    low, high = track.landmarks478[0, :, :2].min(0), track.landmarks478[0, :, :2].max(0)
    assert (track.landmarks68[0] > low - (high - low)).all()
    assert (track.landmarks68[0] < high + (high - low)).all()
    mesh = FaceCapturer(threads=1).capture([clip[0]])
    np.testing.assert_array_equal(track.landmarks478[0], mesh.landmarks478[0])
    assert np.abs(track.landmarks68[0] - mesh.landmarks68[0]).max() > 1


def test_a_missing_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SyncTalkError, match="2DFAN4"):
        FaceCapturer(landmarks="face-alignment", landmark_weights=tmp_path)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    torch.save({"layer": torch.zeros(2)}, tmp_path / WEIGHTS)
    with pytest.raises(SyncTalkError, match="cannot be read from"):
        FaceCapturer(landmarks="face-alignment", landmark_weights=tmp_path)


def test_pickled_code_in_a_weights_file_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    torch.save(Evil(), tmp_path / WEIGHTS)
    with pytest.raises(SyncTalkError, match="cannot be read from"):
        FaceCapturer(landmarks="face-alignment", landmark_weights=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match="face-alignment"):
        FaceCapturer(landmarks="dlib")
