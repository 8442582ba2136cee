"""What the encoder's features are worth: read by one linear probe, beside raw mel and MFCC, on unseen
voices."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import dct

from synctalk.errors import TrainingError
from synctalk.evaluation.mouth import SHUT_BELOW, MouthShares, mouth_shares, pooled
from synctalk.face_sync.audio_visual_encoder import AudioVisualEncoder, silent_windows
from synctalk.face_sync.sync_expert import SyncExpert
from synctalk.speech.audio import load_audio
from synctalk.speech.mel import mel_spectrogram, mel_windows
from synctalk.training.audio_visual_data import Clips, make_clips, prepare
from synctalk.training.corpus import augment
from synctalk.training.corpus.alignment import align
from synctalk.training.corpus.phones import Phone, phones_from_tokens
from synctalk.training.corpus.shards import Utterance

Features = Callable[[np.ndarray], np.ndarray]
"""Mel windows [B, 80, 16] -> float [B, D]."""

REACH = 15
_NARROW = (0, 1, 3, 4, 5)  # the measures that a shift is found by: gaps, height, widths


@dataclass(frozen=True)
class Probe:
    """A linear read-out of the mouth: features [T, D] -> opening [T] and measures [T, 11]."""

    mean: np.ndarray
    weights: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """[T, 12]: opening (negative values mean shut), then the eleven measures."""
        return (features - self.mean) @ self.weights[:-1] + self.weights[-1]


def fit_probe(features: np.ndarray, opening: np.ndarray, measures: np.ndarray, ridge: float = 1e-3) -> Probe:
    """Weighted ridge regression, the same for every kind of feature.

    Shut frames count three times and may be read as any negative opening at no cost (the target follows the
    prediction for a few rounds), because a mouth cannot be more than shut.
    """
    mean = features.mean(0)
    x = np.concatenate([features - mean, np.ones((len(features), 1))], axis=1)
    shut = opening < 0.02
    weight = np.where(shut, 3.0, 1.0)[:, None]
    gram = x.T @ (weight * x)
    gram[np.diag_indices(len(gram) - 1)] += ridge * np.trace(gram[:-1, :-1]) / (len(gram) - 1)
    factor = np.linalg.inv(gram)
    target = opening.astype(np.float64).copy()
    solution = np.zeros(x.shape[1])
    for _ in range(8):
        solution = factor @ (x.T @ (weight[:, 0] * target))
        target = np.where(shut, np.minimum(0.0, x @ solution), opening)
    others = factor @ (x.T @ (weight * measures))
    return Probe(mean, np.concatenate([solution[:, None], others], axis=1))


def encoder_features(encoder: AudioVisualEncoder) -> Features:
    """The encoder as a feature extractor."""

    def features(windows: np.ndarray) -> np.ndarray:
        parts = [encoder.encode_windows(p) for p in np.array_split(windows, max(1, len(windows) // 128))]
        return torch.cat(parts).double().numpy()

    return features


def mel_features(windows: np.ndarray) -> np.ndarray:
    """The whole mel window: [B, 1280]."""
    return windows.reshape(len(windows), -1).astype(np.float64)


def mfcc_features(windows: np.ndarray) -> np.ndarray:
    """13 cepstral coefficients of each of the 16 rows: [B, 208]."""
    return dct(windows, axis=1, norm="ortho")[:, :13].reshape(len(windows), -1).astype(np.float64)


def _all_features(clips: Clips, features: Features, frames: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [
            features(clips.windows(part).transpose(0, 2, 1))
            for part in np.array_split(frames, len(frames) // 512 + 1)
        ]
    )


def probe_of(clips: Clips, features: Features, most: int = 6000) -> Probe:
    """A probe fitted on (a subset of) training clips."""
    frames = np.linspace(0, len(clips) - 1, min(most, len(clips))).astype(int)
    return fit_probe(_all_features(clips, features, frames), clips.opening[frames], clips.measures[frames])


@dataclass(frozen=True)
class Figures:
    """What was measured on a set of clips; shares in [0, 1], offsets in frames of 40 ms."""

    opening_correlation: float
    sync_of_2: float
    sync_of_7: float
    sync_of_31: float
    second_within_1: float
    offset_error: float
    labials_shut: float
    vowels_open: float
    pauses_shut: float
    frames: int


def measure(clips: Clips, features: Features, probe: Probe, seed: int = 0) -> Figures:
    """Correlation of the read opening, sync accuracy of the read mouth among shifts, shut and open shares.

    Sync: the read measures are compared with the true ones; with windows of five frames the true place must
    beat
    1, 6 or 30 other shifts (drawn from +-15), with windows of one second (25 frames) the best of 31 shifts
    must
    be within one frame of the truth; `offset_error` is the mean absolute error of the latter.
    """
    read = probe(_all_features(clips, features, np.arange(len(clips))))
    starts, stops = clips.bounds()
    correlations = [
        np.corrcoef(np.maximum(read[a:b, 0], 0), clips.opening[a:b])[0, 1]
        for a, b in zip(starts, stops, strict=True)
        if clips.opening[a:b].std() > 0
    ]
    rng = np.random.default_rng(seed)
    spread = clips.measures.std(0)[list(_NARROW)]
    short: list[np.ndarray] = []
    errors: list[int] = []
    for a, b in zip(starts, stops, strict=True):
        if b - a < 2 * REACH + 26:
            continue
        seen = clips.measures[a:b, _NARROW] / spread
        heard = read[a:b][:, 1 + np.array(_NARROW)] / spread
        lengths = np.full((b - a - 2 * REACH, 2 * REACH + 1), np.inf)
        for column, shift in enumerate(range(-REACH, REACH + 1)):
            lengths[:, column] = (
                (seen[REACH : b - a - REACH] - heard[REACH + shift : b - a - REACH + shift]) ** 2
            ).sum(1)
        summed = np.cumsum(np.concatenate([np.zeros((1, lengths.shape[1])), lengths]), axis=0)
        active = ~clips.quiet[a + REACH : b - REACH]
        five = summed[5:] - summed[:-5]
        short.append(five[active[2 : 2 + len(five)]])
        if len(lengths) >= 25:
            second = (summed[25:] - summed[:-25])[::5]
            spoken = np.array([active[k : k + 25].mean() > 0.5 for k in range(0, len(lengths) - 24, 5)])[
                : len(second)
            ]
            errors += np.abs(second[: len(spoken)][spoken].argmin(1) - REACH).tolist()
    table = np.concatenate(short) if short else np.zeros((0, 2 * REACH + 1))
    others = np.array([k for k in range(2 * REACH + 1) if abs(k - REACH) >= 1])

    def accuracy(count: int) -> float:
        if not len(table):
            return float("nan")
        drawn = rng.permuted(np.tile(others, (len(table), 1)), axis=1)[:, : count - 1]
        return float((table[:, REACH] <= np.take_along_axis(table, drawn, axis=1).min(1)).mean())

    shares = pooled(_shares(clips, read[:, 0]))
    return Figures(
        float(np.mean(correlations)), accuracy(2), accuracy(7), accuracy(31),
        float((np.array(errors) <= 1).mean()) if errors else float("nan"),
        float(np.mean(errors)) if errors else float("nan"),
        shares.labials_shut, shares.vowels_open, shares.pauses_shut, len(clips),
    )  # fmt: skip


def _shares(clips: Clips, opening: np.ndarray) -> Iterator[MouthShares]:
    starts, stops = clips.bounds()
    for (a, b), phones in zip(zip(starts, stops, strict=True), clips.phones, strict=True):
        yield mouth_shares(np.maximum(opening[a:b], 0), [(p.name, p.start_s, p.end_s) for p in phones])


def conditions(seed: int = 0) -> dict[str, Callable[[np.ndarray], tuple[np.ndarray, float]]]:
    """The augmentations of the report, one by one: sound -> changed sound and its speed factor."""
    rng = np.random.default_rng(seed)
    return {
        "clean": lambda s: (s, 1.0),
        "noise 30 dB": lambda s: (augment.add_noise(s, 30, rng), 1.0),
        "noise 20 dB": lambda s: (augment.add_noise(s, 20, rng), 1.0),
        "noise 10 dB": lambda s: (augment.add_noise(s, 10, rng), 1.0),
        "noise 5 dB": lambda s: (augment.add_noise(s, 5, rng), 1.0),
        "room 0.4 s": lambda s: (augment.reverberate(s, 0.4, 5, rng), 1.0),
        "speed 0.9": lambda s: (augment.change_speed(s, 0.9), 0.9),
        "speed 1.1": lambda s: (augment.change_speed(s, 1.1), 1.1),
        "pitch -2": lambda s: (augment.shift_pitch(s, -2), 1.0),
        "pitch +2": lambda s: (augment.shift_pitch(s, 2), 1.0),
        "mp3 48 kbit/s": lambda s: (augment.compress(s, "mp3", 48000), 1.0),
        "opus 16 kbit/s": lambda s: (augment.compress(s, "opus", 16000), 1.0),
        "telephone": lambda s: (augment.telephone(s), 1.0),
        "gain -12 dB": lambda s: (s * 0.25, 1.0),
    }


def changed(
    sounds: Sequence[np.ndarray],
    phones: Sequence[Sequence[Phone]],
    voices: Sequence[str],
    change: Callable[[np.ndarray], tuple[np.ndarray, float]],
) -> Clips:
    """Clips of sounds under one condition, their phones moved along."""
    heard, moved = [], []
    for sound, own in zip(sounds, phones, strict=True):
        other, speed = change(sound)
        heard.append(other.astype(np.float32))
        moved.append(
            [
                Phone(p.name, p.start_s / speed, p.end_s / speed, p.release_s / speed, p.stress, p.word)
                for p in own
            ]
        )
    return make_clips(heard, moved, voices)


def real_shares(folder: Path, features: Features, probe: Probe) -> MouthShares:
    """Shut and open on recordings of people: NAME.wav beside NAME.json with 'phones' [[name, start s, end
    s], ...].

    Raises TrainingError when the folder holds none.
    """
    found = []
    for sheet in sorted(folder.glob("*.json")):
        phones = json.loads(sheet.read_text(encoding="utf-8")).get("phones")
        sound = sheet.with_suffix(".wav")
        if not phones or not sound.exists():
            continue
        clips = make_clips([load_audio(sound)], [[Phone("sil", 0.0, 1e9, 1e9)]], ["real"])
        opening = probe(_all_features(clips, features, np.arange(len(clips))))[:, 0]
        found.append(mouth_shares(np.maximum(opening, 0), phones))
    if not found:
        raise TrainingError(f"{folder} holds no recordings with phones (NAME.wav beside NAME.json).")
    return pooled(found)


def silence_code(encoder: AudioVisualEncoder, clips: Clips) -> dict[str, float]:
    """How constant the code of silence is: spread of quiet frames' features over that of all frames."""
    frames = np.linspace(0, len(clips) - 1, min(4000, len(clips))).astype(int)
    everything = _all_features(clips, encoder_features(encoder), frames)
    quiet = everything[clips.quiet[frames]]
    silent = encoder.encode_windows(silent_windows()).double().numpy()
    scale = everything.var(0).sum()
    return {
        "quiet_spread": float(np.sqrt(quiet.var(0).sum() / scale)),
        "digital_silence_from_quiet": float(np.sqrt(((silent - quiet.mean(0)) ** 2).sum() / scale)),
    }


