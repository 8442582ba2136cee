"""A prepared dataset: what training reads, all of it on disk."""

import json
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synctalk.errors import TrainingError
from synctalk.head_sync.face_model import FaceModel
from synctalk.head_sync.track import Track
from synctalk.training.frame_store import FrameStore
from synctalk.training.framing import head_angles, lip_gap
from synctalk.training.head_gauge import head_surface, neutral_landmarks
from synctalk.training.select import Selection, frame_weights

WINDOW_BEFORE, WINDOW_AFTER = 4, 3  # reach of the temporal audio attention, frames


class Dataset:
    """T frames of one person with everything measured in them (made by `preprocess`).

    Frames of several stretches of the footage follow each other; `source_index` tells which frame of
    the video (at 25 fps) each one is.

    Args:
        folder: a dataset folder.

    Raises:
        TrainingError: it is not complete.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        path = self.folder / "dataset.json"
        if not path.is_file():
            raise TrainingError(f"{self.folder} is no dataset: {path.name} is missing.")
        self.about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))

    def __len__(self) -> int:
        return len(self.source_index)

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays a preprocessing step wrote (`face`, `audio`, `torso`)."""
        path = self.folder / f"{name}.npz"
        if not path.is_file():
            raise TrainingError(f"{path} is missing: preprocessing has not finished. Run the command again.")
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    @cached_property
    def frames(self) -> FrameStore:
        """Pictures, uint8 RGB [T,H,W,3]."""
        return FrameStore(self.folder / "frames.bin")

    @cached_property
    def mattes(self) -> FrameStore:
        """Soft mattes, uint8 [T,3,H,W]: face, head (face and hair), person."""
        return FrameStore(self.folder / "mattes.bin")

    @cached_property
    def source_index(self) -> NDArray[np.int64]:
        """int64 [T]: the video frame, at 25 fps, behind each frame."""
        return np.concatenate([np.arange(start, stop) for start, stop in self.video_stretches])

    @property
    def video_stretches(self) -> list[tuple[int, int]]:
        """(start, stop) of each stretch in frames of the video."""
        return [(int(a), int(b)) for a, b in self.about["stretches"]]

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """(start, stop) of each stretch in frames of this dataset."""
        edges = np.cumsum([0] + [stop - start for start, stop in self.video_stretches])
        return [(int(a), int(b)) for a, b in pairwise(edges)]

    @property
    def crop(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 px of the square crop inside the video's frame."""
        x0, y0, x1, y1 = self.about["crop"]
        return x0, y0, x1, y1

    @property
    def size(self) -> int:
        """Side of the frames, px."""
        return int(self.about["size"])

    @property
    def first_validation(self) -> int:
        """Frame of the video where validation begins; nothing from there on is trained on."""
        return int(self.about["first_validation"])

    @cached_property
    def train(self) -> NDArray[np.int64]:
        """Indices to train on: not held out, and with the whole audio window inside their stretch."""
        inside = np.zeros(len(self), bool)
        for start, stop in self.stretches:
            inside[start + WINDOW_BEFORE : max(start, stop - WINDOW_AFTER)] = True
        return np.flatnonzero(inside & (self.source_index < self.first_validation))

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """float32 [T]: how often to draw each frame; rare sounds, lip openings and head angles more often."""
        points = self.landmarks478
        return frame_weights(self.lips, lip_gap(points), head_angles(points), Selection())

    @cached_property
    def validation(self) -> NDArray[np.int64]:
        """Indices of held-out frames."""
        return np.flatnonzero(self.source_index >= self.first_validation)

    @property
    def kept(self) -> int:
        """How many frames lie before the held-out ones: they become the avatar's source."""
        return int((self.source_index < self.first_validation).sum())

    @cached_property
    def _face(self) -> dict[str, NDArray[Any]]:
        return self.arrays("face")

    @cached_property
    def _audio(self) -> dict[str, NDArray[Any]]:
        return self.arrays("audio")

    @cached_property
    def landmarks68(self) -> NDArray[np.float32]:
        """float32 [T,68,2] px."""
        return self._face["landmarks68"]

    @cached_property
    def landmarks478(self) -> NDArray[np.float32]:
        """float32 [T,478,3] px."""
        return self._face["landmarks478"]

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """float32 [T]: how sure the face capturer was; 0 where the face was bridged."""
        return self._face["confidence"]

    @cached_property
    def expressions(self) -> NDArray[np.float32]:
        """The 52 coefficients, float32 [T,52] in [0,1]."""
        return self._face["blendshapes"]

    @cached_property
    def lips(self) -> NDArray[np.float32]:
        """Features of the audio-visual encoder, float32 [T,512]."""
        return self._audio["lips"]

    @cached_property
    def silence(self) -> NDArray[np.bool_]:
        """bool [T]: nobody speaks."""
        return self._audio["silence"]

    @cached_property
    def track(self) -> Track:
        """Camera, poses and keypoints of the head."""
        return Track.load(self.folder / "track.npz")

    @cached_property
    def viewmats(self) -> NDArray[np.float32]:
        """Head poses, world-to-camera, float32 [T,4,4] (10 cm)."""
        return self.track.viewmats.astype(np.float32)

    @cached_property
    def K(self) -> NDArray[np.float32]:
        """Intrinsics of the crop, float32 [3,3] px."""
        return self.track.K.astype(np.float32)

    @cached_property
    def neutral68(self) -> NDArray[np.float32]:
        """The neutral face's 68 points in head space, float32 [68,3] (10 cm)."""
        return neutral_landmarks(self.track, FaceModel.load())

    @cached_property
    def init_points(self) -> NDArray[np.float32]:
        """Points on the fitted head surface in head space, float32 [M,3] (10 cm)."""
        return head_surface(self.track, FaceModel.load())

    @cached_property
    def torso_px(self) -> NDArray[np.float32]:
        """Shift of the torso against the first frame, float32 [T,2] px."""
        return self.arrays("torso")["torso_px"]
