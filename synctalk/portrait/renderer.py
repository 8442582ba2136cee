"""The inference path: the same pictures as `PortraitModel.forward`, a hundred times a second.

What does not change is computed once: triplane features, attributes at rest, attention, the constant
part of the first deformation layer. Only Gaussians that conditions of the training video moved are
deformed; by the masks of Eq. 6 each of them listens to lips or to expressions, never to both.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synctalk.half_precision import has_bfloat16
from synctalk.portrait.canonical import SH_C0, SH_C1
from synctalk.portrait.fast_deformation import FastHalf, can_run
from synctalk.portrait.model import LOG_SCALE_RANGE, PortraitModel
from synctalk.portrait.splat import SplatRenderer, native

# The smallest changes worth computing (half a millimetre, a quarter of a scale or of a turn, 8 grey levels):
# a Gaussian that never leaves such a range rests in its middle. On trained avatars this agrees with the
# training path to 64 dB and spares a tenth of the work.
_STILL = {"means": 4.8e-3, "quats": 0.24, "scales": 0.24, "colors": 0.03}

# Light that may be left when a pixel is called finished: at most a third of a grey level.
_ENOUGH = 1.3e-3


@dataclass
class _Half:
    """The moving Gaussians of one half of the face and their networks, constants folded in."""

    rows: slice  # of all Gaussians, which are sorted by half
    columns: slice  # of the conditions
    constant: Tensor  # [M,H] first layer, the part from the triplane feature
    attention: Tensor  # [M,C]
    weight: Tensor  # [C,H] first layer, the part from the conditions, float32
    rest: Tensor  # [M,10 or 13] attributes at rest plus the last layer's bias


class PortraitRenderer:
    """Draws one avatar at one size; not for several threads at once.

    Args:
        model: a trained portrait.
        width, height: picture size, px.
        K: intrinsics [3,3], px.
        threads: threads of the splatting kernel; None leaves the choice to it.
        dtype: of the deformation's hidden layers; None takes bfloat16 where the processor has it.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: PortraitModel,
        width: int,
        height: int,
        K: Tensor | NDArray,
        threads: int | None = None,
        dtype: torch.dtype | None = None,
    ):
        self.model = model.eval()
        self.dtype = dtype or (torch.bfloat16 if has_bfloat16() else torch.float32)
        K = torch.as_tensor(np.asarray(K), dtype=torch.float32)
        self.threads = threads or native.default_threads()
        self.splat = SplatRenderer(width, height, K, threads=self.threads, stop=_ENOUGH)
        self.has_colors = model.settings.deform_colors
        hidden = linears(model.deformation.trunk)
        self.trunk = [(self._cast(layer.weight.T), self._cast(layer.bias)) for layer in hidden]
        regressors = linears(model.deformation.regressors.values())
        self.last = self._cast(torch.cat([regressor.weight for regressor in regressors]).T)
        bias = torch.cat([regressor.bias for regressor in regressors])
        features = model.triplane(model.canonical.means)
        at_rest = model.canonical(features)
        constant = self._cast(model.deformation.from_feature(features))
        lower, upper = model.facial(features, model.canonical.means[:, 1])
        tint = [torch.zeros_like(at_rest.means)] if self.has_colors else []
        rigid = torch.cat([at_rest.means, at_rest.quats, at_rest.scales, *tint], dim=1)
        rest = rigid + bias
        # Those that no condition reaches still have the offset of no condition at all.
        state = torch.where(model.deforms[:, None], rest + self._offsets(constant.clone()), rigid)
        split = model.settings.lower_dim
        found = []
        for columns, attention, first in (
            (slice(0, split), lower, model.deformation.from_lower),
            (slice(split, None), upper, model.deformation.from_upper),
        ):
            reached = torch.nonzero((attention.abs().amax(1) > 0) & model.deforms).squeeze(1)
            half = _Half(
                slice(0, 0),
                columns,
                constant[reached],
                self._cast(attention[reached]),
                first.weight.T.contiguous(),
                rest[reached],
            )
            state[reached], moves = self._movement(half, model.condition_samples)
            found.append((half, reached[moves], moves))
        moving = torch.cat([rows for _, rows, _ in found])
        still = torch.ones(len(state), dtype=torch.bool)
        still[moving] = False
        order = torch.cat([moving, torch.nonzero(still).squeeze(1)])
        self.halves, begin = [], 0
        for half, rows, moves in found:
            place = slice(begin, begin + len(rows))
            kept = half.constant[moves], half.attention[moves], half.weight, half.rest[moves]
            self.halves.append(_Half(place, half.columns, *kept))
            begin = place.stop
        self._keep(state[order], at_rest.opacities[order], at_rest.sh[order], at_rest.means[order])
        self.shifts = at_rest.shifts[order].transpose(1, 2).reshape(-1, 3).contiguous()  # [3N, views]
        self.placed = self.means.clone()  # the means, moved by the view
        self._fast: list[FastHalf] = []
        if can_run(model.settings.hidden, self.trunk):
            half_precision = self.dtype == torch.bfloat16
            self._fast = [
                FastHalf(
                    half.constant,
                    half.attention,
                    half.weight,
                    self.trunk,
                    self.last,
                    half.rest,
                    LOG_SCALE_RANGE,
                    half_precision,
                )
                for half in self.halves
            ]
            self._share()

    def _keep(self, state: Tensor, opacities: Tensor, sh: Tensor, rest_means: Tensor) -> None:
        """Set up the buffers that frames are made in, Gaussians sorted by half."""
        self.means, self.quats = state[:, :3].contiguous(), state[:, 3:7].contiguous()
        self.scales = state[:, 7:10].clamp(*LOG_SCALE_RANGE).exp()
        self.tints = state[:, 10:13].contiguous()
        self.opacities = opacities.sigmoid().contiguous()
        self.rest_means = rest_means.contiguous()
        self.base_colors = SH_C0 * sh[:, 0] + 0.5
        self.slopes: Tensor | None = None  # [N,3 (x, y, z),3] how a colour changes with the direction
        if sh.shape[1] == 4:
            self.slopes = SH_C1 * torch.stack([-sh[:, 3], -sh[:, 1], sh[:, 2]], dim=1)
        self.colors = self.base_colors.clone()

    def _share(self) -> None:
        """The buffers as the native kernel sees them."""
        outputs = [self.means, self.quats, self.scales, *([self.tints] if self.has_colors else [])]
        arrays = [tensor.numpy() for tensor in outputs]
        self._outputs = [
            [*(array[half.rows] for array in arrays), *([] if self.has_colors else [None])]
            for half in self.halves
        ]
        slopes = None if self.slopes is None else self.slopes.numpy()
        tints = self.tints.numpy() if self.has_colors else None
        self._shades = self.rest_means.numpy(), self.base_colors.numpy(), slopes, tints

    def twin(self, threads: int | None = None) -> "PortraitRenderer":
        """Another renderer of the same portrait, for another thread: it shares all that does not change."""
        other = copy.copy(self)
        other.threads = threads or self.threads
        old = self.splat
        other.splat = SplatRenderer(old.width, old.height, old.K, threads=other.threads, stop=_ENOUGH)
        for name in ("means", "quats", "scales", "tints", "colors", "placed"):
            setattr(other, name, getattr(self, name).clone())
        if other._fast:
            other._share()
        return other

    @property
    def moving(self) -> int:
        """How many Gaussians are deformed per frame."""
        return sum(len(half.rest) for half in self.halves)

    @torch.inference_mode()
    def conditions(
        self, lips: Tensor | NDArray, expressions: Tensor | NDArray, silence: Tensor | NDArray | None = None
    ) -> Tensor:
        """Conditions [T,C] for `render`; see `PortraitModel.conditions`."""
        quiet = None if silence is None else torch.as_tensor(np.asarray(silence), dtype=torch.bool)
        return self.model.conditions(
            torch.as_tensor(lips, dtype=torch.float32),
            torch.as_tensor(expressions, dtype=torch.float32),
            quiet,
        )

    @torch.inference_mode()
    def render(self, conditions: Tensor, t: int, viewmat: Tensor | NDArray) -> tuple[Tensor, Tensor]:
        """Frame `t`: image float32 [H,W,3] over black and alpha [H,W], in buffers that the next call reuses.

        `conditions` [T,C], `viewmat` [4,4].
        """
        view = torch.as_tensor(viewmat, dtype=torch.float32)
        return self.splat.render(*self.deform(conditions[t], view), view)

    @torch.inference_mode()
    def deform(self, condition: Tensor, view: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Means, quaternions, scales, opacities, colours under `condition` [C], seen from `view` [4,4]."""
        camera = -view[:3, :3].T @ view[:3, 3]
        if self._fast:
            asked = condition.numpy()
            for half, fast, outputs in zip(self.halves, self._fast, self._outputs, strict=True):
                fast.run(asked[half.columns], outputs, self.threads)
            native.module().seen_colors(*self._shades, camera.numpy(), self.colors.numpy(), self.threads)
        else:
            self._deform_plainly(condition, camera)
        torch.addmv(self.means.view(-1), self.shifts, self.model.view(view), out=self.placed.view(-1))
        return self.placed, self.quats, self.scales, self.opacities, self.colors

    def _deform_plainly(self, condition: Tensor, camera: Tensor) -> None:
        """What the native kernel does, in torch."""
        for half in self.halves:
            made = self._deformed(half, condition[half.columns])
            self.means[half.rows] = made[:, :3]
            self.quats[half.rows] = made[:, 3:7]  # of any length: the kernel normalises them
            torch.exp(made[:, 7:10].clamp_(*LOG_SCALE_RANGE), out=self.scales[half.rows])
            if self.has_colors:
                self.tints[half.rows] = made[:, 10:13]
        self.colors.copy_(self.base_colors)
        if self.slopes is not None:
            towards = self.rest_means - camera
            towards *= (towards * towards).sum(1, keepdim=True).rsqrt_()
            self.colors += (towards[..., None] * self.slopes).sum(1)
        if self.has_colors:
            self.colors += self.tints

    def _deformed(self, half: _Half, condition: Tensor) -> Tensor:
        """Attributes [M,10 or 13] of a half under its `condition` [C]."""
        # Attention times condition times weight: the condition may as well scale the (small) weight.
        weight = self._cast(condition[:, None] * half.weight)
        return self._offsets(torch.addmm(half.constant, half.attention, weight)).add_(half.rest)

    def _offsets(self, first: Tensor) -> Tensor:
        """Offsets without the last bias, from the first layer before its activation [M,H]."""
        hidden = first.relu_()
        for weight, bias in self.trunk:
            hidden = torch.addmm(bias, hidden, weight).relu_()
        return (hidden @ self.last).float()

    def _cast(self, values: Tensor) -> Tensor:
        return values.to(self.dtype).contiguous()

    def _movement(self, half: _Half, samples: Tensor) -> tuple[Tensor, Tensor]:
        """The middle of the attributes [M,10 or 13] over the stored conditions, and who moves [M] bool."""
        low = high = self._deformed(half, samples[0, half.columns])
        for sample in samples[1:]:
            now = self._deformed(half, sample[half.columns])
            low, high = torch.minimum(low, now), torch.maximum(high, now)
        limits = [_STILL["means"]] * 3 + [_STILL["quats"]] * 4 + [_STILL["scales"]] * 3
        limits += [_STILL["colors"]] * 3 if self.has_colors else []
        return (low + high) / 2, ((high - low) / 2 > torch.tensor(limits)).any(1)


def linears(modules: Iterable[nn.Module]) -> list[nn.Linear]:
    """The linear layers among `modules`."""
    return [module for module in modules if isinstance(module, nn.Linear)]
