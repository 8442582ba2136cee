"""The most informative seconds of the footage (few of them can match minutes: arXiv 2511.07940)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2


@dataclass(frozen=True)
class Selection:
    """How seconds are chosen for the fast profile."""

    seconds: float = 125
    """Footage to keep; more costs preprocessing time one for one. After 12,000 steps on a minute of Ben his
    lids shut in 60 % of the held-out frames where they should, on two minutes in all."""
    stretch_s: float = 12.5
    """Length of one unbroken stretch: long enough for natural head motion when it is played back."""
    step_s: float = 2.5
    """Where stretches may begin."""
    sounds: int = 64
    """Clusters of audio features; about as many as there are clearly different mouth sounds."""
    bins: int = 6
    """Bins of lip opening and of each head angle, between their 1st and 99th percentile."""


def select_stretches(
    audio: NDArray[np.floating],  # [T,D]
    lip_gap: NDArray[np.floating],  # [T]
    head_angles: NDArray[np.floating],  # [T,2] yaw and pitch, any scale
    choice: Selection,
    fps: float = 25.0,
) -> list[tuple[int, int]]:
    """Stretches [start, stop) in frames, in time order, that cover the most.

    Greedy: each next stretch is the one that adds most to the sum over all bins of the square root of
    the number of chosen frames in it, so the first frame of a rare sound counts more than the hundredth
    of a common one. Audio, lips and head angles count the same. Everything is kept if there is not more
    than asked for.
    """
    frames = len(audio)
    length = round(choice.stretch_s * fps)
    wanted = max(1, round(choice.seconds / choice.stretch_s))
    if frames <= wanted * length:
        return [(0, frames)]
    histograms = _histograms(audio, lip_gap, head_angles, choice)
    starts = np.arange(0, frames - length + 1, max(1, round(choice.step_s * fps)))
    sums = np.concatenate([np.zeros((1, histograms.shape[1])), np.cumsum(histograms, axis=0)])
    counts = sums[starts + length] - sums[starts]
    have = np.zeros(histograms.shape[1])
    free = np.ones(len(starts), bool)
    chosen: list[int] = []
    while len(chosen) < wanted and free.any():
        gain = np.where(free, np.sqrt(have + counts).sum(axis=1), -np.inf)
        best = int(gain.argmax())
        chosen.append(int(starts[best]))
        have += counts[best]
        free &= np.abs(starts - starts[best]) >= length
    return _joined(sorted((start, start + length) for start in chosen))


def frame_weights(
    audio: NDArray[np.floating],  # [T,D]
    lip_gap: NDArray[np.floating],  # [T]
    head_angles: NDArray[np.floating],  # [T,2]
    choice: Selection,
) -> NDArray[np.float32]:
    """How often to train on each frame, [T] with mean 1: rare sounds, openings and angles more often.

    The weight of a bin falls with the square root of its size, and stays within a factor of three.
    """
    histograms = _histograms(audio, lip_gap, head_angles, choice)
    rare = 1 / np.sqrt(np.maximum(histograms.sum(axis=0), 1e-9))
    weights = (histograms > 0) @ rare
    weights = np.clip(weights / np.median(weights), 1 / 3, 3)
    return (weights / weights.mean()).astype(np.float32)


def _histograms(
    audio: NDArray[np.floating],
    lip_gap: NDArray[np.floating],
    head_angles: NDArray[np.floating],
    choice: Selection,
) -> NDArray[np.float64]:
    """One-hot rows [T, sounds + bins + bins^2], each group scaled to weigh the same."""
    scaled = (audio - audio.mean(axis=0)) / (audio.std(axis=0) + 1e-6)
    sounds = min(choice.sounds, len(audio) // 4)
    _, sound = kmeans2(scaled.astype(np.float64), sounds, iter=10, minit="++", seed=0)
    gap = _bin(lip_gap, choice.bins)
    angle = _bin(head_angles[:, 0], choice.bins) * choice.bins + _bin(head_angles[:, 1], choice.bins)
    groups = [(sound, sounds), (gap, choice.bins), (angle, choice.bins**2)]
    return np.concatenate([np.eye(size)[index] / size for index, size in groups], axis=1)


def _bin(values: NDArray[np.floating], bins: int) -> NDArray[np.int64]:
    low, high = np.percentile(values, [1, 99])
    return np.clip((values - low) / max(high - low, 1e-9) * bins, 0, bins - 1).astype(np.int64)


def _joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches that touch become one."""
    joined = [stretches[0]]
    for start, stop in stretches[1:]:
        if start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined
