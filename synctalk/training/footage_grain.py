"""How much noise the footage has that the portrait lacks."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.evaluation.reconstruction import Drive, Rendered, render_frames, static_skin
from synctalk.training.dataset import Dataset

_PAIRS = 60  # of neighbouring frames that are looked at
_WINDOW = 7  # px: shading that moves is slower than this, noise is not
_TRIMMED = 0.95  # strands of hair and edges are the rest
_LEAST_PIXELS = 500
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def footage_grain(renderer: Any, dataset: Dataset) -> float:
    """Standard deviation, in grey levels of 255, of the noise that frames have and renders of them do not.

    Measured between neighbouring frames on skin that no expression moves, in the stiller half of pairs from
    all over the training frames: where the head moves, texture moves too.
    """
    train = dataset.train
    first = train[:-1][np.diff(train) == 1]
    if not len(first):
        return 0.0
    first = first[np.unique(np.linspace(0, len(first) - 1, _PAIRS).astype(int))]
    rows = np.stack([first, first + 1], 1).reshape(-1)
    motion = np.linalg.norm(dataset.landmarks68[first + 1] - dataset.landmarks68[first], axis=2).mean(1)
    surplus = []
    shots = render_frames(renderer, None, dataset, rows, Drive.of(dataset), portrait_sync=False)
    for before in shots:
        now = next(shots)
        skin = _skin(dataset, before) & _skin(dataset, now)
        if skin.sum() < _LEAST_PIXELS:
            surplus.append(np.nan)
            continue
        true, rendered = _noise(before.truth, now.truth, skin), _noise(before.head, now.head, skin)
        surplus.append((true**2 - rendered**2) / 2)
    still = np.array(surplus)[np.argsort(motion)][: max(1, len(surplus) // 2)]
    if not np.isfinite(still).any():
        return 0.0
    return float(np.sqrt(max(np.nanmedian(still), 0.0)))


def _skin(dataset: Dataset, shot: Rendered) -> NDArray[np.bool_]:
    return static_skin(dataset.mattes[shot.index][0], dataset.landmarks68[shot.index])


def _noise(before: NDArray[np.uint8], now: NDArray[np.uint8], skin: NDArray[np.bool_]) -> float:
    """Robust standard deviation of the fine change of brightness from one frame to the next."""
    change = (now.astype(np.float32) - before.astype(np.float32)) @ _LUMA
    fine = np.abs(change - cv2.blur(change, (_WINDOW, _WINDOW)))[skin]
    return float(1.2533 * fine[fine <= np.quantile(fine, _TRIMMED)].mean())