def expert_figures(expert: SyncExpert, clips: Clips, seed: int = 0) -> dict[str, float]:
    """The sync expert on its own: single windows against 1, 6 and 30 other shifts, and 1-second windows.

    The mouths are the corpus's (measured exactly), normalised per voice as a judged video is.
    """
    rng = np.random.default_rng(seed)
    rows, errors = [], []
    starts, stops = clips.bounds()
    centre, spread = clips.measures.mean(0), clips.measures.std(0)
    for a, b in zip(starts, stops, strict=True):
        if b - a < 2 * REACH + 26:
            continue
        frames = np.arange(a, b)
        with torch.inference_mode():
            seen = expert.embed_mouth(
                torch.from_numpy(((clips.mouths(frames) - centre) / spread).astype(np.float32))
            )
            heard = expert.embed_audio(torch.from_numpy(clips.windows(frames).transpose(0, 2, 1).copy()))
        similarity = (F.normalize(seen, dim=1) @ F.normalize(heard, dim=1).T).numpy()
        inner = np.arange(REACH, b - a - REACH)
        likeness = np.stack([similarity[inner, inner + k] for k in range(-REACH, REACH + 1)], axis=1)
        active = ~clips.quiet[a + REACH : b - REACH]
        rows.append(likeness[active])
        summed = np.cumsum(np.concatenate([np.zeros((1, likeness.shape[1])), likeness]), axis=0)
        for k in range(0, len(likeness) - 24, 5):
            if active[k : k + 25].mean() > 0.5:
                errors.append(abs(int((summed[k + 25] - summed[k]).argmax()) - REACH))
    table = np.concatenate(rows)
    others = np.array([k for k in range(2 * REACH + 1) if k != REACH])
    figures = {}
    for count in (2, 7, 31):
        drawn = rng.permuted(np.tile(others, (len(table), 1)), axis=1)[:, : count - 1]
        figures[f"sync_of_{count}"] = float(
            (table[:, REACH] >= np.take_along_axis(table, drawn, axis=1).max(1)).mean()
        )
    figures["second_within_1"] = float((np.array(errors) <= 1).mean())
    figures["offset_error"] = float(np.mean(errors))
    return figures


