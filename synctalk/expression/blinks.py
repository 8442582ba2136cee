"""Blinks as a renewal process: pauses of random length, lids that fall fast and rise slowly."""

from dataclasses import dataclass

import numpy as np

FPS = 25.0


@dataclass(frozen=True)
class BlinkHabit:
    """How someone blinks; the defaults are a person in conversation."""

    per_minute: float = 17.0
    shortest_pause_s: float = 0.45
    regularity: float = 2.2  # shape of the gamma distribution of pauses: 1 pure chance, large a clock
    closing_s: tuple[float, float] = (0.08, 0.11)
    shut_s: tuple[float, float] = (0.02, 0.05)
    opening_s: tuple[float, float] = (0.16, 0.19)
    depth: tuple[float, float] = (0.96, 1.03)  # 1 is as the lids usually shut
    double_share: float = 0.05  # blinks that come in pairs


def _smooth(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


class Blinks:
    """An endless run of blinks, deterministic with its seed.

    Args:
        habit: rate and shape; a rate of 0 never blinks.
        seed: of pauses and shapes.
    """

    def __init__(self, habit: BlinkHabit | None = None, seed: int = 0) -> None:
        self.habit = habit or BlinkHabit()
        self._random = np.random.default_rng(seed)
        self._frame = 0
        self._blinks: list[tuple[float, float, float, float, float]] = []
        self._next = self._pause() * float(self._random.uniform(0.2, 1.0))

    def _pause(self) -> float:
        habit = self.habit
        if habit.per_minute <= 0:
            return float("inf")
        mean = max(60 / habit.per_minute - habit.shortest_pause_s, 0.05)
        return habit.shortest_pause_s + float(self._random.gamma(habit.regularity, mean / habit.regularity))

    def _add(self, start: float) -> None:
        habit = self.habit
        uniform = self._random.uniform
        self._blinks.append(
            (
                start,
                uniform(*habit.closing_s),
                uniform(*habit.shut_s),
                uniform(*habit.opening_s),
                uniform(*habit.depth),
            )
        )

    def next(self, frames: int) -> np.ndarray:
        """Lids of the next frames, float32 [n]: 0 open, 1 as they usually shut."""
        times = (self._frame + np.arange(frames)) / FPS
        end = times[-1] + 1 / FPS if frames else 0.0
        while self._next < end:
            self._add(self._next)
            if self._random.random() < self.habit.double_share:
                self._add(self._next + float(self._random.uniform(0.38, 0.5)))
                self._next += 0.5
            self._next += self._pause()
        lids = np.zeros(frames)
        for start, closing, shut, opening, depth in self._blinks:
            falling = _smooth((times - start) / closing)
            rising = _smooth((times - start - closing - shut) / opening)
            lids = np.maximum(lids, depth * falling * (1 - rising))
        self._frame += frames
        self._blinks = [blink for blink in self._blinks if blink[0] + 1.0 > self._frame / FPS]
        return lids.astype(np.float32)


@dataclass(frozen=True)
class FoundBlinks:
    """The blinks of a lid curve.

    Args:
        durations_s: how long the lid stays above the level, float64 [B].
        depths: the highest value of each, [B].
        pauses_s: from the start of one to the start of the next, [B-1].
        per_minute: how many there are.
    """

    durations_s: np.ndarray
    depths: np.ndarray
    pauses_s: np.ndarray
    per_minute: float


def find_blinks(lids: np.ndarray, shut_above: float = 0.4) -> FoundBlinks:
    """Blinks are runs of frames with lids above a share of the curve's 99.5th percentile.

    Args:
        lids: float [T], 0 open to 1 shut, at 25 fps.
        shut_above: that share.
    """
    top = float(np.percentile(lids, 99.5)) if len(lids) else 0.0
    level = max(shut_above * top, 0.05)
    closed = np.concatenate([[False], lids > level, [False]])
    edges = np.flatnonzero(closed[1:] != closed[:-1]).reshape(-1, 2)
    depths = np.array([float(lids[a:b].max()) for a, b in edges])
    # Where the curve crosses the level, between frames: whole frames would make few lengths of many.
    starts, ends = edges[:, 0].astype(float), edges[:, 1].astype(float) - 1
    for i, (a, b) in enumerate(edges):
        if a > 0:
            starts[i] -= (lids[a] - level) / (lids[a] - lids[a - 1])
        if b < len(lids):
            ends[i] += (lids[b - 1] - level) / (lids[b - 1] - lids[b])
    return FoundBlinks(
        (ends - starts) / FPS,
        depths,
        np.diff(edges[:, 0]) / FPS,
        len(edges) / max(len(lids) / FPS / 60, 1e-9),
    )


def blink_statistics(lids: np.ndarray, shut_above: float = 0.4) -> dict[str, float]:
    """Rate, length, depth and the spread of pauses of the blinks in a lid curve; see `find_blinks`.

    Returns:
        per_minute, duration_s (mean), depth (mean), pause_s (mean), pause_spread (standard deviation over
        mean); NaN where there are too few blinks.
    """
    found = find_blinks(lids, shut_above)
    pauses = found.pauses_s
    several = len(pauses) > 1
    return {
        "per_minute": found.per_minute,
        "duration_s": float(found.durations_s.mean()) if len(found.durations_s) else float("nan"),
        "depth": float(found.depths.mean()) if len(found.depths) else float("nan"),
        "pause_s": float(pauses.mean()) if several else float("nan"),
        "pause_spread": float(pauses.std() / pauses.mean()) if several else float("nan"),
    }
