"""Speech-matched expressions: voice -> generator, raises on accents -> codebook -> blinks (III-E)."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synctalk.expression.accents import Raises, raise_habit
from synctalk.expression.blinks import BlinkHabit, Blinks, blink_statistics
from synctalk.expression.codebook import Codebook, CodebookStream
from synctalk.expression.generator import STYLES, ExpressionGenerator, ExpressionStream
from synctalk.expression.voice import RunningVoice
from synctalk.face_sync.blendshapes import BLINK, CORE_SEVEN, SMILE, blendshape_indices

Curves = NDArray[np.float32]
BROWS_UP = blendshape_indices("browInnerUp", "browOuterUpLeft", "browOuterUpRight")
BROWS_AND_SMILE = (*(column for column in CORE_SEVEN if column not in BLINK), *SMILE)


def blink_habit(own: Curves) -> BlinkHabit:
    """How an avatar blinks, from its own coefficients [T,52]; the default where the footage is too short."""
    found = blink_statistics(own[:, BLINK[0]])
    per_minute = found["per_minute"]
    if len(own) < 25 * 20 or not 3 <= per_minute <= 60:
        return BlinkHabit()
    return BlinkHabit(per_minute=float(per_minute))


class GeneratedExpression:
    """Replaces brows, smile and blinks of the source by ones that fit the words.

    Args:
        own: the avatar's coefficients, float32 [T,52].
        generator: the expression generator.
        codebook: the avatar's; None leaves the generator's range as it is.
        style: a learnt style, or None to take the manner from the voice.
        strength: of the style, 0 to 1.
        blinks_per_minute: None keeps the avatar's own habit.
        seed: of blinks and raised brows.
    """

    def __init__(
        self,
        own: Curves,
        generator: ExpressionGenerator,
        codebook: Codebook | None = None,
        style: str | None = None,
        strength: float = 1.0,
        blinks_per_minute: float | None = None,
        seed: int = 0,
    ) -> None:
        self._voice = RunningVoice()
        self._stream = ExpressionStream(generator, style, strength)
        self._raises = Raises(raise_habit(style, strength), seed)
        self._codebook = None if codebook is None else CodebookStream(codebook)
        habit = blink_habit(own)
        if blinks_per_minute is not None:
            habit = replace(habit, per_minute=blinks_per_minute)
        self._blinks = Blinks(habit, seed)
        lids = own[:, list(BLINK)]
        self._open = np.median(lids, axis=0)
        self._shut = np.maximum(np.percentile(lids, 99, axis=0), self._open + 0.2)

    def push(self, features: NDArray[np.float32], source: Curves) -> Curves:
        """Coefficients of the next frames.

        Args:
            features: float32 [n,163] from `expression.voice.voice_features`.
            source: float32 [n,52], the coefficients of the source frames under them; what the generator
                does not drive (gaze, for one) is kept.

        Returns:
            float32 [n,52].
        """
        heard = self._voice.normalise(features)
        made = self._stream.push(heard)
        made[:, list(BROWS_UP)] += self._raises.push(heard)[:, None]
        made = made.clip(0, 1)
        if self._codebook is not None:
            made = self._codebook.push(made)
        out = np.array(source, np.float32)
        driven = list(BROWS_AND_SMILE)
        out[:, driven] = made[:, driven]
        lids = self._blinks.next(len(out))[:, None]
        out[:, list(BLINK)] = self._open + lids * (self._shut - self._open)
        return out


def learnt_style(emotion: str) -> str | None:
    """The learnt style an emotion is shown with; sad and angry are presets laid over the neutral one."""
    return emotion if emotion in STYLES else "neutral"
