"""How good generated expressions are: against held-out truth and two baselines, and the codebook's range."""

import numpy as np
import torch
from numpy.typing import NDArray

from synctalk.expression.blinks import blink_statistics
from synctalk.expression.codebook import Codebook
from synctalk.expression.generator import STYLES, ExpressionGenerator
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES, CORE_SEVEN, SMILE, blendshape_indices
from synctalk.training.expression import Filmed

Curves = NDArray[np.float32]
LIDS = blendshape_indices("eyeBlinkLeft", "eyeBlinkRight")
JUDGED = (*(column for column in CORE_SEVEN if column not in LIDS), *SMILE)


def _correlation(a: Curves, b: Curves) -> float:
    """Pearson's, 0 where either does not move."""
    if a.std() < 1e-6 or b.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def generate_as_filmed(generator: ExpressionGenerator, clip: Filmed) -> Curves:
    """Coefficients [T,52] with each frame's own style given."""
    with torch.inference_mode():
        features = torch.from_numpy(clip.features[None])
        runs = np.stack([generator(features, generator.style_code(style))[0].numpy() for style in STYLES])
    return runs[clip.styles, np.arange(len(clip.styles))]


def compare(generator: ExpressionGenerator, clip: Filmed, held_out: int) -> dict[str, dict[str, float]]:
    """L1 and correlation on the frames from `held_out` on, for the generator and the two baselines.

    Returns:
        method -> {'l1': mean over brows and smile, 'l1_<name>': ..., 'r_<name>': ...}; methods are
        'generator', 'mean face' (the training mean) and 'repeat' (the training curves from their start).
    """
    truth = clip.curves[held_out:]
    before = clip.curves[:held_out]
    methods = {
        "generator": generate_as_filmed(generator, clip)[held_out:],
        "mean face": np.repeat(before.mean(0, keepdims=True), len(truth), axis=0),
        "repeat": np.resize(before, truth.shape),
    }
    table: dict[str, dict[str, float]] = {}
    for method, curves in methods.items():
        errors = np.abs(curves - truth).mean(0)
        row = {"l1": float(errors[list(JUDGED)].mean())}
        for column in JUDGED:
            row[f"l1_{BLENDSHAPE_NAMES[column]}"] = float(errors[column])
            row[f"r_{BLENDSHAPE_NAMES[column]}"] = _correlation(curves[:, column], truth[:, column])
        table[method] = row
    return table


def judge_codebook(codebook: Codebook, own: Curves, scale: float = 2.0) -> dict[str, float]:
    """Whether a subject's coefficients come through and magnified ones come back into the range.

    Args:
        codebook: the subject's.
        own: held-out coefficients of the subject, float32 [T,52].
        scale: magnification of the foreign ones.

    Returns:
        r_min and r_mean: correlation over brows, lids and smile; variance_min and variance_max: output
        over input; clipped: share of frames of the magnified input with a coefficient at the range's end;
        outside: share outside the range.
    """
    judged = [*CORE_SEVEN, *SMILE]
    through = codebook.fit(own)
    r = [_correlation(through[:, column], own[:, column]) for column in judged]
    variance = [float(through[:, c].var() / max(own[:, c].var(), 1e-9)) for c in judged]
    magnified = codebook.fit(own * scale)[:, judged]
    low, high = codebook.low.numpy()[judged], codebook.high.numpy()[judged]
    span = high - low
    return {
        "r_min": min(r),
        "r_mean": float(np.mean(r)),
        "variance_min": min(variance),
        "variance_max": max(variance),
        "clipped": float(((magnified > high - 0.005 * span) | (magnified < low)).any(1).mean()),
        "outside": float(((magnified > high + 1e-4) | (magnified < low - 1e-4)).any(1).mean()),
    }


def compare_blinks(made: Curves, truth: Curves) -> dict[str, dict[str, float]]:
    """Rate, duration, depth and spread of pauses of two lid curves [T]."""
    return {"made": blink_statistics(made), "truth": blink_statistics(truth)}
