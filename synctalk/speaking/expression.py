"""What the user asks of the face, as offsets on the avatar's own movement and inside its own range."""

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from synctalk.errors import SyncTalkError
from synctalk.expression.blinks import BlinkHabit, Blinks
from synctalk.expression.generator import STYLES
from synctalk.face_sync.blendshapes import BLINK, CORE_SEVEN, SMILE

Curves = NDArray[np.float32]

# How far each emotion moves each control at full strength where no generator shows it: rules of thumb.
# 'natural' takes the manner from the voice.
EMOTIONS: dict[str, dict[str, float]] = {
    "natural": {},
    "neutral": {},
    "happy": {"smile": 0.8, "brow_outer_up_left": 0.25, "brow_outer_up_right": 0.25, "brow_inner_up": 0.15},
    "serious": {"brow_down_left": 0.55, "brow_down_right": 0.55},
    "surprised": {"brow_inner_up": 0.8, "brow_outer_up_left": 0.8, "brow_outer_up_right": 0.8},
    "sad": {"brow_inner_up": 0.7, "eye_blink_left": 0.15, "eye_blink_right": 0.15},
    "angry": {"brow_down_left": 0.9, "brow_down_right": 0.9},
}
SOURCES = ("voice", "footage")
HEAD_MOTIONS = ("calm", "natural", "lively")
CONTROLS = (
    "brow_down_left",
    "brow_down_right",
    "brow_inner_up",
    "brow_outer_up_left",
    "brow_outer_up_right",
    "eye_blink_left",
    "eye_blink_right",
    "smile",
)
_COLUMNS: dict[str, tuple[int, ...]] = {
    **{name: (column,) for name, column in zip(CONTROLS, CORE_SEVEN, strict=False)},
    "smile": SMILE,
}
DRIVEN = (*CORE_SEVEN, *SMILE)
_SHUT = 0.6  # lids of an avatar whose footage holds no blink


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not (isinstance(value, int | float) and math.isfinite(value) and low <= value <= high):
        raise SyncTalkError(f"{name} must lie between {low} and {high}, not {value!r}.")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SyncTalkError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")


@dataclass(frozen=True)
class Expression:
    """What the face should do. The defaults leave the avatar's natural movement as it is."""

    brow_down_left: float = 0.0
    """Left brow lowered; here and below 0 leaves the movement alone, 1 is the avatar's own strongest."""
    brow_down_right: float = 0.0
    """Right brow lowered."""
    brow_inner_up: float = 0.0
    """Inner ends of both brows raised."""
    brow_outer_up_left: float = 0.0
    """Outer end of the left brow raised."""
    brow_outer_up_right: float = 0.0
    """Outer end of the right brow raised."""
    eye_blink_left: float = 0.0
    """Left lid lowered."""
    eye_blink_right: float = 0.0
    """Right lid lowered."""
    smile: float = 0.0
    """Corners of the mouth raised."""
    blinks_per_minute: float | None = None
    """How often the eyes blink, 0 to 60; None keeps the avatar's own blinks."""
    emotion: str = "natural"
    """natural (as the voice sounds), neutral, happy, serious, surprised, sad or angry."""
    strength: float = 0.7
    """How strong the emotion is, 0 to 1."""
    intensity: float = 1.0
    """Size of all movement of brows, lids and smile: 0 still, 1 natural, 2 doubled."""
    head_motion: str = "natural"
    """calm, natural or lively: which stretches of the source footage are shown."""
    source: str = "voice"
    """Where brows, smile and blinks come from: generated to fit the voice, or as they were in the footage."""

    def __post_init__(self) -> None:
        for name in (*CONTROLS, "strength"):
            _check_range(name, getattr(self, name), 0, 1)
        _check_range("intensity", self.intensity, 0, 2)
        if self.blinks_per_minute is not None:
            _check_range("blinks_per_minute", self.blinks_per_minute, 0, 60)
        _check_choice("emotion", self.emotion, tuple(EMOTIONS))
        _check_choice("head_motion", self.head_motion, HEAD_MOTIONS)
        _check_choice("source", self.source, SOURCES)

    def controls(self, shown: bool = False) -> dict[str, float]:
        """The sliders with the emotion added, each in [0,1]; `shown` where a generator shows it already."""
        emotion = {} if shown else EMOTIONS[self.emotion]
        return {
            name: min(1.0, getattr(self, name) + self.strength * emotion.get(name, 0.0)) for name in CONTROLS
        }


