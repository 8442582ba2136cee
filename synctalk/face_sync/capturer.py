"""Facial Animation Capturer (Section III-B, Eq. 4-5): frames -> landmarks, 52 coefficients, confidence.

A face is detected once, then its mesh gives the next frame's crop; the detector returns when the mesh
loses the face, and now and then to count faces. Frames without a usable face are reported, not guessed:
confidence 0 and NaN values, which `FaceTrack.filled` bridges for callers who want no gaps.
"""

import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from synctalk.assets import model_path
from synctalk.errors import VideoError
from synctalk.face_sync.blendshapes import landmarks_68
from synctalk.face_sync.face_detector import FaceDetector, main_face
from synctalk.face_sync.face_mesh import BlendshapeNet, Crop, FaceMesh, crop_around_face, crop_around_mesh
from synctalk.face_sync.readout import ReadOut, UsualFace
from synctalk.face_sync.second_landmarks import SecondLandmarks
from synctalk.logs import get_logger

_log = get_logger(__name__)

_MIN_PRESENCE = 0.5  # below this the mesh says that its crop shows no face
_MIN_FACE_HEIGHT_PX = 24.0  # a smaller face is mostly invented by the mesh
_VIEW_TURN = 0.12  # radians between a view's crop and the upright one
_COUNT_EVERY = 25  # frames between two looks at how many faces there are


@dataclass(frozen=True)
class FaceFrame:
    """What one frame showed.

    Attributes:
        landmarks478: float32 [478, 3], x and y in pixels of the frame, z in the same scale (towards the
            camera is negative); NaN without a face.
        landmarks68: float32 [68, 2] px; NaN without a face.
        blendshapes: float32 [52] in 0..1, `BLENDSHAPE_NAMES` order; NaN without a face.
        confidence: probability that this is a face, 0 without one.
        faces: how many faces the last count found.
        size: width and height of the frame, pixels.
    """

    landmarks478: NDArray[np.float32]
    landmarks68: NDArray[np.float32]
    blendshapes: NDArray[np.float32]
    confidence: float
    faces: int
    size: tuple[int, int]


@dataclass(frozen=True)
class FaceTrack:
    """A face over T frames; rows without a face are NaN with confidence 0.

    Attributes:
        landmarks478: float32 [T, 478, 3] px.
        landmarks68: float32 [T, 68, 2] px, in the usual order.
        blendshapes: float32 [T, 52] in 0..1.
        confidence: float32 [T] in 0..1.
        faces: int16 [T], number of faces at the last count.
    """

    landmarks478: NDArray[np.float32]
    landmarks68: NDArray[np.float32]
    blendshapes: NDArray[np.float32]
    confidence: NDArray[np.float32]
    faces: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """bool [T]: frames without a usable face."""
        return self.confidence <= 0

    def filled(self) -> "FaceTrack":
        """The same track with gaps bridged linearly (held at both ends); confidence stays 0 there.

        Raises:
            VideoError: no frame shows a face.
        """
        seen = np.flatnonzero(~self.missing)
        if len(seen) == 0:
            raise VideoError("No face in any frame. Use a video with one face, clearly visible and not tiny.")
        if len(seen) == len(self):
            return self
        rows = np.arange(len(self))

        def bridge(values: NDArray[np.float32]) -> NDArray[np.float32]:
            flat = values.reshape(len(values), -1)
            columns = [np.interp(rows, seen, flat[seen, j]) for j in range(flat.shape[1])]
            return np.stack(columns, 1).astype(np.float32).reshape(values.shape)

        return replace(
            self,
            landmarks478=bridge(self.landmarks478),
            landmarks68=bridge(self.landmarks68),
            blendshapes=bridge(self.blendshapes),
        )


