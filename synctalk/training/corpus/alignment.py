"""Phone boundaries held against the sound: lag removal, re-alignment, pauses the durations missed.

Kokoro's durations run 50-70 ms late, differently for each voice. The constant lag is removed first (sibilants
must be bright, vowels strong, pauses quiet), then boundaries move within +-80 ms by a segmental Viterbi
search
over one Gaussian per phone state on MFCC and their slopes, trained on the corpus itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.fft import dct

from synctalk.training.corpus.phones import DIPHTHONGS, SILENCE, STOPS, VOWELS, Phone, shift_phones

RATE = 16000
_HOP, _WINDOW, _FFT, _BANDS = 160, 400, 512, 26
_HIGHEST_HZ = 7600.0
_REACH = 8  # boundaries move by at most this many rows of 10 ms
_PRIOR_S = 0.035
_ACOUSTIC_SCALE = 0.25
_SIBILANTS = frozenset(("S", "Z", "SH", "ZH", "CH", "JH"))
_LONG_STATES = frozenset(("P1", "B1", "M", "F", "V", "S", "SH", "W"))


class State(NamedTuple):
    """A piece of a phone that sounds alike: stops are closure and burst, diphthongs two vowels."""

    label: str
    phone: int
    least_rows: int


@dataclass
class Spoken:
    """One utterance while its phones are being aligned."""

    samples: np.ndarray
    phones: list[Phone]
    voice: str
    cepstra: np.ndarray
    bands: np.ndarray


def _filterbank() -> np.ndarray:
    frequencies = np.linspace(0, RATE / 2, _FFT // 2 + 1)

    def mel(hz: float) -> float:
        return 2595 * float(np.log10(1 + hz / 700))

    edges = 700 * (10 ** (np.linspace(mel(60), mel(_HIGHEST_HZ), _BANDS + 2) / 2595) - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.clip(
        np.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle)), 0, None
    )


def cepstra(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """MFCC with slopes [k, 26] and log mel bands [k, 26] at 100 Hz; row k is centred on (k + 0.5) * 10 ms."""
    rows = int(np.ceil(len(samples) / _HOP))
    padded = np.pad(samples.astype(np.float64), (_WINDOW // 2 - _HOP // 2, _WINDOW + _HOP))
    padded[1:] -= 0.95 * padded[:-1].copy()
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][:rows] * np.hanning(_WINDOW)
    bands = np.log(np.abs(np.fft.rfft(frames, _FFT)) ** 2 @ _filterbank().T + 1e-7)
    static = dct(bands, axis=1, norm="ortho")[:, :13]
    wide = np.pad(static, ((2, 2), (0, 0)), "edge")
    slopes = (wide[4:] - wide[:-4]) * 0.5 + (wide[3:-1] - wide[1:-3]) * 0.25
    return np.concatenate([static, slopes], axis=1), bands


def estimate_lag(spoken: Sequence[Spoken]) -> float:
    """Seconds to add to every phone time of one voice (negative: the phones are really earlier)."""
    split = int(0.75 * _BANDS)
    best_score, best_lag = -np.inf, 0.0
    for lag in np.arange(-0.16, 0.061, 0.01):
        scores = []
        for one in spoken:
            t = (np.arange(len(one.bands)) + 0.5) * 0.01
            sibilant, vowel, quiet = (np.zeros(len(t)) for _ in range(3))
            for phone in one.phones:
                inside = (t >= phone.start_s + lag) & (t < phone.end_s + lag)
                if phone.name in _SIBILANTS:
                    sibilant[inside] = 1
                elif phone.name in VOWELS:
                    vowel[inside] = 1
                elif phone.name == SILENCE:
                    quiet[inside] = 1
            strength = one.bands[:, 2:12].mean(1)
            bright = one.bands[:, split:].mean(1) - one.bands[:, 1:12].mean(1)
            if sibilant.any():
                scores.append(np.corrcoef(sibilant, bright)[0, 1])
            scores += [np.corrcoef(vowel, strength)[0, 1], -np.corrcoef(quiet, strength)[0, 1]]
        if np.mean(scores) > best_score:
            best_score, best_lag = float(np.mean(scores)), float(lag)
    return best_lag


def _states(phones: Sequence[Phone]) -> tuple[list[State], np.ndarray]:
    """States of an utterance and the prior end of each, in seconds."""
    states, ends = [], []
    for index, phone in enumerate(phones):
        length = phone.end_s - phone.start_s
        if phone.name in STOPS or phone.name in DIPHTHONGS:
            middle = phone.release_s if phone.name in STOPS else (phone.start_s + phone.end_s) / 2
            pieces = [(phone.name + "1", middle), (phone.name + "2", phone.end_s)]
        else:
            pieces = [(phone.name, phone.end_s)]
        for label, end in pieces:
            least = 2
            if phone.name in STOPS and label.endswith("2"):
                least = 1
            elif phone.name in VOWELS and len(pieces) == 1 and length > 0.04:
                least = 5 if phone.stress else 3
            elif label in _LONG_STATES and length > 0.04:
                least = 3
            states.append(State(label, index, least))
            ends.append(end)
    return states, np.array(ends)


def _fit_states(
    utterances: Sequence[tuple[list[State], np.ndarray, np.ndarray]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """One diagonal Gaussian per state label, pulled towards the global mean where there is little data."""
    rows: dict[str, list[np.ndarray]] = {}
    for states, ends, features in utterances:
        begin = 0
        for state, end in zip(states, np.round(ends * 100).astype(int), strict=True):
            stop = max(end, begin + 1)
            rows.setdefault(state.label, []).append(features[begin:stop])
            begin = end
    everything = np.concatenate([x for xs in rows.values() for x in xs])
    mean, variance = everything.mean(0), everything.var(0)
    pull = 15.0
    models = {}
    for label, pieces in rows.items():
        x = np.concatenate(pieces)
        centre = (x.sum(0) + pull * mean) / (len(x) + pull)
        spread = (((x - centre) ** 2).sum(0) + pull * variance) / (len(x) + pull)
        models[label] = (centre, np.maximum(spread, 0.15 * variance))
    return models


def _best_boundaries(
    states: list[State],
    prior_s: np.ndarray,
    features: np.ndarray,
    models: dict[str, tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Ends of the states in seconds, each within +-80 ms of its prior: segmental Viterbi."""
    count, rows = len(states), len(features)
    likelihood = {}
    for label in {s.label for s in states}:
        centre, spread = models[label]
        score = -0.5 * ((features - centre) ** 2 / spread + np.log(spread)).sum(1) * _ACOUSTIC_SCALE
        likelihood[label] = np.concatenate([[0.0], np.cumsum(score)])
    prior = np.round(prior_s * 100).astype(int)
    offsets = np.arange(-_REACH, _REACH + 1)
    places, score, back, grid = np.array([0]), np.array([0.0]), [], []
    for index, state in enumerate(states):
        last = index == count - 1
        candidates = np.array([rows]) if last else np.clip(prior[index] + offsets, 1, max(rows - 1, 1))
        gained = likelihood[state.label][candidates][None] - likelihood[state.label][places][:, None]
        allowed = candidates[None] - places[:, None] >= state.least_rows
        total = np.where(allowed, score[:, None] + gained, -1e9)
        choice = total.argmax(0)
        penalty = 0.0 if last else 0.5 * ((candidates - prior[index]) * 0.01 / _PRIOR_S) ** 2
        score = total[choice, np.arange(len(candidates))] - penalty
        back.append(choice)
        grid.append(candidates)
        places = candidates
    position, ends = 0, [rows]
    for index in range(count - 1, 0, -1):
        position = back[index][position]
        ends.append(grid[index - 1][position])
    return np.array(ends[::-1]) * 0.01


