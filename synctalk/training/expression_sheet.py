"""A sheet of extreme expressions: each driven coefficient at 0, at the person's own reach, and at 1."""

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from synctalk.avatar import Avatar
from synctalk.evaluation.reconstruction import bounding
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES, BLINK, CORE_SEVEN, SMILE

TILE = 192
GREY = 0.5


def expression_sheet(avatar: Avatar, path: Path, frame: int) -> None:
    """Writes a JPEG of one row per coefficient (core seven, both smiles, both blinks together): 0, reach
    (98th percentile), 1. Few people wink, so that the blinks together tell more than each.

    Args:
        avatar: who is shown, mouth shut, everything else at rest.
        path: the picture.
        frame: source frame whose pose is taken.
    """
    rest, reach = avatar.expression_limits()
    single = {BLENDSHAPE_NAMES[index]: (index,) for index in (*CORE_SEVEN, *SMILE)}
    rows: list[tuple[str, tuple[int, ...]]] = [*single.items(), ("eyeBlink", BLINK)]
    curves = rest.repeat(3 * len(rows), 1)
    for row, (_, columns) in enumerate(rows):
        for column in columns:
            curves[3 * row : 3 * row + 3, column] = torch.tensor([0.0, float(reach[column]), 1.0])
    count = len(curves)
    renderer = avatar.renderer()
    conditions = renderer.conditions(torch.zeros(count, 512), curves, torch.ones(count, dtype=torch.bool))
    box = _square(avatar.mattes(frame)[1] >= 128)
    viewmat = avatar.viewmats[frame]
    tiles = []
    for index in range(count):
        image, alpha = renderer.render(conditions, index, viewmat)
        over = image.numpy() + GREY * (1 - alpha.numpy()[..., None])
        name, columns = rows[index // 3]
        tiles.append(_labelled(over[box], name, float(curves[index, columns[0]])))
    pairs = [np.concatenate(tiles[start : start + 3], axis=1) for start in range(0, count, 3)]
    half = -(-len(pairs) // 2)
    pairs += [np.zeros_like(pairs[0])] * (2 * half - len(pairs))
    sheet = np.concatenate([np.concatenate(pairs[:half]), np.concatenate(pairs[half:])], axis=1)
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])


def _square(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """A square around a mask's bounding box, as far as the picture reaches."""
    rows, columns = bounding(mask)
    side = max(rows.stop - rows.start, columns.stop - columns.start)
    top = (rows.start + rows.stop - side) // 2
    left = (columns.start + columns.stop - side) // 2
    return slice(max(0, top), top + side), slice(max(0, left), left + side)


def _labelled(picture: NDArray[np.float32], name: str, value: float) -> NDArray[np.uint8]:
    tile = cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA)
    shown = np.rint(np.clip(tile, 0, 1) * 255).astype(np.uint8)
    text, black, font = f"{name} {value:.2f}", (20, 20, 20), cv2.FONT_HERSHEY_SIMPLEX
    return np.asarray(cv2.putText(shown, text, (4, TILE - 6), font, 0.4, black, 1, cv2.LINE_AA), np.uint8)
