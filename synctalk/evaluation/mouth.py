"""Shut and open, one rule everywhere: does the mouth close on P, B, M and in pauses, and open on AA, AE, AO?

A share of frames says nothing of a mouth that is always shut or frozen, so both sides are reported: a mouth
that never opens fails on the vowels, one that never shuts on the consonants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

FPS = 25.0
SHUT_BELOW, OPEN_ABOVE = 0.20, 0.35
_LABIALS, _OPEN_VOWELS, _SILENCES = ("P", "B", "M"), ("AA", "AE", "AO"), ("SIL", "")
_AROUND_S, _PAUSE_S, _PAUSE_MARGIN_S = 0.04, 0.3, 0.12


class TimedPhone(NamedTuple):
    """An ARPAbet phone (stress digits are ignored; 'sil' is silence) with its times in seconds."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class MouthShares:
    """Shares in [0, 1] (NaN where there was nothing to count) and how many were counted."""

    labials_shut: float
    labials: int
    vowels_open: float
    vowels: int
    pauses_shut: float
    pauses: int

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def mouth_shares(gap: np.ndarray, phones: Iterable[TimedPhone | Sequence], fps: float = FPS) -> MouthShares:
    """Apply the rule to a clip.

    gap: float [T], distance of the inner lips (mesh points 13 and 14) over the eye distance, or any opening
    that
    is 0 when the lips touch; frame i at i / fps. phones: (name, start s, end s), silences included.
    """
    curve = np.asarray(gap, dtype=np.float64)
    wide = float(np.percentile(curve, 95)) if len(curve) else 0.0
    times = np.arange(len(curve)) / fps
    shut: list[bool] = []
    opened: list[bool] = []
    rested: list[bool] = []
    for name, start, end in phones:
        kind = str(name).rstrip("012").upper()
        if kind in _LABIALS or kind in _OPEN_VOWELS:
            near = curve[(times >= start - _AROUND_S) & (times <= end + _AROUND_S)]
            if not len(near):
                continue
            if kind in _LABIALS:
                shut.append(bool(wide > 0 and near.min() < SHUT_BELOW * wide))
            else:
                opened.append(bool(near.max() > OPEN_ABOVE * wide))
        elif kind in _SILENCES and end - start > _PAUSE_S:
            inside = curve[(times >= start + _PAUSE_MARGIN_S) & (times <= end - _PAUSE_MARGIN_S)]
            if len(inside):
                rested.append(bool(wide > 0 and np.median(inside) < SHUT_BELOW * wide))
    return MouthShares(_share(shut), len(shut), _share(opened), len(opened), _share(rested), len(rested))


def pooled(shares: Iterable[MouthShares]) -> MouthShares:
    """Shares over several clips, each phone counted once."""
    clips = list(shares)

    def over(share: str, count: str) -> tuple[float, int]:
        counts = np.array([getattr(clip, count) for clip in clips])
        hits = sum(getattr(clip, share) * n for clip, n in zip(clips, counts, strict=True) if n)
        return (float(hits / counts.sum()) if counts.sum() else float("nan")), int(counts.sum())

    labials, vowels, pauses = (
        over(*pair)
        for pair in (("labials_shut", "labials"), ("vowels_open", "vowels"), ("pauses_shut", "pauses"))
    )
    return MouthShares(*labials, *vowels, *pauses)


def _share(hits: list[bool]) -> float:
    return float(np.mean(hits)) if hits else float("nan")
