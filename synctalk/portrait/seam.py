"""Where the rendered jaw does not fit the source's, and what is shown there (Section III-F).

A source that speaks with an open mouth leaves its chin below a closed rendered one: there the picture is
made up anew. Where the rendered chin covers the neck, the neck is the true one and stays. Where jaws agree
nothing is touched, and between the two the change comes in gradually, so that it does not flicker.
"""

from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Map = NDArray[np.float32]
Box = tuple[int, int, int, int]

JAW_BEGINS, JAW_WHOLE = 0.62, 0.78  # of the face matte's height, from its top: cheeks stay as they are
GRAIN, GRAIN_PX = 8 / 255, 7  # largest value and window of the source's grain
FAINT = 8  # of 255: a hole weaker than this is not worth computing
GRID = 16  # corners of what the restorer gets are multiples of this, px


class Restorer(Protocol):
    """What fills the gap between a rendered chin and the source's neck (III-F)."""

    def fill(self, face: Map, alpha: Map, background: Map, widened: Map) -> Map:
        """The rendered `face` [h,w,3] (premultiplied by `alpha` [h,w]) over `background` [h,w,3], which is
        made up anew where `widened` [h,w] is set; all float32 in [0,1]."""
        ...


def seam_hole(face: Mask, hair: Mask, region: Mask, cover: Map, widen_px: int, slack_px: int) -> Mask | None:
    """How much of each pixel is to be made up: where the source's chin would show.

    Args:
        face, hair, region: masks [h,w], 0 or 255: the source's face matte and hair, and where pixels may
            change.
        cover: float32 [h,w] in [0,1], the rendered face.
        widen_px: reach of the hole around the places where the jaws differ.
        slack_px: an error to be expected of mattes; one and a half times as much is not yet a difference,
            three times as much is a whole one.

    Returns:
        uint8 [h,w], 0 (leave) to 255; None where nothing is to be done.
    """
    rows = np.flatnonzero(face.any(1))
    if not len(rows):
        return None
    height, width = face.shape
    begin = int(rows[0] + JAW_BEGINS * (rows[-1] - rows[0]))
    whole = int(rows[0] + JAW_WHOLE * (rows[-1] - rows[0]))
    half = ((width + 1) // 2, (height - begin + 1) // 2)  # masks this soft need no more than half the pixels
    if min(half) < 2:
        return None

    # The mean over a window differs in proportion to the distance between two edges that run through it.
    window = 2 * round(slack_px * 2 / 3) + 1
    step = 1.5 * 255 * slack_px / (2 * window)  # what begins to count, in a window's mean
    source = cv2.blur(halved(face[begin:], half), (window, window))
    covered = np.asarray(cv2.convertScaleAbs(cover[begin:], alpha=255), np.uint8)
    rendered = cv2.blur(halved(covered, half), (window, window))
    shows = np.maximum(cv2.subtract(source, rendered).astype(np.float32) - np.float32(step), 0)
    slope = np.clip((2 * np.arange(half[1]) + 1) / max(whole - begin, 1), 0, 1) * (255 / step)
    strength = np.minimum(shows * slope[:, None], 255).astype(np.uint8)
    if strength.max() <= FAINT:
        return None

    allowed = region[begin:] & ~hair[begin:]
    strength = np.minimum(widened(strength, widen_px // 2), halved(allowed, half))
    strength = cv2.resize(cv2.blur(strength, (window, window)), (width, height - begin))
    hole = np.zeros_like(face)
    hole[begin:] = cv2.bitwise_and(strength, allowed)
    return hole


def heal(
    restorer: Restorer,
    background: Callable[[Box], Map],
    color: Callable[[Box], Map],
    cover: Map,
    hole: Mask,
    allowed: Mask,
    place: Box,
    size: tuple[int, int],
    margin_px: int,
) -> tuple[Box, Map, Map] | None:
    """The restorer's picture around a hole, and how much of it to show.

    What is made up must hold still from frame to frame: the crop lies on a grid fixed to the picture, and
    the restorer heals all that may change there (a steady shape) whatever part of it is shown.

    Args:
        restorer: fills.
        background, color: make the source, float32 [h,w,3] in [0,1], and the rendered face (premultiplied
            by its cover) of a box of the picture (x0, y0, x1, y1).
        cover: float32 [h,w] in [0,1], the rendered face.
        hole: from `seam_hole`.
        allowed: uint8 [h,w], 0 or 255: where pixels may change.
        place: the box of the picture which these maps fill; outside it nothing is rendered or may change.
        size: width, height of the picture.
        margin_px: how much of the surroundings the restorer gets to see.

    Returns:
        the box of the picture (x0, y0, x1, y1), the picture float32 [h',w',3] there, and its weight float32
        [h',w'] in [0,1]; None if the hole is empty.
    """
    x, y, width, height = cv2.boundingRect(cv2.threshold(hole, FAINT, 255, cv2.THRESH_BINARY)[1])
    if not width:
        return None
    x0, x1 = _on_grid(place[0] + x - margin_px, place[0] + x + width + margin_px, size[0])
    y0, y1 = _on_grid(place[1] + y - margin_px, place[1] + y + height + margin_px, size[1])
    box = (x0, y0, x1, y1)
    cover, hole, allowed = (cut(part, place, box) for part in (cover, hole, allowed))
    behind = background(box)
    soft = np.maximum(hole.astype(np.float32) - FAINT, 0) * np.float32(1 / (255 - FAINT))
    # Edges of the source are no grain.
    grain = behind - cv2.blur(behind, (GRAIN_PX, GRAIN_PX))
    grain = np.where(np.abs(grain) < GRAIN, grain, 0)
    made = restorer.fill(color(box), cover, behind, (allowed > 0).astype(np.float32))
    return box, made + grain, soft


def _on_grid(low: int, high: int, limit: int) -> tuple[int, int]:
    """The range of whole grid steps inside 0..limit that holds low..high; at the limit the last may be
    shorter."""
    return max(low // GRID * GRID, 0), min(-(-high // GRID) * GRID, limit)


def cut(part: NDArray[Any], place: Box, box: Box) -> NDArray[Any]:
    """What a map that fills `place` holds inside `box`, 0 where it holds nothing."""
    x0, y0 = max(place[0], box[0]), max(place[1], box[1])
    x1, y1 = min(place[2], box[2]), min(place[3], box[3])
    inside = np.zeros((box[3] - box[1], box[2] - box[0], *part.shape[2:]), part.dtype)
    inner = part[y0 - place[1] : y1 - place[1], x0 - place[0] : x1 - place[0]]
    inside[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]] = inner
    return inside


def halved(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask at `size` (width, height), about half its own, averaged."""
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.uint8)


def widened(mask: NDArray[Any], pixels: int) -> Mask:
    """A mask [h,w], soft or hard, grown by `pixels` along the axes, to an octagon."""
    square = cv2.dilate(mask, np.ones((2 * (pixels // 2) + 1,) * 2, np.uint8))
    length = 2 * (pixels - pixels // 2) + 1
    across = cv2.dilate(square, np.ones((1, length), np.uint8))
    down = cv2.dilate(square, np.ones((length, 1), np.uint8))
    return np.asarray(cv2.max(across, down), np.uint8)
