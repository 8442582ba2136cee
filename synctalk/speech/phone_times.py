"""Kokoro's phoneme durations -> ARPAbet phones with times a mouth can follow."""

from collections.abc import Sequence

import numpy as np

from synctalk.speech.words import Phone

_VOWEL_TABLE = (
    "i:IY ɪ:IH ᵻ:IH ɛ:EH æ:AE a:AE ɑ:AA ɒ:AA ɔ:AO ʊ:UH u:UW ʌ:AH ə:AX ɐ:AX ᵊ:AX ɜ:ER "
    "A:EY I:AY O:OW Q:OW W:AW Y:OY e:EY o:OW"
)
_CONSONANT_TABLE = (
    "p:P b:B t:T d:D k:K ɡ:G f:F v:V θ:TH ð:DH s:S z:Z ʃ:SH ʒ:ZH ʧ:CH ʤ:JH h:HH m:M n:N "
    "ŋ:NG l:L ɹ:R j:Y w:W T:DX ɾ:DX ʔ:T"
)
ARPABET: dict[str, str] = {pair[0]: pair[2:] for pair in f"{_VOWEL_TABLE} {_CONSONANT_TABLE}".split()}
VOWELS = frozenset(pair.split(":")[1] for pair in _VOWEL_TABLE.split())
SILENCE = "sil"

_STRESS = {"ˈ": 2, "ˌ": 1}
_PAUSE_S = 0.15  # a space that lasts longer is a pause in which the mouth closes
_QUIET_DB = -33.0
_SHORTEST_QUIET_S, _SHORTEST_S = 0.06, 0.02
_LONGEST_MOVE_S = 0.25
_TAIL_S, _STOP_TAIL_S = 0.015, 0.05  # a sound lasts a little into the quiet; a final stop is quiet itself
_HEAD_S, _STOP_HEAD_S = 0.02, 0.06  # the mouth is in place before the sound; a stop's closure is quiet
_STOPS = frozenset({"P", "B", "T", "D", "K", "G", "CH", "JH"})
_MARKS = ",.!?;:—…"


def phones_from_durations(
    symbols: Sequence[str],  # Kokoro's characters, without the blanks at both ends
    words: Sequence[int],  # word of each character, -1 for spaces and marks
    durations_s: np.ndarray,  # of each character and of the two blanks: [len(symbols) + 2]
    lag_s: float,
) -> list[Phone]:
    """Phones of one utterance, contiguous from 0 to the end of the sound.

    Kokoro's durations trail its sound by `lag_s`: the boundaries are moved earlier by that much.
    A stress mark's time belongs to its vowel, a length mark's to the sound before it, a short space's
    half to each neighbour; longer spaces and punctuation become silence.
    """
    edges = np.concatenate([[0.0], np.cumsum(durations_s)])
    total = float(edges[-1])
    drafts: list[_Draft] = [_Draft(SILENCE, 0.0, float(edges[1]), -1)]
    pending_stress, pending_start = 0, None
    for i, (symbol, word) in enumerate(zip(symbols, words, strict=True)):
        start, end = float(edges[i + 1]), float(edges[i + 2])
        last = drafts[-1]
        if symbol in _STRESS:
            pending_stress = _STRESS[symbol]
            pending_start = start if pending_start is None else pending_start
        elif symbol == "ː":
            last.end = end
        elif symbol in _MARKS or symbol == " ":
            pending_start = None
            if last.symbol == SILENCE:
                last.end = end
            elif symbol in _MARKS or end - start >= _PAUSE_S:
                drafts.append(_Draft(SILENCE, start, end, -1))
            else:
                last.end = pending_start = (start + end) / 2.0
        elif symbol in ARPABET:
            name = ARPABET[symbol]
            if last.symbol == "ER" and name == "R" and last.word == word:
                last.end = end
                continue
            if pending_start is not None:
                start, pending_start = pending_start, None
            stress = 0
            if name in VOWELS:
                stress, pending_stress = pending_stress, 0
            drafts.append(_Draft(name, start, end, word, stress))
    if drafts[-1].symbol != SILENCE:
        drafts.append(_Draft(SILENCE, drafts[-1].end, total, -1))
    return _shifted(drafts, lag_s, total)