def _rebuilt(phones: Sequence[Phone], states: list[State], ends: np.ndarray) -> list[Phone]:
    starts = np.concatenate([[0.0], ends[:-1]])
    built = []
    for index, phone in enumerate(phones):
        own = [k for k, s in enumerate(states) if s.phone == index]
        start, end = float(starts[own[0]]), float(ends[own[-1]])
        release = float(ends[own[0]]) if phone.name in STOPS else end
        if end > start:
            built.append(replace(phone, start_s=start, end_s=end, release_s=release))
    return built


def insert_pauses(phones: list[Phone], samples: np.ndarray, below_db: float = -33.0) -> list[Phone]:
    """Quiet stretches of 150 ms and more at a change of word become silence, and silences grow to their
    sound."""
    padded = np.pad(samples.astype(np.float64), (RATE // 100, RATE // 50))
    power = np.concatenate([[0.0], np.cumsum(padded**2)])
    rows = len(samples) // _HOP
    begin = np.arange(rows) * _HOP
    level = 10 * np.log10((power[begin + 480] - power[begin]) / 480 + 1e-10)
    quiet = np.concatenate([[0], (level < np.percentile(level, 95) + below_db).astype(int), [0]])
    edges = np.flatnonzero(np.diff(quiet)) * 0.01
    phones = list(phones)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < 0.11:
            continue
        inside = [
            k
            for k, p in enumerate(phones)
            if p.name == SILENCE and p.start_s < end + 0.09 and p.end_s > start - 0.09
        ]
        if inside:
            k = inside[0]
        else:
            seams = [
                k
                for k in range(1, len(phones))
                if phones[k].word != phones[k - 1].word
                and start - 0.09 < phones[k].start_s < end + 0.09
                and SILENCE not in (phones[k].name, phones[k - 1].name)
            ]
            if end - start < 0.15 or not seams:
                continue
            k = min(seams, key=lambda j: abs(phones[j].start_s - (start + end) / 2))
            seam = phones[k].start_s
            phones.insert(k, Phone(SILENCE, seam, seam, seam))
        pause = phones[k]
        if k > 0:  # the pause begins where the sound ends; a stop keeps its closure and burst
            before = phones[k - 1]
            cut = start + 0.02
            if before.name in STOPS and before.release_s > start:
                cut = max(cut, min(before.release_s, start + 0.09))
            cut = max(before.start_s + 0.03, cut)
            if cut < pause.end_s or pause.end_s - pause.start_s < 0.02:
                phones[k - 1] = replace(before, end_s=cut, release_s=min(before.release_s, cut))
                pause = replace(pause, start_s=cut)
        if k + 1 < len(phones):
            after = phones[k + 1]
            cut = end - (0.075 if after.name in STOPS else 0.0 if after.name in VOWELS else 0.02)
            cut = max(min(after.end_s - 0.03, cut), pause.start_s + 0.02)
            release = max(after.release_s, cut + 0.02) if after.name in STOPS else after.end_s
            phones[k + 1] = replace(after, start_s=cut, end_s=max(after.end_s, cut + 0.01), release_s=release)
            pause = replace(pause, end_s=cut)
        phones[k] = replace(pause, release_s=pause.end_s)
    return _without_unheard(phones)


def _without_unheard(phones: list[Phone]) -> list[Phone]:
    """Silences shorter than 45 ms are shared by their neighbours; times are made to join."""
    kept: list[Phone] = []
    for index, phone in enumerate(phones):
        inner = 0 < index < len(phones) - 1
        if phone.name == SILENCE and inner and phone.end_s - phone.start_s < 0.045:
            middle = (phone.start_s + phone.end_s) / 2
            kept[-1] = replace(kept[-1], end_s=middle)
        else:
            kept.append(phone)
    for index in range(1, len(kept)):
        joint = kept[index - 1].end_s
        here = kept[index]
        end = max(here.end_s, joint + 0.005)
        release = min(max(here.release_s, joint), end) if here.name in STOPS else end
        kept[index] = replace(here, start_s=joint, end_s=end, release_s=release)
    return kept


def align(
    samples: Sequence[np.ndarray], phones: Sequence[list[Phone]], voices: Sequence[str], rounds: int = 2
) -> tuple[list[list[Phone]], dict[str, float]]:
    """Corrected phones of many utterances (float samples at 16 kHz), and the lag found for each voice in
    seconds."""
    spoken = [Spoken(s, p, v, *cepstra(s)) for s, p, v in zip(samples, phones, voices, strict=True)]
    lags = {}
    normal: list[np.ndarray] = [np.empty(0)] * len(spoken)
    for voice in sorted(set(voices)):
        own = [k for k, one in enumerate(spoken) if one.voice == voice]
        lags[voice] = estimate_lag([spoken[k] for k in own[:24]])
        rows = np.concatenate([spoken[k].cepstra for k in own])
        mean, spread = rows.mean(0), rows.std(0) + 1e-6
        for k in own:
            normal[k] = (spoken[k].cepstra - mean) / spread
            spoken[k].phones = shift_phones(spoken[k].phones, lags[voice])
    prepared = [_states(one.phones) for one in spoken]
    current = [ends for _, ends in prepared]
    for _ in range(rounds):
        models = _fit_states([(s, e, x) for (s, _), e, x in zip(prepared, current, normal, strict=True)])
        current = [
            _best_boundaries(states, prior, x, models)
            for (states, prior), x in zip(prepared, normal, strict=True)
        ]
    aligned = []
    for one, (states, _), ends in zip(spoken, prepared, current, strict=True):
        aligned.append(insert_pauses(_rebuilt(one.phones, states, ends), one.samples))
    return aligned, lags
