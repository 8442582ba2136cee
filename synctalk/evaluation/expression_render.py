"""What foreign coefficients do to a render, with and without the codebook (the ablation of Section III-E)."""

from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from synctalk.avatar import Avatar
from synctalk.errors import AvatarError
from synctalk.evaluation.natural import brisque, niqe
from synctalk.evaluation.reconstruction import bounding
from synctalk.expression.codebook import Codebook
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES, CORE_SEVEN, SMILE
from synctalk.portrait.renderer import PortraitRenderer

GREY = 0.5
LEAST_SIDE = 192  # what NIQE needs
MARGIN = 0.02  # 2 mm in units of 10 cm: further than this beyond anything seen counts as astray
TILE = 224
_PLOTTED = (
    ("browInnerUp", (200, 30, 30)),
    ("browDownLeft", (30, 30, 200)),
    ("mouthSmileLeft", (20, 140, 20)),
    ("eyeBlinkLeft", (150, 150, 150)),
)


def judge_render(
    avatar: Avatar, sheet: Path, scale: float = 2.0, frames: int = 40
) -> dict[str, dict[str, float]]:
    """Renders an avatar's liveliest moments as they were, magnified, and magnified through its codebook.

    Args:
        avatar: with a codebook.
        sheet: a PNG of six moments (columns) under 'own', 'without', 'with' (rows).
        scale: magnification.
        frames: how many moments, spread over the fifth of the footage with the most movement in brows, lids
            and smile.

    Returns:
        'own', 'without', 'with' (codebook) -> niqe and brisque of the head over grey; outside, the share of
        moments with a driven coefficient beyond the range of the footage; astray, the share of Gaussians that
        leave the box they keep to in the footage by more than 2 mm; astray_mm, how far those go on average;
        psnr against 'own'.

    Raises:
        AvatarError: the avatar has no codebook.
    """
    codebook = codebook_of(avatar)
    own = avatar.blendshapes.numpy()
    driven = [*CORE_SEVEN, *SMILE]
    lively = own[:, driven].sum(1)
    moments = np.flatnonzero(lively >= np.quantile(lively, 0.8))
    moments = moments[np.linspace(0, len(moments) - 1, frames).astype(int)]
    versions = {"own": own, "without": own * scale, "with": codebook.fit(own * scale)}
    low, high = own[:, driven].min(0), own[:, driven].max(0)

    renderer = avatar.renderer()
    seen = _conditions(renderer, own[:: max(1, len(own) // 400)])
    view = avatar.viewmats[0]
    positions = np.stack([renderer.deform(row, view)[0].numpy().copy() for row in seen])
    least, most = positions.min(0), positions.max(0)

    box = _box(avatar, int(moments[0]))
    table: dict[str, dict[str, float]] = {}
    shown: dict[str, list[NDArray[np.uint8]]] = {}
    for name, curves in versions.items():
        conditions = _conditions(renderer, curves[moments])
        pictures, away, distance = [], [], []
        for place, moment in enumerate(moments):
            view = avatar.viewmats[int(moment)]
            means = renderer.deform(conditions[place], view)[0].numpy()
            beyond = np.linalg.norm(np.maximum(np.maximum(least - means, means - most), 0), axis=1)
            away.append(float((beyond > MARGIN).mean()))
            distance.append(float(100 * beyond[beyond > MARGIN].mean()) if away[-1] else 0.0)
            pictures.append(_shown(renderer, conditions, place, view, box))
        values = curves[moments][:, driven]
        shown[name] = pictures
        table[name] = {
            "niqe": float(np.mean([niqe(picture) for picture in pictures])),
            "brisque": float(np.mean([brisque(picture) for picture in pictures])),
            "outside": float(((values > high + 1e-3) | (values < low - 1e-3)).any(1).mean()),
            "astray": float(np.mean(away)),
            "astray_mm": float(np.mean(distance)),
        }
        if name != "own":
            table[name]["psnr"] = float(
                np.mean([cv2.PSNR(a, b) for a, b in zip(pictures, shown["own"], strict=True)])
            )
    _write_sheet(shown, sheet)
    return table


def codebook_of(avatar: Avatar) -> Codebook:
    """The avatar's codebook.

    Raises:
        AvatarError: it has none.
    """
    if avatar.expression is None:
        raise AvatarError(f"{avatar.name} has no codebook (expression.safetensors): train it again.")
    return cast(Codebook, avatar.expression)


def sentence_sheet(
    avatar: Avatar, curves: NDArray[np.float32], lips: torch.Tensor, path: Path, columns: int = 8
) -> None:
    """Writes a PNG: the avatar at moments of a sentence, and below them the course of brows, lids and smile.

    Args:
        avatar: who says it.
        curves: coefficients float32 [T,52].
        lips: features of the voice, float32 [T,512].
        path: the picture.
        columns: how many moments.
    """
    renderer = avatar.renderer()
    conditions = renderer.conditions(lips, torch.from_numpy(np.ascontiguousarray(curves)))
    count = len(conditions)
    box = _box(avatar, 0)
    tiles = []
    for moment in np.linspace(0.04 * count, 0.96 * count - 1, columns).astype(int):
        view = avatar.viewmats[int(moment) % avatar.frames]
        picture = _shown(renderer, conditions, int(moment), view, box)
        height = round(TILE * picture.shape[0] / picture.shape[1])
        tile = np.asarray(cv2.resize(picture, (TILE, height), interpolation=cv2.INTER_AREA), np.uint8)
        tiles.append(_written(tile, f"{moment / 25:.1f} s"))
    faces = np.concatenate(tiles, axis=1)
    plot = np.full((120, faces.shape[1], 3), 255, np.uint8)
    for place, (name, color) in enumerate(_PLOTTED):
        values = curves[:, BLENDSHAPE_NAMES.index(name)]
        x = np.linspace(0, plot.shape[1] - 1, count)
        points = np.stack([x, 112 - 100 * values.clip(0, 1)], 1).round().astype(np.int32)
        cv2.polylines(plot, [points], False, color, 1, cv2.LINE_AA)
        cv2.putText(plot, name, (8 + 150 * place, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1, cv2.LINE_AA)
    _write(np.concatenate([faces, plot]), path)


def _shown(
    renderer: PortraitRenderer,
    conditions: torch.Tensor,
    place: int,
    view: torch.Tensor,
    box: tuple[slice, slice],
) -> NDArray[np.uint8]:
    """The render over grey, cut out."""
    image, alpha = renderer.render(conditions, place, view)
    over = image.numpy() + GREY * (1 - alpha.numpy()[..., None])
    return np.rint(np.clip(over[box], 0, 1) * 255).astype(np.uint8)


def _conditions(renderer: PortraitRenderer, curves: NDArray[np.float32]) -> torch.Tensor:
    count = len(curves)
    return renderer.conditions(
        torch.zeros(count, 512),
        torch.from_numpy(np.ascontiguousarray(curves)),
        torch.ones(count, dtype=torch.bool),
    )


def _box(avatar: Avatar, frame: int) -> tuple[slice, slice]:
    """The head's bounding box, a little wider, and large enough to judge."""
    rows, columns = bounding(avatar.mattes(frame)[1] >= 128)
    width, height = avatar.size
    boxes = []
    for part, limit in ((rows, height), (columns, width)):
        side = min(limit, max(LEAST_SIDE, part.stop - part.start + 16))
        start = min(max(0, (part.start + part.stop - side) // 2), limit - side)
        boxes.append(slice(start, start + side))
    return boxes[0], boxes[1]


def _write_sheet(shown: dict[str, list[NDArray[np.uint8]]], path: Path) -> None:
    rows = []
    for name, pictures in shown.items():
        chosen = [pictures[i] for i in np.linspace(0, len(pictures) - 1, 6).astype(int)]
        height = round(TILE * chosen[0].shape[0] / chosen[0].shape[1])
        tiles = [
            np.asarray(cv2.resize(picture, (TILE, height), interpolation=cv2.INTER_AREA), np.uint8)
            for picture in chosen
        ]
        tiles[0] = _written(tiles[0], name)
        rows.append(np.concatenate(tiles, axis=1))
    _write(np.concatenate(rows), path)


def _written(tile: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    font, black = cv2.FONT_HERSHEY_SIMPLEX, (20, 20, 20)
    return np.asarray(cv2.putText(tile.copy(), text, (6, 18), font, 0.5, black, 1, cv2.LINE_AA), np.uint8)


def _write(picture: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
