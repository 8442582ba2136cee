"""The shape of a portrait: what is fixed when training starts and saved with the avatar."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from synctalk.errors import AvatarError

PREDICTED = ("sh_opacity", "all", "none", "random")


@dataclass(frozen=True)
class PortraitSettings:
    """Architecture of one portrait (section III-D)."""

    upper: tuple[int, ...]
    """Blendshape indices that move the upper half of the face (core seven and eyeLook)."""
    lower: tuple[int, ...]
    """Blendshape indices that move the lower half beside the lip feature (mouthSmile left, right)."""
    lip_features: int = 32
    """Width of the lip feature that comes out of the temporal audio attention."""
    plane_levels: tuple[int, ...] = (64, 128)
    """Cells per side of each level of the triplane; 128 over a head is about 2 mm."""
    plane_features: int = 8
    """Channels per level and plane; three planes and two levels give 48 features."""
    predicted: str = "sh_opacity"
    """Attributes read from the triplane (Table IV): sh_opacity, all, none or random."""
    sh_degree: int = 1
    """Spherical harmonics; degree 1 holds the slow change of shading while the head turns."""
    hidden: int = 64
    """Width of the deformation network; inference time grows with it."""
    head_hidden: int = 32
    """Width of the attribute heads, which only training pays for."""
    attention_hidden: int = 32
    """Width of the masked attention's networks, which only training pays for."""
    deform_layers: int = 3
    """Hidden layers of the deformation network."""
    deform_colors: bool = True
    """Also offset colours (Eq. 19 speaks of each attribute); shading inside the mouth needs it."""
    extent: float = 2.0
    """Half side of the cube the triplane covers, head units of 10 cm."""

    def __post_init__(self) -> None:
        if self.predicted not in PREDICTED:
            raise ValueError(f"predicted must be one of {', '.join(PREDICTED)}, not {self.predicted!r}")
        if self.sh_degree not in (0, 1):
            raise ValueError(f"sh_degree must be 0 or 1, not {self.sh_degree}")

    @property
    def triplane_dim(self) -> int:
        """Length of the fused feature of Eq. 17."""
        return 3 * len(self.plane_levels) * self.plane_features

    @property
    def lower_dim(self) -> int:
        """Conditions of the lower half: lip feature, then smile."""
        return self.lip_features + len(self.lower)

    @property
    def upper_dim(self) -> int:
        """Conditions of the upper half."""
        return len(self.upper)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a file's header."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> "PortraitSettings":
        """Settings back from `as_dict`; raises AvatarError naming what is missing or wrong."""
        wrong = sorted(set(values) ^ {field.name for field in dataclasses.fields(cls)})
        if wrong:
            raise AvatarError(f"{where}: settings missing or unknown: {', '.join(wrong)}.")
        lists: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        try:
            return cls(**lists)
        except ValueError as error:
            raise AvatarError(f"{where}: {error}.") from error
