"""The second source of the 68 landmarks: the `face-alignment` package (FAN), as the paper uses it.

The face is found by our own detector and mesh, so that of the package's weights only FAN's are needed.
Slow on a CPU, about a second per frame; meant for a GPU or for comparing trackers.
"""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synctalk.errors import SyncTalkError

WEIGHTS = "2DFAN4-11f355bf06.pth.tar"


class SecondLandmarks:
    """68 points by FAN.

    Args:
        weights: the file `2DFAN4-11f355bf06.pth.tar` or the folder it lies in; by default the package's own
            cache, filled from its upstream when it is empty.
        device: torch device.

    Raises:
        SyncTalkError: the weights cannot be had or do not fit.
    """

    def __init__(self, weights: Path | str | None = None, device: str = "cpu") -> None:
        from face_alignment import FaceAlignment, LandmarksType
        from face_alignment.models import FAN

        path = self._file(Path(weights)) if weights is not None else None

        class LocalWeights(FaceAlignment):
            """The package's class, reading the file it is given; nothing in it is executed."""

            def _load_native(self, network_name: str, network_size: int, device: str, dtype: Any) -> Any:
                if path is None:
                    return super()._load_native(network_name, network_size, device, dtype)
                net = FAN(network_size)
                net.load_state_dict(torch.load(path, map_location=device, weights_only=True))
                return net.to(device, dtype=dtype).eval()

        try:
            # The 'folder' detector has no network: boxes come from us. Compiling takes minutes on a CPU.
            self._network = LocalWeights(
                LandmarksType.TWO_D, device=device, compile=False, face_detector="folder", flip_input=True
            )
        except (OSError, RuntimeError, EOFError, UnpicklingError) as reason:
            where = str(path) if path is not None else "its upstream, www.adrianbulat.com,"
            raise SyncTalkError(
                f"The weights of face-alignment cannot be read from {where} ({str(reason).splitlines()[0]}). "
                f"Give the folder that holds {WEIGHTS}, or use the mesh's landmarks."
            ) from reason

    @staticmethod
    def _file(weights: Path) -> Path:
        path = weights / WEIGHTS if weights.is_dir() else weights
        if not path.is_file():
            raise SyncTalkError(
                f"{path} is missing: give the file {WEIGHTS} of the face-alignment package or its folder."
            )
        return path

    def __call__(self, frame: NDArray[np.uint8], landmarks478: NDArray[np.floating]) -> NDArray[np.float32]:
        """The 68 points of the face that the mesh found.

        Args:
            frame: uint8 RGB [H, W, 3].
            landmarks478: [478, 3] px; NaN without a face.

        Returns:
            float32 [68, 2] px; NaN without a face.
        """
        if not np.isfinite(landmarks478).all():
            return np.full((68, 2), np.nan, np.float32)
        # FAN was trained on boxes that reach from the forehead to the chin, as the mesh does.
        low, high = landmarks478[:, :2].min(0), landmarks478[:, :2].max(0)
        box = [*low.tolist(), *high.tolist(), 1.0]
        points = self._network.get_landmarks_from_image(frame, detected_faces=[np.array(box)])
        return np.asarray(points[0], np.float32)[:, :2]