PRESETS: dict[str, Expression] = {
    "Natural": Expression(),
    "Warm": Expression(emotion="happy", strength=0.8),
    "Newsreader": Expression(emotion="serious", strength=0.4, head_motion="calm", intensity=0.8),
    "Astonished": Expression(emotion="surprised", strength=0.9, head_motion="lively"),
    "Sleepy": Expression(eye_blink_left=0.4, eye_blink_right=0.4, blinks_per_minute=30, head_motion="calm"),
}


class ExpressionControl:
    """Applies an `Expression` to coefficients that arrive chunk by chunk.

    Args:
        expression: what is asked.
        own: the avatar's coefficients over its footage, float32 [T,52].
        rest: its coefficients at rest, float32 [52].
        top: its strongest, the 98th percentile, float32 [52].
        generated: the coefficients come from the generator: it has made the blinks and the learnt emotions.
        seed: of the random times between blinks.
    """

    def __init__(
        self,
        expression: Expression,
        own: Curves,
        rest: Curves,
        top: Curves,
        generated: bool = False,
        seed: int = 0,
    ) -> None:
        self.expression = expression
        self._rest, self._top = rest, top
        self._limit = np.maximum(top, own.max(axis=0))
        self._controls = expression.controls(shown=generated and expression.emotion in STYLES)
        self._blinks: Blinks | None = None
        rate = expression.blinks_per_minute
        if rate is not None and not generated:
            self._blinks = Blinks(BlinkHabit(per_minute=rate), seed)
            self._limit[list(BLINK)] = np.maximum(self._limit[list(BLINK)], _SHUT)

    def apply(self, curves: Curves) -> Curves:
        """Coefficients as asked, float32 [n,52]; the next chunk goes on where this one ended.

        Order: blinks, overall intensity around the rest position, sliders. What is driven never goes past
        what the footage did; the others pass unchanged.
        """
        out = np.array(curves, np.float32)
        rest, top = self._rest, self._top
        driven = list(DRIVEN)
        if self._blinks is not None:
            self._reblink(out, self._blinks.next(len(out)))
        if self.expression.intensity != 1:
            out[:, driven] = rest[driven] + self.expression.intensity * (out[:, driven] - rest[driven])
        for name, value in self._controls.items():
            for column in _COLUMNS[name]:
                out[:, column] += value * np.maximum(top[column] - out[:, column], 0)
        out[:, driven] = np.clip(out[:, driven], 0, self._limit[driven])
        return out

    def _reblink(self, out: Curves, lids: NDArray[np.floating]) -> None:
        """Blinks `lids` [n] in place of those of the footage."""
        for column in BLINK:
            open_lid = np.minimum(out[:, column], self._rest[column])
            out[:, column] = open_lid + lids * (self._limit[column] - open_lid)


def expression_from(values: dict[str, object]) -> Expression:
    """An `Expression` from plain values, as a CSV line or a form gives them; unknown names are an error.

    Raises:
        SyncTalkError: an unknown name or a value out of range.
    """
    kinds = {field.name: field for field in fields(Expression)}
    unknown = sorted(set(values) - set(kinds))
    if unknown:
        raise SyncTalkError(f"Unknown expression setting {unknown[0]!r}. Known: {', '.join(kinds)}.")
    ready: dict[str, object] = {}
    for name, value in values.items():
        if name in ("emotion", "head_motion", "source"):
            ready[name] = str(value).strip().lower()
        elif value is not None:
            try:
                ready[name] = float(value)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                raise SyncTalkError(f"{name} must be a number, not {value!r}.") from None
    return Expression(**ready)  # type: ignore[arg-type]
