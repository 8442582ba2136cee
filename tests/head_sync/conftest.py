"""The small clip of a presenter with known poses, its landmarks, and one track of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from synctalk.face_sync.capturer import FaceCapturer
from synctalk.head_sync.face_model import FaceModel
from synctalk.head_sync.pose_error import PoseError, pose_error
from synctalk.head_sync.track import Track, track_head
from synctalk.video import read_frames

DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Clip:
    """Frames [T] uint8 RGB, landmarks [T, 478, 3] px, and the truth."""

    frames: list[np.ndarray]
    landmarks: np.ndarray
    viewmats: np.ndarray
    K: np.ndarray
    nose_bridge: np.ndarray

    def error_of(self, track: Track, use: np.ndarray | None = None) -> PoseError:
        return pose_error(track.viewmats, track.K, self.viewmats, self.K, self.nose_bridge, use)


@pytest.fixture(scope="session")
def clip() -> Clip:
    frames = list(read_frames(DATA / "ben_3s.mp4"))
    with np.load(DATA / "ben_3s_truth.npz", allow_pickle=False) as truth:
        return Clip(
            frames=frames,
            landmarks=FaceCapturer(threads=1, smooth=0).capture(frames).landmarks478,
            viewmats=truth["head_pose"].astype(np.float64),
            K=truth["K"].astype(np.float64),
            nose_bridge=truth["neutral68_head"][27].astype(np.float64),
        )


@pytest.fixture(scope="session")
def model() -> FaceModel:
    return FaceModel.load()


@pytest.fixture(scope="session")
def track(clip: Clip, model: FaceModel) -> Track:
    return track_head(clip.frames, clip.landmarks, model=model)
