"""What every speech engine shares: timed words and phones, and the error of being unavailable."""

from dataclasses import dataclass

from synctalk.errors import SpeechError


class EngineUnavailable(SpeechError):
    """An engine cannot be used here or now; another one may serve."""


@dataclass(frozen=True)
class Word:
    """A piece of the text as written, and when it is heard."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Phone:
    """A speech sound and when the mouth makes it."""

    symbol: str  # ARPAbet with AX (schwa) and DX (tapped t); 'sil' is silence
    start_s: float
    end_s: float
    word: int  # index of its word; -1 in silence
    stress: int = 0  # vowels: 2 primary, 1 secondary, 0 none
