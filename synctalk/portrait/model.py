"""The portrait of one person: triplane, canonical Gaussians, attention and deformation together.

The two attention modules belong to the Face-Sync Controller and are handed in, so that this room
needs to know only their shapes:

- `temporal(lips [T,512]) -> [T,32]` and `temporal.windows([B,8,512]) -> [B,32]`
- `facial(features [N,D], heights [N]) -> (lower [N,L], upper [N,U])`, zero outside each half.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synctalk.errors import AvatarError
from synctalk.portrait.canonical import CanonicalGaussians, sh_to_rgb
from synctalk.portrait.deformation import Deformation, Offsets
from synctalk.portrait.settings import PortraitSettings
from synctalk.portrait.silence import silence_weights
from synctalk.portrait.triplane import TriPlane
from synctalk.tensor_file import load_module, read_tensors, write_tensors

FORMAT = 2
FORMAT_WITHOUT_SHIFTS = 1
LIPS_INPUT = 512  # features per frame of the audio-visual encoder
# A scale beyond these is no part of a head: e^-7 is 0.1 mm, e^-1.2 is 3 cm.
LOG_SCALE_RANGE = (-7.0, -1.2)
WIDEST_VIEW = 4.0  # standard deviations of the views in training; what lies beyond was never seen


@dataclass
class Gaussians:
    """Gaussians as the rasterizer takes them."""

    means: Tensor  # [N,3]
    quats: Tensor  # [N,4] wxyz, unit length
    scales: Tensor  # [N,3]
    opacities: Tensor  # [N]
    colors: Tensor  # [N,3]
    offsets: Tensor | None = None  # [N,3] how far the deformation moved each


class PortraitModel(nn.Module):
    """Everything portrait.safetensors holds."""

    lips_mean: Tensor
    lips_std: Tensor
    expression_mean: Tensor
    expression_std: Tensor
    condition_samples: Tensor
    deforms: Tensor
    view_mean: Tensor
    view_spread: Tensor

    def __init__(self, count: int, settings: PortraitSettings, temporal: nn.Module, facial: nn.Module):
        super().__init__()
        self.settings = settings
        # Run the networks in bfloat16: twice as fast where the processor multiplies it natively.
        self.half_networks = False
        self.triplane = TriPlane(settings.plane_levels, settings.plane_features, settings.extent)
        self.canonical = CanonicalGaussians(count, settings)
        self.deformation = Deformation(settings)
        self.temporal: Any = temporal
        self.facial: Any = facial
        # What the lip feature is while nobody speaks; learnt from the silent frames.
        self.closed_mouth = nn.Parameter(torch.zeros(settings.lip_features))
        drivers = len(settings.lower) + len(settings.upper)
        self.register_buffer("lips_mean", torch.zeros(LIPS_INPUT))
        self.register_buffer("lips_std", torch.ones(LIPS_INPUT))
        self.register_buffer("expression_mean", torch.zeros(drivers))
        self.register_buffer("expression_std", torch.ones(drivers))
        # From where the head was seen in training: mean direction to the camera, and its spread.
        self.register_buffer("view_mean", torch.tensor([0.0, 0.0, 1.0]))
        self.register_buffer("view_spread", torch.tensor(1.0))
        # Conditions seen in training, for finding out which Gaussians do move.
        # Which Gaussians the networks may move at all, bool [N]: hair away from the face never does.
        self.register_buffer("deforms", torch.ones(count, dtype=torch.bool))
        self.register_buffer("condition_samples", torch.zeros(64, settings.lower_dim + settings.upper_dim))

    def expression_drivers(self, expressions: Tensor) -> Tensor:
        """The coefficients this portrait uses, standardised: [T,52] -> [T,lower+upper], smile first."""
        chosen = expressions[:, list(self.settings.lower + self.settings.upper)]
        return (chosen - self.expression_mean) / self.expression_std

    def conditions(self, lips: Tensor, expressions: Tensor, silence: Tensor | None = None) -> Tensor:
        """What drives each frame [T,L+U]: lip feature, smile, upper-face coefficients.

        `lips` [T,512] from the audio-visual encoder, `expressions` [T,52], `silence` [T] bool from
        voice activity: where it lasts, the learnt closed-mouth code takes the place of the lip feature.
        """
        spoken = self.temporal(self.standard_lips(lips))
        if silence is not None:
            spoken = self.closed(spoken, silence_weights(silence))
        return torch.cat([spoken, self.expression_drivers(expressions)], dim=1)

    def standard_lips(self, lips: Tensor) -> Tensor:
        """Encoder features [...,512] with the mean and spread they had in training taken out."""
        return (lips - self.lips_mean) / self.lips_std

    def closed(self, spoken: Tensor, weight: Tensor) -> Tensor:
        """`spoken` [T,32] moved to the closed-mouth code by `weight` [T] in [0,1]."""
        return torch.lerp(spoken, self.closed_mouth.expand_as(spoken), weight[:, None].to(spoken))

    def view(self, viewmat: Tensor) -> Tensor:
        """From where the head is seen, [3]: its direction to the camera `viewmat` [4,4], standardised."""
        direction = F.normalize(-viewmat[:3, :3].T @ viewmat[:3, 3], dim=0)
        return ((direction - self.view_mean) / self.view_spread).clamp(-WIDEST_VIEW, WIDEST_VIEW)

    def forward(
        self, viewmat: Tensor, condition: Tensor | None = None, rows: Tensor | None = None
    ) -> Gaussians:
        """The Gaussians for one picture, differentiable (Eq. 16-20).

        Beside what the paper has, a mean moves a little in proportion to how far the head is turned: the
        outline of a round head is not made of the same points when it turns. It is worth little: in
        two runs of 1500 steps the outline of held-out frames gained 0.1 and 0.3 dB [measured].

        `viewmat` [4,4]; `condition` [L+U] or None for the canonical head; `rows` [n] to compute only
        some Gaussians.
        """
        means: Tensor = self.canonical.means
        deforms = self.deforms
        if rows is not None:
            means, deforms = means.index_select(0, rows), deforms[rows]
        features = self.triplane(means)
        with torch.autocast(means.device.type, torch.bfloat16, enabled=self.half_networks):
            at_rest = self.canonical(features, rows)
            offsets = None
            if condition is not None:
                offsets = self._offsets(features, means[:, 1].detach(), deforms, condition)
        position = at_rest.means + torch.einsum("nvc,v->nc", at_rest.shifts, self.view(viewmat))
        rotation, scale = at_rest.quats, at_rest.scales
        if offsets is not None:
            position, rotation = position + offsets.means, rotation + offsets.quats
            scale = scale + offsets.scales
        colors = sh_to_rgb(at_rest.sh, at_rest.means, viewmat)
        return Gaussians(
            means=position,
            quats=F.normalize(rotation, dim=1),
            scales=scale.clamp(*LOG_SCALE_RANGE).exp(),
            opacities=at_rest.opacities.sigmoid(),
            colors=colors if offsets is None or offsets.colors is None else colors + offsets.colors,
            offsets=None if offsets is None else offsets.means,
        )

    def _offsets(self, features: Tensor, heights: Tensor, deforms: Tensor, condition: Tensor) -> Offsets:
        """Eq. 6 and 19 for Gaussians with `features` [n,D] at `heights` [n]; none where not `deforms` [n]."""
        split = self.settings.lower_dim
        if not hasattr(self.facial, "masks"):  # some other attention: by the definition
            able = torch.nonzero(deforms).squeeze(1)
            lower, upper = self.facial(features[able], heights[able])
            moved = self.deformation(features[able], lower * condition[:split], upper * condition[split:])
            return moved.spread(able, len(features))
        masks = self.facial.masks(heights)
        below = masks[0] > 0
        made = features.new_zeros(len(features), sum(self.deformation.widths))
        for half, mask, attention, part in (
            (below, masks[0], self.facial.lips, condition[:split]),
            (~below, masks[1], self.facial.expression, condition[split:]),
        ):
            rows = torch.nonzero(half & deforms).squeeze(1)
            if len(rows):
                offsets = self.deformation.of_half(
                    features.index_select(0, rows), mask[rows], attention, part, lower=half is below
                )
                made = made.index_copy(0, rows, offsets)
        return self.deformation.split(made)

    def save(self, path: str | Path) -> None:
        """Write portrait.safetensors; what only colours and moves is stored in half precision."""
        write_tensors(path, packed(self.state_dict()), {"format": FORMAT, **self.settings.as_dict()})


def no_shifts(count: int) -> dict[str, Tensor]:
    """What a portrait of `count` Gaussians from before they moved with the view lacks."""
    return {
        "canonical.shifts": torch.zeros(count, 3, 3),
        "view_mean": torch.tensor([0.0, 0.0, 1.0]),
        "view_spread": torch.tensor(1.0),
    }


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as stored: float32 where rounding would show (positions, statistics), else float16."""
    exact = ("canonical.means", "lips_", "expression_", "view_", "facial.", "temporal.")
    return {
        name: value if name.startswith(exact) or not value.is_floating_point() else value.half()
        for name, value in state.items()
    }


def load_portrait(
    path: str | Path, make_temporal: Callable[[], nn.Module], make_facial: Callable[..., nn.Module]
) -> PortraitModel:
    """Read a portrait; `make_temporal()` and `make_facial(triplane_dim, lip_dim, expression_dim, hidden_dim)`
    build the attention modules whose weights the file holds.

    Raises AvatarError for an unreadable file, an unknown version, missing or unknown tensors and wrong
    shapes, naming the field.
    """
    tensors, values = read_tensors(path, {"canonical.means": (None, 3)})
    version = values.pop("format", None)
    if version == FORMAT_WITHOUT_SHIFTS:
        tensors |= no_shifts(len(tensors["canonical.means"]))
    elif version != FORMAT:
        raise AvatarError(f"{path}: portrait format {version!r}; this version of synctalk reads {FORMAT!r}.")
    settings = PortraitSettings.from_dict(values, str(path))
    facial = make_facial(
        triplane_dim=settings.triplane_dim,
        lip_dim=settings.lower_dim,
        expression_dim=settings.upper_dim,
        hidden_dim=settings.attention_hidden,
    )
    model = PortraitModel(len(tensors["canonical.means"]), settings, make_temporal(), facial)
    load_module(path, model, tensors)
    return model.eval()
