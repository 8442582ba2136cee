"""Where Gaussians start: on the fitted face, a hair shell around it, and inside the mouth."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import binary_dilation, binary_erosion
from torch import Tensor

from synctalk.errors import TrainingError
from synctalk.portrait.canonical import CanonicalGaussians, rgb_to_sh
from synctalk.training.fitting_crops import PortraitDataset, project

_MOUTH_SHARE = 0.07
_FACE_MARGIN = 0.02  # of the frame's width: how far into the hair the face may still pull it
_MOUTH_COLOR = (0.25, 0.12, 0.1)


def reference_frame(data: PortraitDataset) -> int:
    """The training frame whose pose is closest to the middle of all poses."""
    train = np.asarray(data.train)
    poses = np.asarray(data.viewmats)[train][:, :3].reshape(len(train), -1)
    return int(train[np.abs(poses - np.median(poses, axis=0)).sum(axis=1).argmin()])


@dataclass
class Start:
    """Where Gaussians begin."""

    points: Tensor  # [N,3] head space, 10 cm
    colors: Tensor  # [N,3] in [0,1]
    spacing: Tensor  # [N] distance to neighbours, 10 cm
    deforms: Tensor  # [N] bool, on the face or close to it


def start_canonical(
    canonical: CanonicalGaussians, start: Start, randomly: bool, generator: torch.Generator
) -> None:
    """Set the explicit attributes; with `randomly` (Table IV) all but the positions are drawn."""
    count = len(start.points)
    log_spacing = torch.log(start.spacing)[:, None]
    with torch.no_grad():
        canonical.means.copy_(start.points)
        canonical.quats.copy_(torch.tensor([1.0, 0, 0, 0]).expand(count, 4))
        canonical.sh.zero_()
        if randomly:
            canonical.quats.copy_(torch.randn(count, 4, generator=generator))
            canonical.sh[:, 0] = rgb_to_sh(torch.rand(count, 3, generator=generator))
            canonical.scales.copy_(log_spacing + 0.5 * torch.randn(count, 3, generator=generator))
            canonical.opacities.copy_(torch.randn(count, generator=generator))
            return
        canonical.sh[:, 0] = rgb_to_sh(start.colors)
        canonical.scales.copy_((log_spacing + math.log(0.55)).expand(count, 3))
        canonical.opacities.fill_(1.5)


def starting_points(data: PortraitDataset, count: int, generator: torch.Generator) -> Start:
    """About `count` points on the head of the reference frame.

    One point per cell of a pixel grid over the head matte, at the depth of a smooth surface through
    the fitted face (`init_points`) that bends back to the depth of the ears at the outline of the
    head: face where the model is, hair shell around it.

    Raises:
        TrainingError: the reference frame has no head matte.
    """
    frame = reference_frame(data)
    matte = np.asarray(data.mattes[frame, 1]) > 127
    if matte.sum() < 100:
        raise TrainingError(f"frame {frame}: no head found in the mattes; check the video or its mattes")
    viewmat = torch.as_tensor(np.asarray(data.viewmats[frame], dtype=np.float32))
    K = torch.as_tensor(np.asarray(data.K, dtype=np.float32))
    inside_mouth = int(_MOUTH_SHARE * count)
    step = float(np.sqrt(matte.sum() / (count - inside_mouth)))
    height, width = matte.shape
    u, v = np.meshgrid(np.arange(step / 2, width, step), np.arange(step / 2, height, step))
    pixels = np.stack([u.ravel(), v.ravel()], axis=1)
    cells = pixels.astype(int)
    keep = matte[cells[:, 1], cells[:, 0]]
    pixels, cells = pixels[keep], cells[keep]
    depth = _surface_depth(data, matte, viewmat, K, pixels)
    rays = np.stack(
        [
            (pixels[:, 0] - float(K[0, 2])) / float(K[0, 0]),
            (pixels[:, 1] - float(K[1, 2])) / float(K[1, 1]),
            np.ones(len(pixels)),
        ],
        axis=1,
    )
    camera = torch.as_tensor(rays * depth[:, None], dtype=torch.float32)
    points = (camera - viewmat[:3, 3]) @ viewmat[:3, :3]
    colors = torch.as_tensor(np.array(data.frames[frame])[cells[:, 1], cells[:, 0]]).float() / 255
    spacing = torch.as_tensor(step * depth / float(K[0, 0]), dtype=torch.float32)
    mouth = _mouth_interior(np.asarray(data.neutral68, dtype=np.float32), inside_mouth, generator)
    mouth_spacing = torch.full((len(mouth),), float(spacing.mean()))
    face = _wide(np.asarray(data.mattes[frame, 0]) > 127, round(_FACE_MARGIN * width))
    return Start(
        points=torch.cat([points, mouth]),
        colors=torch.cat([colors, torch.tensor(_MOUTH_COLOR).expand(len(mouth), 3)]),
        spacing=torch.cat([spacing, mouth_spacing]),
        deforms=torch.cat([torch.from_numpy(face[cells[:, 1], cells[:, 0]]), torch.ones(len(mouth)).bool()]),
    )


def _surface_depth(
    data: PortraitDataset, matte: NDArray, viewmat: Tensor, K: Tensor, pixels: NDArray
) -> NDArray[np.float64]:
    """Depth [n] along the camera axis at `pixels` [n,2]."""
    known, depth = project(torch.as_tensor(np.asarray(data.init_points, dtype=np.float32)), viewmat, K)
    known_px, known_depth = known.numpy().astype(np.float64), depth.numpy().astype(np.float64)
    known_px, known_depth = _frontmost(known_px, known_depth, cell=4.0)
    ears, _ = project(torch.as_tensor(np.asarray(data.neutral68, dtype=np.float32)), viewmat, K)
    _, landmark_depth = project(torch.as_tensor(np.asarray(data.neutral68, dtype=np.float32)), viewmat, K)
    rim_depth = float(landmark_depth[[0, 16]].mean())
    edge = matte & ~binary_erosion(matte)
    rows, columns = np.nonzero(edge)
    chin = float(ears[8, 1])
    above = rows < 0.5 * (float(ears[0, 1]) + chin)
    rows, columns = rows[above][::7], columns[above][::7]
    inputs = np.concatenate([known_px, np.stack([columns, rows], axis=1) + 0.5])
    values = np.concatenate([known_depth, np.full(len(rows), rim_depth)])
    surface = RBFInterpolator(inputs, values, neighbors=40, smoothing=1.0, kernel="linear")(pixels)
    return np.clip(surface, values.min(), max(values.max(), rim_depth))


def _frontmost(pixels: NDArray, depth: NDArray, cell: float) -> tuple[NDArray, NDArray]:
    """Of the points that share a cell of the picture, the nearest one."""
    order = np.argsort(depth)
    keys = np.floor(pixels[order] / cell).astype(np.int64)
    _, first = np.unique(keys, axis=0, return_index=True)
    chosen = order[first]
    return pixels[chosen], depth[chosen]


def _wide(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The mask [H,W] grown by about `pixels`."""
    return np.asarray(binary_dilation(mask, iterations=max(pixels, 1)))


def _mouth_interior(neutral68: NDArray[np.float32], count: int, generator: torch.Generator) -> Tensor:
    """Points [count,3] behind the lips: two rows of teeth bend with the lips, the rest is the dark behind."""
    lips = torch.as_tensor(neutral68[60:68])
    left, right = lips[:, 0].min(), lips[:, 0].max()
    centre, front = lips[:, 1].mean(), lips[:, 2].max()
    across = torch.rand(count, generator=generator) * 2 - 1
    up = torch.rand(count, generator=generator) * 2 - 1
    back = torch.rand(count, generator=generator)
    half = (right - left) / 2
    bend = across**2 * (front - lips[:, 2].min())
    return torch.stack(
        [(left + right) / 2 + across * half * 1.05, centre + up * 0.16, front - 0.06 - bend - back * 0.35],
        dim=1,
    )
