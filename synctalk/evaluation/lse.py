"""LSE-C and LSE-D, the published lip-sync figures, by the original SyncNet where the user has its weights.

The package `syncnet-python` and the files `sfd_face.pth` and `syncnet_v2.model` are not shipped (the weights
are for research use); without them these figures are 'not computed', never replaced by ours.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path

from synctalk.errors import SyncTalkError, VideoError

_DETECTOR, _SYNCNET = "sfd_face.pth", "syncnet_v2.model"


@dataclass(frozen=True)
class LipSyncError:
    """lse_c: confidence, higher is better; lse_d: distance, lower is better; offset_frames: SyncNet's own."""

    lse_c: float
    lse_d: float
    offset_frames: int


def lip_sync_error(path: str | os.PathLike, weights: str | os.PathLike, device: str = "cpu") -> LipSyncError:
    """LSE-C and LSE-D of a video with sound: the face track of highest confidence.

    weights: folder with `sfd_face.pth` and `syncnet_v2.model`. Raises SyncTalkError when the package or a
    file is missing, VideoError when no face track is found.
    """
    folder = Path(weights)
    missing = [name for name in (_DETECTOR, _SYNCNET) if not (folder / name).exists()]
    if missing:
        raise SyncTalkError(f"{folder} lacks {' and '.join(missing)}; get them from SyncNet's authors.")
    try:
        package = importlib.import_module("syncnet_python")
    except ImportError as error:
        raise SyncTalkError("LSE-C/D need the package syncnet-python: pip install syncnet-python.") from error
    settings = {"s3fd_weights": str(folder / _DETECTOR), "syncnet_weights": str(folder / _SYNCNET)}
    pipeline = package.SyncNetPipeline(settings, device=device)
    offsets, confidences, distances, *_, found = pipeline.inference(video_path=str(path), audio_path=None)
    if not found or len(confidences) == 0:
        raise VideoError(f"{path}: SyncNet found no face track, so LSE-C/D are not computed.")
    best = max(range(len(confidences)), key=lambda k: float(confidences[k]))
    return LipSyncError(float(confidences[best]), float(distances[best]), int(offsets[best]))