def fit_pauses(phones: list[Phone], samples: np.ndarray, rate: int) -> list[Phone]:
    """Move the edges of silences to where the sound falls quiet and sets in again.

    Kokoro gives the last sound before a pause most of the pause's time, and makes no pause at some commas:
    a silence between sounds in which nothing is quiet is given to its neighbours.

    Args:
        phones: contiguous, as from `phones_from_durations`.
        samples: float32 [n], the same utterance.
        rate: Hz.

    Returns:
        Contiguous phones with other times around silences.
    """
    level = _level(samples, rate)
    starts = [*(p.start_s for p in phones), *(p.end_s for p in phones[-1:])]
    for i, phone in enumerate(phones):
        if phone.symbol != SILENCE:
            continue
        run = _quiet_run(level, starts[i] - _LONGEST_MOVE_S, starts[i + 1] + _LONGEST_MOVE_S, phone)
        if run is None:
            if 0 < i < len(phones) - 1:
                starts[i] = starts[i + 1] = (starts[i] + starts[i + 1]) / 2.0
            continue
        if i > 0:
            tail = _STOP_TAIL_S if phones[i - 1].symbol in _STOPS else _TAIL_S
            latest = starts[i + 1] - _SHORTEST_S
            starts[i] = max(min(run[0] + tail, latest), starts[i - 1] + _SHORTEST_S)
        if i + 1 < len(phones):
            following = phones[i + 1].symbol
            head = _STOP_HEAD_S if following in _STOPS else 0.0 if following in VOWELS else _HEAD_S
            earliest = starts[i] + _SHORTEST_S
            starts[i + 1] = min(max(run[1] - head, earliest), starts[i + 2] - _SHORTEST_S)
    return [
        Phone(p.symbol, start, max(end, start), p.word, p.stress)
        for p, start, end in zip(phones, starts[:-1], starts[1:], strict=True)
        if end > start or p.symbol != SILENCE
    ]


def _level(samples: np.ndarray, rate: int) -> np.ndarray:
    """Loudness every 10 ms, in dB below the loud parts."""
    hop = rate // 100
    power = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    centres = np.arange(0, len(samples), hop)
    low, high = np.maximum(centres - hop, 0), np.minimum(centres + 2 * hop, len(samples))
    decibels = 10.0 * np.log10((power[high] - power[low]) / np.maximum(high - low, 1) + 1e-12)
    return decibels - np.percentile(decibels, 95) if len(decibels) else decibels


def _quiet_run(level: np.ndarray, low_s: float, high_s: float, phone: Phone) -> tuple[float, float] | None:
    """The quiet stretch within [low_s, high_s] that shares most time with a silence, in seconds."""
    first = max(0, round(low_s * 100))
    quiet = level[first : max(first, round(high_s * 100))] < _QUIET_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    best, most = None, _SHORTEST_S
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        run = ((first + begin) / 100.0, (first + end) / 100.0)
        shared = min(run[1], phone.end_s) - max(run[0], phone.start_s)
        if shared > most and run[1] - run[0] >= _SHORTEST_QUIET_S:
            best, most = run, shared
    return best


class _Draft:
    """A phone while its end is still open."""

    def __init__(self, symbol: str, start: float, end: float, word: int, stress: int = 0) -> None:
        self.symbol, self.start, self.end, self.word, self.stress = symbol, start, end, word, stress


def _shifted(drafts: list[_Draft], lag_s: float, total: float) -> list[Phone]:
    """Move inner boundaries earlier by the lag; join what is left without gaps."""
    bounds = [0.0] + [min(max(float(d.end) - lag_s, 0.0), total) for d in drafts[:-1]] + [total]
    return [
        Phone(d.symbol, start, end, d.word, d.stress)
        for d, start, end in zip(drafts, bounds[:-1], bounds[1:], strict=True)
        if end > start
    ]
