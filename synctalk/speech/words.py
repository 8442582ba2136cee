"""Timed words and phones, as every speech engine gives them."""

from dataclasses import dataclass


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
