"""From phones to the motion of the mouth: dominance-weighted targets, and closures that always close.

Each phone pulls six articulators towards its target with a dominance that falls off outside its core as
exp(-(tau / theta)^1.25); where phones overlap the pulls are averaged (co-articulation). P, B and M close the
lips over their whole closure, F and V tuck the lower lip, pauses longer than 150 ms shut the mouth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from synctalk.training.corpus.phones import DIPHTHONGS, SILENCE, VOWELS, Phone

RATE_HZ = 100
FPS = 25
ARTICULATORS = ("jaw", "pucker", "funnel", "width", "upper_up", "lower_down", "closure", "tuck", "rest")
"""Columns of `mouth_motion`: six articulators (blendshape-like, about 0-1), lip closure, labiodental tuck,
rest."""

# targets: jaw, pucker, funnel, width, upper lip up, lower lip down; dominance: jaw, rounding, width, lips
_EVEN = (1.0, 1.0, 1.0, 1.0)
_TARGETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "AA": ((0.40, 0, 0, 0.06, 0.10, 0.26), _EVEN),
    "AE": ((0.36, 0, 0, 0.26, 0.18, 0.32), _EVEN),
    "AH": ((0.27, 0, 0, 0.06, 0.08, 0.22), _EVEN),
    "AX": ((0.15, 0, 0, 0.06, 0.05, 0.16), (0.5, 0.35, 0.4, 0.5)),
    "AO": ((0.32, 0.30, 0.32, 0, 0.04, 0.10), _EVEN),
    "EH": ((0.27, 0, 0, 0.22, 0.14, 0.30), _EVEN),
    "IH": ((0.16, 0, 0, 0.20, 0.09, 0.26), (0.8, 0.7, 0.8, 0.9)),
    "IY": ((0.10, 0, 0, 0.46, 0.13, 0.32), _EVEN),
    "UH": ((0.15, 0.42, 0.20, 0, 0.02, 0.08), _EVEN),
    "UW": ((0.09, 0.82, 0.20, 0, 0, 0), _EVEN),
    "ER": ((0.13, 0.36, 0.22, 0, 0.08, 0.12), _EVEN),
    "EY1": ((0.24, 0, 0, 0.28, 0.13, 0.32), _EVEN),
    "EY2": ((0.12, 0, 0, 0.40, 0.12, 0.30), _EVEN),
    "AY1": ((0.38, 0, 0, 0.12, 0.12, 0.30), _EVEN),
    "AY2": ((0.15, 0, 0, 0.36, 0.11, 0.28), _EVEN),
    "AW1": ((0.37, 0.05, 0.05, 0.10, 0.10, 0.26), _EVEN),
    "AW2": ((0.15, 0.66, 0.28, 0, 0, 0.04), _EVEN),
    "OW1": ((0.25, 0.42, 0.34, 0, 0.02, 0.06), _EVEN),
    "OW2": ((0.12, 0.74, 0.25, 0, 0, 0), _EVEN),
    "OY1": ((0.28, 0.48, 0.36, 0, 0.02, 0.06), _EVEN),
    "OY2": ((0.13, 0, 0, 0.34, 0.10, 0.26), _EVEN),
    "P": ((0.05, 0, 0, 0, 0, 0), (1.6, 0.12, 0.15, 1.0)),
    "B": ((0.06, 0, 0, 0, 0, 0), (1.5, 0.12, 0.15, 1.0)),
    "M": ((0.06, 0, 0, 0, 0, 0), (1.4, 0.12, 0.15, 1.0)),
    "F": ((0.05, 0, 0, 0.04, 0.05, 0), (1.6, 0.35, 0.3, 1.5)),
    "V": ((0.06, 0, 0, 0.04, 0.05, 0), (1.4, 0.35, 0.3, 1.4)),
    "TH": ((0.10, 0, 0, 0.08, 0.08, 0.22), (1.1, 0.3, 0.3, 0.9)),
    "DH": ((0.10, 0, 0, 0.08, 0.07, 0.20), (0.9, 0.3, 0.3, 0.8)),
    "T": ((0.08, 0, 0, 0.10, 0.08, 0.24), (1.0, 0.15, 0.2, 0.7)),
    "D": ((0.09, 0, 0, 0.10, 0.08, 0.24), (0.9, 0.15, 0.2, 0.7)),
    "DX": ((0.11, 0, 0, 0.08, 0.06, 0.20), (0.4, 0.1, 0.1, 0.4)),
    "N": ((0.09, 0, 0, 0.10, 0.07, 0.22), (0.8, 0.15, 0.2, 0.6)),
    "L": ((0.14, 0, 0, 0.06, 0.06, 0.22), (0.7, 0.2, 0.25, 0.6)),
    "S": ((0.035, 0, 0.02, 0.22, 0.12, 0.30), (2.2, 0.4, 0.6, 1.5)),
    "Z": ((0.04, 0, 0.02, 0.20, 0.12, 0.30), (2.0, 0.4, 0.6, 1.4)),
    "SH": ((0.05, 0.34, 0.46, 0, 0.14, 0.16), (2.2, 1.6, 1.2, 1.3)),
    "ZH": ((0.06, 0.32, 0.42, 0, 0.12, 0.16), (2.0, 1.5, 1.1, 1.2)),
    "CH": ((0.05, 0.34, 0.44, 0, 0.14, 0.16), (2.0, 1.5, 1.1, 1.2)),
    "JH": ((0.06, 0.32, 0.42, 0, 0.12, 0.16), (1.9, 1.4, 1.1, 1.2)),
    "K": ((0.13, 0, 0, 0.06, 0.06, 0.18), (0.5, 0.08, 0.12, 0.4)),
    "G": ((0.13, 0, 0, 0.06, 0.06, 0.18), (0.5, 0.08, 0.12, 0.4)),
    "NG": ((0.13, 0, 0, 0.08, 0.06, 0.18), (0.5, 0.1, 0.15, 0.4)),
    "HH": ((0.18, 0, 0, 0.04, 0.05, 0.14), (0.12, 0.05, 0.05, 0.1)),
    "R": ((0.11, 0.40, 0.22, 0, 0.06, 0.10), (0.7, 0.75, 0.6, 0.7)),
    "W": ((0.045, 0.90, 0.06, 0, 0, 0), (1.3, 1.7, 1.2, 1.2)),
    "Y": ((0.08, 0, 0, 0.36, 0.09, 0.26), (0.9, 0.6, 0.8, 0.8)),
    SILENCE: ((0, 0, 0, 0, 0, 0), (0.35, 0.25, 0.25, 0.35)),
}
_BEFORE_S = np.array([0.060, 0.105, 0.095, 0.080, 0.055, 0.055])
_AFTER_S = np.array([0.060, 0.075, 0.070, 0.075, 0.055, 0.055])
_JAW_GAIN, _LIP_GAIN = 1.38, 1.07
_SHORTEST_CLOSURE_S = 0.052


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def _plateau(t: np.ndarray, rise: float, full: float, fall: float, done: float) -> np.ndarray:
    """0 before `rise`, 1 from `full` to `fall`, 0 after `done`, smooth between."""
    up = _smoothstep((t - rise) / max(full - rise, 1e-3))
    return up * _smoothstep((done - t) / max(done - fall, 1e-3))


def _amplitude(phone: Phone, louder_db: float) -> float:
    """How fully a vowel is made: more when stressed, loud and long."""
    size = 0.80 + 0.10 * phone.stress + 0.022 * float(np.clip(louder_db, -12.0, 5.0))
    size *= 0.55 + 0.45 * min(1.0, (phone.end_s - phone.start_s) / 0.09)
    if phone.stress == 0 and phone.name in ("AX", "IH", "AH", "UH"):
        size *= 0.9
    return float(np.clip(size, 0.35, 1.3))


def _articulation(phones: Sequence[Phone], t: np.ndarray, louder_db: Sequence[float]) -> np.ndarray:
    """The dominance-weighted sum of the phones' targets: [6, n]."""
    pull = np.zeros((6, len(t)))
    weight = np.full((6, len(t)), 1e-3)
    for phone, louder in zip(phones, louder_db, strict=True):
        parts = [(phone.name, phone.start_s, phone.end_s)]
        if phone.name in DIPHTHONGS:
            turn = phone.start_s + 0.48 * (phone.end_s - phone.start_s)
            parts = [(phone.name + "1", phone.start_s, turn), (phone.name + "2", turn, phone.end_s)]
        for name, start, end in parts:
            values, strength = _TARGETS[name]
            target = np.array(values)
            alpha = np.array(strength)[[0, 1, 1, 2, 3, 3]]
            length = end - start
            if phone.name in VOWELS:
                size = _amplitude(phone, louder)
                target[0] *= size * _JAW_GAIN
                target[1:3] *= (0.7 + 0.3 * min(size, 1.1)) * _LIP_GAIN
                target[3] *= 0.6 + 0.4 * size
                target[4:] *= (0.45 + 0.55 * size) * _LIP_GAIN
            elif name != SILENCE:
                target[1:] *= _LIP_GAIN
                target[0] *= 1.2 if strength[0] < 1.05 else 1.0
            core = min(0.32 * length, 0.07)
            if name == SILENCE:
                alpha = alpha * min(1.0, length / 0.24)
                core = max(length / 2 - 0.05, 0.0)
            near = slice(max(0, int((start - 0.55) * RATE_HZ)), max(0, int((end + 0.55) * RATE_HZ)))
            away = t[near] - (start + end) / 2
            tau = np.maximum(np.abs(away) - core, 0.0)[None]
            theta = np.where(away[None] < 0, _BEFORE_S[:, None], _AFTER_S[:, None])
            dominance = alpha[:, None] * np.exp(-((tau / theta) ** 1.25))
            if name != SILENCE:
                dominance = dominance * min(1.0, 0.55 + length / 0.12)
            pull[:, near] += dominance * target[:, None]
            weight[:, near] += dominance
    return gaussian_filter1d(pull / weight, 1.7, axis=1)


