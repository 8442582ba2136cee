"""How good expressions are: against held-out truth and baselines; the codebook's range; blinks."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import find_peaks
from scipy.stats import ks_2samp

from synctalk.expression.blinks import find_blinks
from synctalk.expression.codebook import Codebook
from synctalk.expression.generator import ExpressionGenerator
from synctalk.face_sync.blendshapes import BLENDSHAPE_NAMES, BLINK, CORE_SEVEN, SMILE, blendshape_indices
from synctalk.training.expression import Filmed

Curves = NDArray[np.float32]
JUDGED = (*(column for column in CORE_SEVEN if column not in BLINK), *SMILE)
UPPER_FACE = (
    *(column for column in CORE_SEVEN if column not in BLINK),
    *blendshape_indices(
        "eyeWideLeft",
        "eyeWideRight",
        "eyeSquintLeft",
        "eyeSquintRight",
        "cheekSquintLeft",
        "cheekSquintRight",
    ),
)


def correlation(a: Curves, b: Curves) -> float:
    """Pearson's, 0 where either does not move."""
    if a.std() < 1e-6 or b.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def generate_as_filmed(generator: ExpressionGenerator, clip: Filmed) -> Curves:
    """Coefficients [T,52] with each frame's own style given."""
    return _in_pieces(generator, clip, given=True)


def generate_as_heard(generator: ExpressionGenerator, clip: Filmed) -> Curves:
    """Coefficients [T,52] with the manner taken from the voice."""
    return _in_pieces(generator, clip, given=False)


@torch.inference_mode()
def _in_pieces(generator: ExpressionGenerator, clip: Filmed, given: bool) -> Curves:
    """Ten seconds at a time, each with the past that can influence it: attention grows with the square."""
    pieces = []
    for start in range(0, len(clip.features), 250):
        rows = slice(max(0, start - generator.reach), start + 250)
        styles = torch.from_numpy(clip.styles[None, rows])
        code = generator.styles(styles) if given else None
        made = generator(torch.from_numpy(clip.features[None, rows]), code)[0]
        pieces.append(made[start - rows.start :].numpy())
    return np.concatenate(pieces)


def compare(
    generator: ExpressionGenerator, clip: Filmed, before: Curves, start: int = 0
) -> dict[str, dict[str, float]]:
    """Errors and correlations from frame `start` on, for the generator and the two baselines.

    Args:
        generator: the network.
        clip: voice and true curves, blinks taken out.
        before: training curves of the same person float32 [N,52], blinks taken out: what the baselines know.
        start: first frame that counts; the voice before it is heard.

    Returns:
        method -> 'l1' (mean over brows and smile), 'aue' (mean absolute error over the upper face, blinks
        apart: the action units' error with coefficients in the place of action units), 'r' (mean correlation
        over brows and smile), 'r_<name>' and 'l1_<name>'. Methods: 'generator' (style given), 'heard' (style
        taken from the voice), 'mean face', 'repeat' (the training curves from their start).
    """
    truth = clip.curves[start:]
    methods: dict[str, Curves] = {
        "generator": generate_as_filmed(generator, clip)[start:],
        "heard": generate_as_heard(generator, clip)[start:],
        "mean face": np.repeat(before.mean(0, keepdims=True), len(truth), axis=0),
        "repeat": np.resize(before, truth.shape),
    }
    return {method: _errors(curves, truth) for method, curves in methods.items()}


def _errors(curves: Curves, truth: Curves) -> dict[str, float]:
    errors = np.abs(curves - truth).mean(0)
    r = {column: correlation(curves[:, column], truth[:, column]) for column in JUDGED}
    row = {
        "l1": float(errors[list(JUDGED)].mean()),
        "aue": float(errors[list(UPPER_FACE)].mean()),
        "r": float(np.mean(list(r.values()))),
    }
    for column in JUDGED:
        row[f"r_{BLENDSHAPE_NAMES[column]}"] = r[column]
        row[f"l1_{BLENDSHAPE_NAMES[column]}"] = float(errors[column])
    return row


