"""Where the rendered jaw does not fit the source's, and what is shown there (Section III-F).

A source that speaks with an open mouth leaves its chin below a closed rendered one; under an open rendered
mouth the source's neck has no shadow. Both show as a jaw line in the wrong place: around it the picture is
made up anew. Where jaws agree nothing is touched, and between the two the change comes in gradually, so that
it does not flicker.
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
COVERING = 0.6  # strength where the rendered chin covers the neck: there only its shadow is missing
GRAIN, GRAIN_PX = 4 / 255, 5  # largest value and window of the source's grain, given back to what is made up
FAINT = 8  # of 255: a hole weaker than this is not worth computing
GRID = 16  # sides of what the restorer gets are multiples of this, px


class Restorer(Protocol):
    """What fills the gap between a rendered chin and the source's neck (III-F)."""

    def fill(self, face: Map, alpha: Map, background: Map, widened: Map) -> Map:
        """The rendered `face` [h,w,3] (premultiplied by `alpha` [h,w]) over `background` [h,w,3], which is
        made up anew where `widened` [h,w] is set; all float32 in [0,1]."""
        ...


def seam_hole(face: Mask, hair: Mask, region: Mask, cover: Map, widen_px: int, slack_px: int) -> Mask | None:
    """How much of each pixel is to be made up anew.

    Args:
        face, hair, region: masks [h,w], 0 or 255: the source's face matte and hair, and where pixels may
            change.
        cover: float32 [h,w] in [0,1], the rendered face.
        widen_px: reach of the hole around the places where the jaws differ.
        slack_px: an error to be expected of mattes; one and a half times as much is not yet a difference,
            three times as much is a whole one.

    Returns:
        uint8 [h,w], 0 (leave) to 255 (make up); None where nothing is to be done.
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
    differs = np.maximum(cv2.absdiff(source, rendered).astype(np.float32) - np.float32(step), 0)
    slope = np.clip((2 * np.arange(half[1]) + 1) / max(whole - begin, 1), 0, 1) * (255 / step)
    strength = np.minimum(differs * slope[:, None], 255)
    strength = (strength * np.where(rendered > source, np.float32(COVERING), np.float32(1))).astype(np.uint8)
    if strength.max() <= FAINT:
        return None

    allowed = region[begin:] & ~hair[begin:]
    hole = np.minimum(widened(strength, widen_px // 2), halved(allowed, half))
    hole = np.asarray(cv2.resize(cv2.blur(hole, (window, window)), (width, height - begin)), np.uint8)
    full = np.zeros_like(face)
    full[begin:] = hole & allowed
    return full


def heal(
    restorer: Restorer,
    background: Map | Callable[[Box], Map],
    color: Map,
    cover: Map,
    hole: Mask,
    margin_px: int,
) -> tuple[Box, Map, Map] | None:
    """The restorer's picture around a hole, and how much of it to show.

    Args:
        restorer: fills.
        background: the source, float32 [h,w,3] in [0,1], or what makes that of a box (x0, y0, x1, y1).
        color, cover: the rendered face, float32 [h,w,3] (premultiplied) and [h,w].
        hole: from `seam_hole`.
        margin_px: how much of the surroundings the restorer gets to see.

    Returns:
        the box (x0, y0, x1, y1), the picture float32 [h',w',3] there, and its weight float32 [h',w'] in
        [0,1]; None if the hole is empty.
    """
    x, y, width, height = cv2.boundingRect(cv2.threshold(hole, FAINT, 255, cv2.THRESH_BINARY)[1])
    if not width:
        return None
    x0, x1 = _on_grid(x - margin_px, x + width + margin_px, hole.shape[1])
    y0, y1 = _on_grid(y - margin_px, y + height + margin_px, hole.shape[0])
    box, here = (x0, y0, x1, y1), np.s_[y0:y1, x0:x1]
    behind = background(box) if callable(background) else background[here]
    soft = np.maximum(hole[here].astype(np.float32) - FAINT, 0) * np.float32(1 / (255 - FAINT))
    picture = restorer.fill(color[here], cover[here], behind, (soft > 0).astype(np.float32))
    # What is made up is smoother than skin on film; an edge of the source is not let through as grain.
    grain = np.clip(behind - cv2.blur(behind, (GRAIN_PX, GRAIN_PX)), -GRAIN, GRAIN)
    picture = picture + grain * ((1 - cover[here]) * (soft > 0))[..., None]
    return box, picture, soft


def _on_grid(low: int, high: int, limit: int) -> tuple[int, int]:
    """A range inside 0..limit that holds low..high as far as it can, its length a multiple of GRID if it
    can."""
    low, high = max(low, 0), min(high, limit)
    high = min(high + (low - high) % GRID, limit)
    return max(high - (high - low + GRID - 1) // GRID * GRID, 0), high


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