def _resting(phones: Sequence[Phone], t: np.ndarray) -> np.ndarray:
    """How far the mouth has gone to rest in pauses: [n], 0-1."""
    rest = np.zeros(len(t))
    last = phones[-1].end_s
    for phone in phones:
        length = phone.end_s - phone.start_s
        if phone.name != SILENCE or length < 0.15:
            continue
        depth = float(np.clip((length - 0.15) / 0.10, 0.0, 1.0)) * 0.45 + 0.55
        begin = -1.0 if phone.start_s < 1e-3 else phone.start_s - 0.02
        end = last + 1.0 if phone.end_s > last - 1e-3 else phone.end_s
        closing, opening = min(0.24, 0.45 * length), min(0.20, 0.38 * length)
        rest = np.maximum(rest, depth * _plateau(t, begin, begin + closing, end - opening, end + 0.01))
    return rest


def _closures(phones: Sequence[Phone], t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lip closure of P, B, M and tuck of F, V: two curves [n], 0-1."""
    closure, tuck = np.zeros(len(t)), np.zeros(len(t))
    for index, phone in enumerate(phones):
        if phone.name in ("P", "B", "M"):
            begin = phone.start_s - 0.008
            end = phone.end_s - 0.012 if phone.name == "M" else phone.release_s
            if end - begin < _SHORTEST_CLOSURE_S:
                middle = (begin + end) / 2
                begin, end = middle - 0.028, middle + 0.024
            before = phones[max(index - 1, 0)]
            closing = 0.075
            if before.name in VOWELS:
                closing = float(np.clip(0.6 * (before.end_s - before.start_s), 0.04, 0.075))
            opening = {"P": 0.050, "B": 0.055, "M": 0.065}[phone.name]
            closure = np.maximum(closure, _plateau(t, begin - closing, begin, end, end + opening))
        elif phone.name in ("F", "V"):
            begin, end = phone.start_s - 0.005, phone.end_s - 0.01
            if end - begin < 0.05:
                middle = (begin + end) / 2
                begin, end = middle - 0.026, middle + 0.026
            size = 1.0 if phone.name == "F" else 0.9
            tuck = np.maximum(tuck, size * _plateau(t, begin - 0.075, begin + 0.01, end - 0.01, end + 0.06))
    return closure, tuck * (1.0 - closure)


def mouth_motion(phones: Sequence[Phone], frames: int, loudness_db: np.ndarray | None = None) -> np.ndarray:
    """Articulators of each video frame: float32 [frames, 9] (ARTICULATORS), frame i at i / 25 s.

    loudness_db: [k] level of the sound at 100 Hz, optional: louder vowels open wider.
    """
    count = frames * (RATE_HZ // FPS)
    t = np.arange(count) / RATE_HZ
    louder = np.zeros(len(phones))
    if loudness_db is not None and len(loudness_db):
        peaks = np.array(
            [
                loudness_db[
                    int(p.start_s * RATE_HZ) : max(int(p.end_s * RATE_HZ), int(p.start_s * RATE_HZ) + 1)
                ].max(initial=-100.0)
                for p in phones
            ]
        )
        vowels = np.array([p.name in VOWELS for p in phones])
        if vowels.any():
            louder = peaks - np.median(peaks[vowels])
    jaw, pucker, funnel, width, upper, lower = _articulation(phones, t, louder.tolist())
    rest = _resting(phones, t)
    closure, tuck = _closures(phones, t)
    awake = 1.0 - rest
    jaw, pucker, funnel, width, upper, lower = (x * awake for x in (jaw, pucker, funnel, width, upper, lower))
    jaw = jaw * (1 - 0.55 * tuck)
    jaw = np.minimum(jaw, jaw * (1 - 0.72 * closure) + 0.035 * closure)
    jaw = np.where(jaw > 0.38, 0.38 + 0.14 * np.tanh((jaw - 0.38) / 0.14), jaw)
    pucker = pucker * (1 - 0.35 * tuck)
    funnel = funnel * (1 - 0.8 * tuck) * (1 - 0.9 * closure)
    upper = upper * (1 - 0.9 * closure) * (1 - 0.3 * tuck) + 0.23 * tuck
    lower = lower * (1 - closure) * (1 - tuck) * (1 - 0.6 * np.clip(pucker + funnel, 0, 1))
    width = width * (1 - 0.25 * closure) * (1 - 0.2 * tuck)
    curves = np.stack([jaw, pucker, funnel, width, upper, lower, closure, tuck, rest], axis=1)
    return curves[:: RATE_HZ // FPS].astype(np.float32)
