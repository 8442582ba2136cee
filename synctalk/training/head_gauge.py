"""What fixes a person's canonical frame (camera, identity, keypoints), as plain tensors inside an avatar."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synctalk.errors import AvatarError
from synctalk.head_sync.face_model import REGIONS, FaceModel
from synctalk.head_sync.head_points import Keyframes
from synctalk.head_sync.track import Keypoints, Track


def to_tensors(track: Track) -> dict[str, Tensor]:
    """The part of a track that another video of the same person needs; see `from_tensors`."""
    arrays = {"K": track.K, "identity": track.identity, "size": np.array(track.size, np.int32)}
    if track.keypoints is not None:
        arrays |= {"points": track.keypoints.points, "noise_px": track.keypoints.noise_px}
        keyframes = track.keypoints.keyframes
        arrays |= {f"keyframes.{f.name}": getattr(keyframes, f.name) for f in fields(Keyframes)}
    return {key: torch.from_numpy(_compact(np.asarray(value))) for key, value in arrays.items()}


def _compact(array: NDArray[Any]) -> NDArray[Any]:
    """float32 and int32 are exact enough (a millionth of a head, a pixel number)."""
    kinds = {"f": np.float32, "i": np.int32}
    return np.ascontiguousarray(array.astype(kinds.get(array.dtype.kind, array.dtype)))


def from_tensors(tensors: Mapping[str, Tensor], where: str) -> Track:
    """A track of no frames, to be followed by `track_head(like=...)`.

    Args:
        tensors: what `to_tensors` gave.
        where: the file, for the message.

    Raises:
        AvatarError: a tensor is missing.
    """
    arrays = {key: value.numpy() for key, value in tensors.items()}

    def need(name: str) -> NDArray[Any]:
        if name not in arrays:
            raise AvatarError(
                f"{where}: tensor 'gauge.{name}' is missing, so no video can be tracked like it."
            )
        array = arrays[name]
        kinds = {"f": np.float64, "i": np.int64}
        return array.astype(kinds.get(array.dtype.kind, array.dtype))

    keypoints = None
    if "points" in arrays:
        keyframes = Keyframes(**{f.name: need(f"keyframes.{f.name}") for f in fields(Keyframes)})
        keypoints = Keypoints(keyframes, need("points"), need("noise_px"))
    width, height = need("size").tolist()
    return Track(
        K=need("K"),
        viewmats=np.zeros((0, 4, 4)),
        confidence=np.zeros(0),
        landmarks68=np.zeros((0, 68, 2), np.float32),
        identity=need("identity"),
        expressions=np.zeros((0, 52), np.float32),
        size=(int(width), int(height)),
        keypoints=keypoints,
        cuts=np.zeros(0, np.int64),
        focal_curve=np.zeros((0, 2)),
        residual_px=np.zeros(0),
    )


def neutral_landmarks(track: Track, model: FaceModel) -> NDArray[np.float32]:
    """The person's 68 landmarks at rest, float32 [68,3] in head space (10 cm)."""
    return model.at_landmarks(model.vertices(track.identity))[model.landmarks68].astype(np.float32)


def head_surface(track: Track, model: FaceModel) -> NDArray[np.float32]:
    """Points on the person's head at rest, float32 [M,3] in head space (10 cm): skin and eyeballs."""
    hidden = [REGIONS.index(name) for name in ("neck", "mouth")]
    return model.vertices(track.identity)[~np.isin(model.region, hidden)].astype(np.float32)
