"""The 3D morphable face model behind the Head Motion Tracker (Section III-C, Eq. 7-8).

shape(identity, expression) = mean + identity @ identity_basis + expression @ expression_basis

Built by `synctalk.training.build_face_model` from the CC0 MakeHuman head: identity directions are the
principal components of sampled adults (unit variance), expression directions the 52 facial coefficients.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synctalk.assets import model_path
from synctalk.errors import SyncTalkError

REGIONS: tuple[str, ...] = (
    "scalp", "forehead", "brows", "eyes", "nose", "cheeks", "lips", "jaw", "ears", "neck", "eyeballs",
    "mouth",
)  # fmt: skip

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FaceModel:
    """A head mesh of N vertices in canonical head space (x to the subject's left, y up, z out of the face,
    unit 10 cm, origin at the pivot of the head).

    Attributes:
        mean: float64 [N, 3].
        identity_basis: float64 [K, N, 3], per standard deviation.
        expression_basis: float64 [52, N, 3], per unit of the coefficient.
        triangles: int64 [M, 3].
        landmark_triangles: int64 [478], the triangle that carries each mesh landmark.
        landmark_weights: float64 [478, 3], barycentric coordinates in it.
        landmarks68: int64 [68], which of the 478 stand for the usual 68.
        region: int64 [N], index into `REGIONS`.
    """

    mean: Array
    identity_basis: Array
    expression_basis: Array
    triangles: NDArray[np.int64]
    landmark_triangles: NDArray[np.int64]
    landmark_weights: Array
    landmarks68: NDArray[np.int64]
    region: NDArray[np.int64]

    @classmethod
    def load(cls, path: Path | str | None = None) -> "FaceModel":
        """Read the model; the embedded one by default.

        Raises:
            SyncTalkError: the file is missing or not such a model.
        """
        path = Path(path) if path is not None else model_path("face_model.npz")
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = {name: data[name] for name in cls.__dataclass_fields__}
        except (OSError, KeyError, ValueError) as error:
            raise SyncTalkError(f"{path} is not a face model ({error}). Reinstall the package.") from error
        return cls(
            **{
                name: array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
                for name, array in arrays.items()
            }
        )

    def save(self, path: Path | str) -> None:
        """Write as NPZ: bases in half precision, indices in 16 bit."""
        compact = {}
        for name in self.__dataclass_fields__:
            array = getattr(self, name)
            if array.dtype.kind == "i":
                compact[name] = array.astype(np.uint16)
            else:
                compact[name] = array.astype(np.float16 if name.endswith("basis") else np.float32)
        np.savez_compressed(path, **compact)

    @property
    def size(self) -> tuple[int, int]:
        """How many identity and expression coefficients there are."""
        return len(self.identity_basis), len(self.expression_basis)

    def vertices(self, identity: Array | None = None, expression: Array | None = None) -> Array:
        """Mesh [N, 3] of coefficients [K] (fewer: the leading ones) and [52]; None means zero."""
        shape = self.mean.copy()
        if identity is not None:
            shape += np.tensordot(identity, self.identity_basis[: len(identity)], 1)
        if expression is not None:
            shape += np.tensordot(expression, self.expression_basis, 1)
        return shape

    def at_landmarks(self, values: Array) -> Array:
        """Values [..., N, C] of the vertices read at the landmarks: [..., 478, C]."""
        corners = values[..., self.triangles[self.landmark_triangles], :]
        return np.einsum("...lkc,lk->...lc", corners, self.landmark_weights)