class FaceCapturer:
    """Measures the face in every frame of a video.

    Args:
        threads: CPU threads; with two views each view has its own, and more than two change nothing.
        views: 2 measures each frame in two crops, turned 7 degrees either way, and takes the mean: a tenth
            less scatter than 1, the upright crop alone.
        tracking: crop each frame around the mesh of the one before; False detects anew in each frame.
        smooth: window of the Savitzky-Golay filter (order 2) over the coefficients, in frames, odd; 0 for
            none. Landmarks are never smoothed: head tracking wants them as measured.
        readout: let `capture` read the coefficients from the mesh's movement over the clip (see
            `face_sync.readout`) where that is more exact; False keeps the network's own. A clip with fewer
            than 50 frames with a face always keeps them, and so does `stream`, which cannot know the clip.
        landmarks: where the 68 points come from: "mesh", or "face-alignment", the package the paper uses
            (see `face_sync.second_landmarks`; slow on a CPU). The other values always come from the mesh.
        landmark_weights: folder of face-alignment's weights; its own cache and upstream by default.
        model: path of a `face_landmarker.task`; the embedded one by default.

    Raises:
        ValueError: a setting is not one of those named above.
        SyncTalkError: weights are missing or damaged.
    """

    def __init__(
        self,
        threads: int = 2,
        views: int = 2,
        tracking: bool = True,
        smooth: int = 5,
        readout: bool = True,
        landmarks: str = "mesh",
        landmark_weights: Path | str | None = None,
        model: Path | str | None = None,
    ) -> None:
        if views not in (1, 2):
            raise ValueError(f"views must be 1 or 2, not {views}.")
        if landmarks not in ("mesh", "face-alignment"):
            raise ValueError(f"landmarks must be 'mesh' or 'face-alignment', not {landmarks!r}.")
        if smooth and (smooth < 3 or smooth % 2 == 0):
            raise ValueError(f"smooth must be 0 or an odd number of frames from 3 up, not {smooth}.")
        with zipfile.ZipFile(model or model_path("face_landmarker.task")) as parts:
            self._detector = FaceDetector(parts.read("face_detector.tflite"))
            mesh = parts.read("face_landmarks_detector.tflite")
            self._meshes = [FaceMesh(mesh, threads if views == 1 else 1) for _ in range(views)]
            self._net = BlendshapeNet(parts.read("face_blendshapes.tflite"))
        self._pool = ThreadPoolExecutor(1) if views == 2 and threads > 1 else None
        self._second = SecondLandmarks(landmark_weights) if landmarks == "face-alignment" else None
        self._tracking = tracking
        self._readout = ReadOut.from_pretrained() if readout else None
        self._smooth = smooth

    def capture(
        self, frames: Iterable[NDArray[np.uint8]], like: Iterable[NDArray[np.uint8]] | None = None
    ) -> FaceTrack:
        """Measure all frames (uint8 RGB [H, W, 3], sizes may change), one at a time.

        `like` is other footage of the same person: its median face, not that of `frames`, then counts as the
        usual one, so that the coefficients of both mean the same. Sentences in another mood shift the median
        of a short clip by a standard deviation [measured].

        Raises:
            VideoError: there is no frame, or one is not uint8 [H, W, 3].
        """
        rows = list(self.stream(frames))
        if not rows:
            raise VideoError("There is no frame to measure.")
        landmarks = np.stack([row.landmarks478 for row in rows])
        track = FaceTrack(
            landmarks478=landmarks,
            landmarks68=np.stack([row.landmarks68 for row in rows]),
            blendshapes=np.stack([row.blendshapes for row in rows]),
            confidence=np.array([row.confidence for row in rows], np.float32),
            faces=np.array([row.faces for row in rows], np.int16),
        )
        if self._readout is not None:
            usual = self._usual_face(self._readout, like) if like is not None else None
            track = replace(track, blendshapes=self._readout.apply_to(landmarks, track.blendshapes, usual))
        if self._smooth and not track.missing.all():
            smooth = smooth_runs(track.blendshapes, ~track.missing, self._smooth).clip(0, 1)
            track = replace(track, blendshapes=smooth)
        return track

    def _usual_face(self, readout: ReadOut, frames: Iterable[NDArray[np.uint8]]) -> UsualFace | None:
        rows = list(self.stream(frames))
        if not rows:
            return None
        return readout.usual_face(
            np.stack([row.landmarks478 for row in rows]), np.stack([row.blendshapes for row in rows])
        )

    def stream(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[FaceFrame]:
        """Measure frames as they come, nothing smoothed; memory does not grow.

        Raises:
            VideoError: a frame is not uint8 [H, W, 3].
        """
        crop: Crop | None = None
        size = (0, 0)
        faces = 0
        warned = False
        for i, frame in enumerate(frames):
            check_frame(frame, i)
            if (frame.shape[1], frame.shape[0]) != size:
                size, crop = (frame.shape[1], frame.shape[0]), None
            if crop is None or not self._tracking or i % _COUNT_EVERY == 0:
                found = self._detector(frame, search_small=crop is None)
                face = main_face(found, *size)
                faces = len(found)
                if faces > 1 and not warned:
                    _log.warning(
                        "Frame %d shows %d faces; the largest and most central one is followed.", i, faces
                    )
                    warned = True
                if crop is None or not self._tracking:
                    crop = crop_around_face(face) if face is not None else None
            row, crop = self._measure(frame, crop, size, faces)
            yield row

    def _measure(
        self, frame: NDArray[np.uint8], crop: Crop | None, size: tuple[int, int], faces: int
    ) -> tuple[FaceFrame, Crop | None]:
        """One frame's values, and the crop for the next frame (None: detect again)."""
        nothing = FaceFrame(
            np.full((478, 3), np.nan, np.float32),
            np.full((68, 2), np.nan, np.float32),
            np.full(52, np.nan, np.float32),
            0.0,
            faces,
            size,
        )
        if crop is None:
            return nothing, None
        landmarks, presence = self._look(frame, crop)
        if presence < _MIN_PRESENCE and self._tracking:
            # The crop may be stale (a cut, a jump): one look by the detector before giving the frame up.
            face = main_face(self._detector(frame), *size)
            if face is None:
                return nothing, None
            landmarks, presence = self._look(frame, crop_around_face(face))
        if presence < _MIN_PRESENCE or not np.isfinite(landmarks).all():
            return nothing, None
        if face_height(landmarks) < _MIN_FACE_HEIGHT_PX:
            return nothing, None
        points = landmarks_68(landmarks) if self._second is None else self._second(frame, landmarks)
        row = FaceFrame(landmarks, points, self._net(landmarks), presence, max(faces, 1), size)
        return row, crop_around_mesh(landmarks)

    def _look(self, frame: NDArray[np.uint8], crop: Crop) -> tuple[NDArray[np.float32], float]:
        """Landmarks [478, 3] px and presence, the mean over the views."""
        if len(self._meshes) == 1:
            return self._meshes[0](frame, crop)
        turned = [replace(crop, angle=crop.angle + turn) for turn in (-_VIEW_TURN, _VIEW_TURN)]
        if self._pool is None:
            first, second = (mesh(frame, view) for mesh, view in zip(self._meshes, turned, strict=True))
        else:
            waiting = self._pool.submit(self._meshes[1], frame, turned[1])
            first, second = self._meshes[0](frame, turned[0]), waiting.result()
        mean = (first[0] + second[0]) * np.float32(0.5)
        return mean.astype(np.float32), min(first[1], second[1])


def face_height(landmarks478: NDArray[np.floating]) -> float:
    """Forehead to chin in pixels; unlike the eye distance it does not shrink in profile."""
    return float(np.hypot(*(landmarks478[10, :2] - landmarks478[152, :2])))


def check_frame(frame: NDArray[np.uint8], index: int) -> None:
    """Refuse what is not a picture.

    Raises:
        VideoError: the array is not uint8 [H, W, 3] with at least one pixel.
    """
    shape = getattr(frame, "shape", None)
    dtype = getattr(frame, "dtype", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
        raise VideoError(f"Frame {index} is not a uint8 RGB picture [H, W, 3] but {dtype} {shape}.")


def smooth_runs(
    values: NDArray[np.float32], valid: NDArray[np.bool_], window: int, order: int = 2
) -> NDArray[np.float32]:
    """Savitzky-Golay along time within each run of valid rows: [T, C] -> [T, C]; shorter runs stay as is."""
    out = values.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], valid, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start >= window:
            out[start:stop] = savgol_filter(values[start:stop], window, order, axis=0)
    return out
