"""Raised brows on accents, as a process: the voice says where they may be, chance says which of them are.

Of the stressed words in our footage about one in seven carries a raise, and neither pitch nor energy tells
which. A network trained on that answers with the mean: brows that hardly move. So raises are drawn, like
blinks.
"""

from dataclasses import dataclass

import numpy as np

from synctalk.expression.voice import ENERGY, PITCH, VOICED

FPS = 25.0
_SMOOTH = 4  # frames over which prominence is averaged


@dataclass(frozen=True)
class RaiseHabit:
    """How someone raises the brows while speaking; the defaults are our presenters'."""

    share: float = 0.3  # of the accents that get a raise
    above: float = 0.3  # prominence that makes an accent
    shortest_pause_s: float = 0.8  # between raises
    height: tuple[float, float] = (0.10, 0.32)  # coefficient
    rise_s: tuple[float, float] = (0.16, 0.24)
    fall_s: tuple[float, float] = (0.45, 0.65)


# Of the accents that get a raise, in the footage's styles.
_SHARES = {"neutral": 0.3, "happy": 0.45, "serious": 0.08, "surprised": 0.5, "question": 0.45}


def raise_habit(style: str | None, strength: float = 1.0) -> RaiseHabit:
    """How often the brows are raised in a learnt style; None is neutral, strength 0 too."""
    neutral = _SHARES["neutral"]
    return RaiseHabit(share=neutral + strength * (_SHARES.get(style or "neutral", neutral) - neutral))


class Raises:
    """An endless run of raises, deterministic with its seed; it looks back only.

    Args:
        habit: how often and how much; a share of 0 never raises.
        seed: of choice and size.
    """

    def __init__(self, habit: RaiseHabit | None = None, seed: int = 0) -> None:
        self.habit = habit or RaiseHabit()
        self._random = np.random.default_rng(seed)
        self._past = np.zeros(_SMOOTH - 1)
        self._was_above = False
        self._frame = 0
        self._last = -1e9
        self._raises: list[tuple[float, float, float, float]] = []

    def push(self, features: np.ndarray) -> np.ndarray:
        """What the next frames add to the raised brows.

        Args:
            features: float32 [n,163], normalised by `RunningVoice`.

        Returns:
            float32 [n], 0 where nothing is raised.
        """
        habit = self.habit
        prominence = features[:, VOICED] * (features[:, PITCH] + 1.5 * features[:, ENERGY])
        joined = np.concatenate([self._past, prominence])
        smooth = np.convolve(joined, np.full(_SMOOTH, 1 / _SMOOTH), "valid")
        self._past = joined[len(joined) - _SMOOTH + 1 :]
        for offset, value in enumerate(smooth):
            is_above = bool(value > habit.above)
            if is_above and not self._was_above:
                self._accent((self._frame + offset) / FPS)
            self._was_above = is_above
        times = (self._frame + np.arange(len(features))) / FPS
        curve = np.zeros(len(features))
        for start, rise, fall, height in self._raises:
            up = _smooth_step((times - start) / rise)
            down = _smooth_step((times - start - rise) / fall)
            curve = np.maximum(curve, height * up * (1 - down))
        self._frame += len(features)
        self._raises = [r for r in self._raises if r[0] + r[1] + r[2] > self._frame / FPS]
        return curve.astype(np.float32)

    def _accent(self, start: float) -> None:
        habit, uniform = self.habit, self._random.uniform
        # Always the same number of draws per accent: a raise more or less does not change the later ones.
        chance, rise, fall = uniform(), uniform(*habit.rise_s), uniform(*habit.fall_s)
        height = uniform(*habit.height)
        if chance < habit.share and start - self._last >= habit.shortest_pause_s:
            self._raises.append((start, rise, fall, height))
            self._last = start


def _smooth_step(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