NOISE_COLOURS = {"white": 0.0, "pink": 0.5, "brown": 1.0}
NOISE_LEVELS_DB = (-60, -50, -40, -30, -20)


def noise_only(features: Features, probe: Probe, wide: float, seconds: float = 6.0) -> dict[str, float]:
    """Nobody speaks: shares of noise-only frames that are read as shut, by colour and level (dB full scale).

    wide: the opening that counts as wide, the 95th percentile over speech; shut is below a fifth of it, as in
    `evaluation/mouth.py`. 'hum' is mains with harmonics over hiss 20 dB weaker.
    """
    rng = np.random.default_rng(5)
    length = round(seconds * augment.RATE)
    noises = {name: augment.coloured_noise(length, slope, rng) for name, slope in NOISE_COLOURS.items()}
    t = np.arange(length) / augment.RATE
    hum = sum(np.sin(2 * np.pi * (50 * k * t + rng.random())) / k for k in range(1, 13))
    noises["hum"] = hum / np.std(hum) + 0.1 * noises["white"]
    shares = {}
    for name, noise in noises.items():
        for level in NOISE_LEVELS_DB:
            sound = (10 ** (level / 20) * noise).astype(np.float32)
            frames = length // 640
            windows = mel_windows(mel_spectrogram(sound), frames)[3:-3]
            opening = probe(features(windows))[:, 0]
            shares[f"{name} {level} dB"] = float((opening < SHUT_BELOW * wide).mean())
    return shares


