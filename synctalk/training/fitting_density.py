"""Where more Gaussians are needed, and which ones nobody would miss."""

from dataclasses import dataclass

import torch
from torch import Tensor

from synctalk.portrait.canonical import PER_GAUSSIAN, CanonicalGaussians


@dataclass
class Density:
    """How hard the pictures pull at each Gaussian since the last change."""

    pull: Tensor  # [N] summed length of the loss gradient at the projected mean, per pixel of the crop
    seen: Tensor  # [N] steps that drew it

    @classmethod
    def empty(cls, count: int) -> "Density":
        return cls(torch.zeros(count), torch.zeros(count))

    def add(self, rows: Tensor, gradient: Tensor, pixels: int) -> None:
        """Add one step: `gradient` [n,2] of the projected means of Gaussians `rows` [n], px."""
        length = gradient.norm(dim=1) * pixels
        self.pull.index_add_(0, rows, length)
        self.seen.index_add_(0, rows, (length > 0).float())

    def mean(self) -> Tensor:
        """Average pull [N]."""
        return self.pull / self.seen.clamp_min(1)


def keep_and_split(
    opacity: Tensor, scales: Tensor, pull: Tensor, target: int, minimum_opacity: float, largest: float
) -> tuple[Tensor, Tensor]:
    """Rows to keep [k] and rows to double [d], so that k + d is at most `target`.

    `opacity` [N] and `scales` [N,3] after activation, `pull` [N]. Faint Gaussians and those wider than
    `largest` go; the most pulled ones are doubled.
    """
    keep = torch.nonzero((opacity > minimum_opacity) & (scales.amax(1) < largest)).squeeze(1)
    room = max(min(target - len(keep), len(keep) // 4), 0)
    order = pull[keep].argsort(descending=True, stable=True)[:room]
    chosen = keep[order]
    return keep, chosen[pull[chosen] > 0]


def double(
    canonical: CanonicalGaussians,
    optimizer: torch.optim.Optimizer,
    keep: Tensor,
    chosen: Tensor,
    generator: torch.Generator,
) -> None:
    """Keep the rows `keep` and split each of `chosen` in two along its longest axis.

    Parents and children are 1.4 times smaller along that axis and sit on both sides of the old centre.
    The optimizer's memory follows the rows; children start without momentum.
    """
    place = torch.full((len(canonical),), -1, dtype=torch.long)
    place[keep] = torch.arange(len(keep))
    parents = place[chosen]
    with torch.no_grad():
        shift = _along_longest(canonical, chosen, generator)
        longest = canonical.scales[chosen].argmax(1)
        for name in PER_GAUSSIAN:
            old = getattr(canonical, name)
            rows = torch.cat([old[keep], old[chosen]])
            if name == "means":
                rows[parents] -= shift
                rows[len(keep) :] += shift
            if name == "scales":
                for part in (parents, torch.arange(len(keep), len(rows))):
                    rows[part, longest] -= 0.34
            _replace(canonical, optimizer, name, rows, keep, len(chosen))


def _along_longest(canonical: CanonicalGaussians, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Half a standard deviation along the longest axis, with a little noise, [n,3]."""
    scales = canonical.scales[rows].exp()
    axis = torch.nn.functional.one_hot(scales.argmax(1), 3).float() * scales * 0.5
    noise = 0.1 * scales * torch.randn(len(rows), 3, generator=generator)
    return torch.einsum("nij,nj->ni", rotation_matrices(canonical.quats[rows]), axis + noise)


def rotation_matrices(quats: Tensor) -> Tensor:
    """[N,3,3] from wxyz quaternions [N,4] of any length."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=1).unbind(1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def _replace(
    canonical: CanonicalGaussians,
    optimizer: torch.optim.Optimizer,
    name: str,
    rows: Tensor,
    keep: Tensor,
    added: int,
) -> None:
    """Swap a parameter for one with other rows, in the module and in the optimizer."""
    old = getattr(canonical, name)
    new = torch.nn.Parameter(rows.contiguous())
    setattr(canonical, name, new)
    state = optimizer.state.pop(old, None)
    if state:
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == old.shape:
                state[key] = torch.cat([value[keep], value.new_zeros(added, *value.shape[1:])])
        optimizer.state[new] = state
    for group in optimizer.param_groups:
        group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