def judge_codebook(codebook: Codebook, own: Curves, scale: float = 2.0) -> dict[str, float]:
    """Whether a subject's coefficients come through and magnified ones come back into the range.

    Args:
        codebook: the subject's.
        own: held-out coefficients of the subject, float32 [T,52].
        scale: magnification of the foreign ones.

    Returns:
        r_min and r_mean: correlation over brows, lids and smile; r_others: mean correlation of the other
        coefficients that move; variance_min and variance_max: output over input; outside_before: share of
        frames of the magnified input that lie outside the range; clipped: share of frames of the output with
        a coefficient at the range's end; outside: share of those outside the range; perplexity: mean of the
        stages on `own`; r_<name> and variance_<name>.
    """
    judged = [*CORE_SEVEN, *SMILE]
    through = codebook.fit(own)
    r = {c: correlation(through[:, c], own[:, c]) for c in judged}
    variance = {c: float(through[:, c].var() / max(own[:, c].var(), 1e-9)) for c in judged}
    others = [c for c in range(own.shape[1]) if c not in judged and own[:, c].std() > 0.005]
    low, high = codebook.low.numpy()[judged], codebook.high.numpy()[judged]
    span = high - low
    raw = (own * scale)[:, judged]
    magnified = codebook.fit(own * scale)[:, judged]
    with torch.inference_mode():
        indices = codebook(torch.from_numpy(own[None]))[1].indices
    row = {
        "r_min": min(r.values()),
        "r_mean": float(np.mean(list(r.values()))),
        "r_others": float(np.mean([correlation(through[:, c], own[:, c]) for c in others]))
        if others
        else 1.0,
        "variance_min": min(variance.values()),
        "variance_max": max(variance.values()),
        "outside_before": float(((raw > high) | (raw < low)).any(1).mean()),
        "clipped": float(((magnified > high - 0.005 * span) | (magnified < low)).any(1).mean()),
        "outside": float(((magnified > high + 1e-4) | (magnified < low - 1e-4)).any(1).mean()),
        "perplexity": float(np.mean(codebook.quantizer.perplexity(indices))),
    }
    for column in judged:
        row[f"r_{BLENDSHAPE_NAMES[column]}"] = r[column]
        row[f"variance_{BLENDSHAPE_NAMES[column]}"] = variance[column]
    return row


def compare_raises(made: Curves, truth: Curves) -> dict[str, dict[str, float]]:
    """Raises of two curves of a raised brow [T] as distributions, as `compare_blinks` does.

    Returns:
        'made' and 'truth' -> per_minute, and percentiles of height, width_s (at half height) and pause_s;
        'distance' as there.
    """
    rates: dict[str, float] = {}
    samples: dict[str, Mapping[str, Curves]] = {}
    for name, brow in (("made", made), ("truth", truth)):
        peaks, found = find_peaks(brow, prominence=0.08, width=1)
        rates[name] = len(peaks) / max(len(brow) / 1500, 1e-9)
        samples[name] = {
            "height": found["prominences"],
            "width_s": found["widths"] / 25,
            "pause_s": np.diff(peaks) / 25,
        }
    return _distributions(rates, samples)


def compare_blinks(made: Curves, truth: Curves) -> dict[str, dict[str, float]]:
    """Blinks of two lid curves [T] as distributions.

    Returns:
        'made' and 'truth' -> per_minute, and the 10th, 50th and 90th percentile of duration_s, depth and
        pause_s; 'distance' -> the largest difference of the two distribution functions of each
        (Kolmogorov-Smirnov), and `<name>_p`, the chance of so large a difference between two samples of the
        same distribution.
    """
    rates: dict[str, float] = {}
    samples: dict[str, Mapping[str, Curves]] = {}
    for name, lids in (("made", made), ("truth", truth)):
        blinks = find_blinks(lids)
        rates[name] = blinks.per_minute
        samples[name] = {"duration_s": blinks.durations_s, "depth": blinks.depths, "pause_s": blinks.pauses_s}
    return _distributions(rates, samples)


def _distributions(
    rates: Mapping[str, float], samples: Mapping[str, Mapping[str, Curves]]
) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for name, measures in samples.items():
        row = {"per_minute": rates[name]}
        for measure, values in measures.items():
            for percent in (10, 50, 90):
                row[f"{measure}_{percent}"] = float(np.percentile(values, percent)) if len(values) else np.nan
        table[name] = row
    distance: dict[str, float] = {}
    for measure in samples["made"]:
        if min(len(samples[name][measure]) for name in samples) > 1:
            test = ks_2samp(samples["made"][measure], samples["truth"][measure])
            distance[measure], distance[f"{measure}_p"] = float(test.statistic), float(test.pvalue)
    table["distance"] = distance
    return table