def full_report(
    encoder: AudioVisualEncoder,
    expert: SyncExpert,
    train: Sequence[Utterance],
    unseen: Sequence[Utterance],
    real: Path | None = None,
    quick: bool = False,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Everything the model card states, and curves of ten seconds of an unseen voice for a picture.

    quick: only the encoder, and only on speech as it was synthesised.
    """
    known = prepare(train[: min(len(train), 150)])
    sounds = [u.samples.astype(np.float32) / 32768 for u in unseen]
    voices = [u.main_voice for u in unseen]
    phones, _ = align(sounds, [phones_from_tokens(u.tokens, u.durations) for u in unseen], voices)
    kinds: dict[str, Features] = {
        "encoder": encoder_features(encoder),
        "raw mel": mel_features,
        "MFCC": mfcc_features,
    }
    if quick:
        kinds = {"encoder": kinds["encoder"]}
    probes = {kind: probe_of(known, features) for kind, features in kinds.items()}
    report: dict[str, Any] = {
        "train_hours": sum(u.seconds for u in train) / 3600,
        "train_voices": len({u.main_voice for u in train}),
        "unseen_minutes": sum(u.seconds for u in unseen) / 60,
        "unseen_voices": sorted(set(voices)),
        "conditions": {kind: {} for kind in kinds},
        "noise_only": {},
    }
    curves: dict[str, np.ndarray] = {}
    for name, change in conditions().items():
        if quick and name != "clean":
            continue
        # the changed conditions are measured on every second utterance: each costs as much as the clean one
        step = 1 if name == "clean" else 2
        clips = changed(sounds[::step], phones[::step], voices[::step], change)
        for kind, features in kinds.items():
            report["conditions"][kind][name] = asdict(measure(clips, features, probes[kind]))
        if name != "clean":
            continue
        report["expert"] = expert_figures(expert, clips)
        report["silence"] = silence_code(encoder, clips)
        frames = np.arange(min(250, len(clips)))
        curves["true"] = clips.opening[frames]
        for kind, features in kinds.items():
            read = np.maximum(0, probes[kind](_all_features(clips, features, np.arange(len(clips))))[:, 0])
            curves[kind] = read[frames]
            wide = float(np.percentile(read, 95))
            report["noise_only"][kind] = noise_only(features, probes[kind], wide)
    if real is not None:
        report["real"] = {kind: real_shares(real, f, probes[kind]).as_dict() for kind, f in kinds.items()}
    return _plain(report), curves


def _plain(value: Any) -> Any:
    """The same with None for figures that were not computed (JSON knows no NaN)."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and np.isnan(value):
        return None
    return value


def save_plots(curves: dict[str, np.ndarray], path: Path) -> None:
    """True and read mouth opening over ten seconds of unseen voices."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    FigureCanvasAgg(figure)
    kinds = [kind for kind in curves if kind != "true"]
    rows = figure.subplots(len(kinds), sharex=True, squeeze=False)[:, 0]
    for axes, kind in zip(rows, kinds, strict=True):
        t = np.arange(len(curves["true"])) / 25
        axes.fill_between(t, curves["true"], color="#ccd5ae", label="true opening")
        axes.plot(t, curves[kind], color="#bc4749", linewidth=1.2, label=f"read from {kind}")
        axes.legend(loc="upper right")
        axes.set_ylabel("opening")
    axes.set_xlabel("seconds")
    figure.savefig(path, dpi=100)
