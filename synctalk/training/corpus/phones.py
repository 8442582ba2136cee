"""Phones with times, as the corpus keeps them, and how Kokoro's tokens and durations become them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DURATION_S = 0.025
"""Length of one frame of Kokoro's duration predictor."""

_ARPABET = {
    "i": "IY", "ɪ": "IH", "ᵻ": "IH", "ɛ": "EH", "æ": "AE", "a": "AE", "ɑ": "AA", "ɒ": "AA", "ɔ": "AO", "ʊ":
    "UH",
    "u": "UW", "ʌ": "AH", "ə": "AX", "ɐ": "AX", "ᵊ": "AX", "ɜ": "ER", "A": "EY", "I": "AY", "O": "OW", "Q":
    "OW",
    "W": "AW", "Y": "OY", "e": "EY", "o": "OW", "p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "ɡ": "G",
    "f": "F", "v": "V", "θ": "TH", "ð": "DH", "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH", "ʧ": "CH", "ʤ": "JH",
    "h": "HH", "m": "M", "n": "N", "ŋ": "NG", "l": "L", "ɹ": "R", "j": "Y", "w": "W", "T": "DX", "ɾ": "DX",
    "ʔ": "T",
}  # fmt: skip
_PUNCTUATION = ".,;:!?—…"
VOWELS = frozenset(
    ["IY", "IH", "EH", "AE", "AA", "AO", "UH", "UW", "AH", "AX", "ER", "EY", "AY", "OW", "AW", "OY"]
)
STOPS = frozenset(["P", "B", "T", "D", "K", "G", "CH", "JH"])
DIPHTHONGS = frozenset(["EY", "AY", "OW", "AW", "OY"])
SILENCE = "sil"
PHONE_NAMES = (
    SILENCE,
    *sorted(VOWELS),
    *[
        "P",
        "B",
        "M",
        "F",
        "V",
        "TH",
        "DH",
        "T",
        "D",
        "DX",
        "N",
        "L",
        "S",
        "Z",
        "SH",
        "ZH",
        "CH",
        "JH",
        "K",
        "G",
        "NG",
        "HH",
        "R",
        "W",
        "Y",
    ],
)
"""The 42 classes that phones are told apart by; index 0 is silence."""


@dataclass(frozen=True)
class Phone:
    """One phone: ARPAbet name (plus AX, DX, sil), start, end and burst in seconds, stress 0-2, word index."""

    name: str
    start_s: float
    end_s: float
    release_s: float
    stress: int = 0
    word: int = -1


def phones_from_tokens(tokens: str, durations: np.ndarray) -> list[Phone]:
    """Phones by Kokoro's own durations, not yet corrected for their lag.

    tokens: n phoneme characters; durations: [n + 2] frames of 25 ms, first and last are the padding's.
    Raises ValueError when the counts differ.
    """
    if len(durations) != len(tokens) + 2:
        raise ValueError(f"{len(tokens)} tokens need {len(tokens) + 2} durations, not {len(durations)}")
    ends = np.cumsum(np.asarray(durations, dtype=np.float64)) * DURATION_S
    total = float(ends[-1])
    found: list[list] = [[SILENCE, 0.0, float(ends[0]), 0, -1]]  # name, start, end, stress, word
    stress, waiting, word = 0, None, 0
    for position, token in enumerate(tokens):
        start, end = float(ends[position]), float(ends[position + 1])
        last = found[-1]
        if token in _PUNCTUATION:
            if last[0] == SILENCE:
                last[2] = end
            else:
                found.append([SILENCE, start, end, 0, -1])
            waiting = None
        elif token == " ":
            word += 1
            if last[0] == SILENCE:
                last[2] = end
            elif end - start >= 0.15:
                found.append([SILENCE, start, end, 0, -1])
            else:  # a short gap between words belongs half to either side
                last[2] = waiting = (start + end) / 2
        elif token in "ˈˌ":
            stress = 2 if token == "ˈ" else 1
            waiting = start if waiting is None else waiting
        elif token == "ː":
            last[2] = end
        elif token in _ARPABET:
            name = _ARPABET[token]
            start = start if waiting is None else waiting
            waiting = None
            if name == "R" and last[0] == "ER" and last[4] == word:
                last[2] = end
                continue
            own = stress if name in VOWELS else 0
            stress = 0 if name in VOWELS else stress
            found.append([name, start, end, own, word])
    if found[-1][0] == SILENCE:
        found[-1][2] = total
    else:
        found.append([SILENCE, found[-1][2], total, 0, -1])
    return [
        Phone(name, start, end, start + 0.55 * (end - start) if name in STOPS else end, own, index)
        for name, start, end, own, index in found
        if end > start
    ]


def shift_phones(phones: list[Phone], seconds: float) -> list[Phone]:
    """The same phones earlier (negative) or later; the first start and the last end stay where they are."""
    first, last = phones[0].start_s, phones[-1].end_s

    def moved(time_s: float) -> float:
        return min(max(time_s + seconds, first), last)

    shifted = [
        Phone(p.name, moved(p.start_s), moved(p.end_s), moved(p.release_s), p.stress, p.word) for p in phones
    ]
    head, tail = shifted[0], shifted[-1]
    shifted[0] = Phone(head.name, first, head.end_s, head.release_s, head.stress, head.word)
    shifted[-1] = Phone(tail.name, tail.start_s, last, last, tail.stress, tail.word)
    return [p for p in shifted if p.end_s > p.start_s]
