"""Training of the expression generator (Section III-E): filmed faces, and rules for other voices."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from synctalk.errors import TrainingError
from synctalk.expression.generator import STYLES, ExpressionGenerator
from synctalk.expression.voice import RunningVoice, voice_features
from synctalk.face_sync.blendshapes import BLINK
from synctalk.training.expression_rules import BROWS_DOWN, BROWS_UP, SMILE, WIDE, upper_face

# What the rules speak about; elsewhere they say nothing and are not compared.
_RULED = (*BROWS_UP, *BROWS_DOWN, *SMILE, *WIDE)


@dataclass(frozen=True)
class Filmed:
    """A voice with its face.

    Args:
        features: float32 [T,163], normalised.
        curves: float32 [T,52], blinks removed (`without_blinks`).
        styles: int64 [T], index into `STYLES`.
    """

    features: np.ndarray
    curves: np.ndarray
    styles: np.ndarray


@dataclass(frozen=True)
class GeneratorTraining:
    """Settings of the generator's training."""

    steps: int = 1200
    minutes: float = 20.0  # wall-clock bound
    batch: int = 5  # filmed windows per step
    ruled: int = 2  # windows under the rules per step
    window: int = 150  # frames (6 s)
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    average: float = 0.99  # the shipped weights are a running mean of the trained ones
    velocity_weight: float = 0.5  # frame-to-frame change, so that raises move like raises
    heard_weight: float = 0.5  # the same, with the emotion heard instead of given
    ruled_weight: float = 0.3
    cross_weight: float = 0.3  # cross-reconstruction: content of one voice, emotion of another
    class_weight: float = 0.05
    noise: float = 0.05  # added to the features
    core_weight: float = 4.0  # brows and smile count more than the rest
    seed: int = 0


def read_curves(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and styles of a clip.

    Args:
        file: NPZ with 'weights' or 'bs52' [T,52], and optionally 'style' [T] with 'style_names'.

    Returns:
        float32 [T,52]; index into `STYLES`, int64 [T], neutral where the style is not one of them.

    Raises:
        TrainingError: not such a file.
    """
    try:
        with np.load(file, allow_pickle=False) as data:
            curves = np.asarray(data["weights"] if "weights" in data else data["bs52"], np.float32)
            names = [str(n) for n in data["style_names"]] if "style_names" in data else ["neutral"]
            given = np.asarray(data["style"]) if "style" in data else np.zeros(len(curves), np.int64)
    except (OSError, KeyError, ValueError) as error:
        raise TrainingError(
            f"{file} holds no coefficients ('weights' or 'bs52' [T,52]): {error}. Make them with "
            "`synctalk blendshapes`."
        ) from error
    known = np.array([STYLES.index(name) if name in STYLES else 0 for name in names])
    return curves, known[given].astype(np.int64)


def without_blinks(curves: np.ndarray, reach: int = 6) -> np.ndarray:
    """Coefficients with the blinks taken out of the lids: they are a process of their own.

    A frame belongs to a blink when its lid stands well above the lowest lid within `reach` frames.
    """
    out = np.array(curves, np.float32)
    for column in BLINK:
        lid = out[:, column]
        padded = np.pad(lid, reach, mode="edge")
        floor = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).min(1)
        blinking = lid > floor + 0.08
        blinking = np.convolve(blinking, np.ones(3), "same") > 0
        if blinking.any() and not blinking.all():
            times = np.arange(len(lid))
            out[:, column] = np.interp(times, times[~blinking], lid[~blinking])
    return out


def filmed(samples: np.ndarray, curves: np.ndarray, styles: np.ndarray) -> Filmed:
    """Sound float32 [n] at 16 kHz, coefficients [T,52] and style indices [T] of one video, made ready."""
    features = RunningVoice().normalise(voice_features(samples))
    length = min(len(features), len(curves))
    return Filmed(features[:length], without_blinks(curves[:length]), styles[:length].astype(np.int64))


def _window(length: int, size: int, random: np.random.Generator) -> slice:
    first = int(random.integers(max(length - size, 0) + 1))
    return slice(first, first + size)


class _Sampler:
    """Draws windows of filmed and ruled voices."""

    def __init__(
        self, footage: Sequence[Filmed], voices: Sequence[np.ndarray], settings: GeneratorTraining
    ) -> None:
        self.footage, self.settings = footage, settings
        self.voices = [v for v in voices if len(v) >= settings.window]
        self.ruled = [np.stack([upper_face(v, style) for style in STYLES]) for v in self.voices]
        self.random = np.random.default_rng(settings.seed)

    def filmed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Features [B,W,163], curves [B,W,52], style of each frame [B,W]."""
        rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        while len(rows) < self.settings.batch:
            clip = self.footage[int(self.random.integers(len(self.footage)))]
            part = _window(len(clip.features), self.settings.window, self.random)
            rows.append((clip.features[part], clip.curves[part], clip.styles[part]))
        features, curves, styles = (np.stack(column) for column in zip(*rows, strict=True))
        return self.shake(features), torch.from_numpy(curves), torch.from_numpy(styles)

    def ruled_windows(self) -> tuple[Tensor, Tensor]:
        """Features [R,W,163] of voices no camera filmed, rule curves of every style [R,styles,W,52]."""
        rows: list[tuple[np.ndarray, np.ndarray]] = []
        while len(rows) < self.settings.ruled:
            which = int(self.random.integers(len(self.voices)))
            part = _window(len(self.voices[which]), self.settings.window, self.random)
            rows.append((self.voices[which][part], self.ruled[which][:, part]))
        features, curves = (np.stack(column) for column in zip(*rows, strict=True))
        return self.shake(features), torch.from_numpy(curves)

    def shake(self, features: np.ndarray) -> Tensor:
        """Timbre, loudness and pitch height say little and differ between voices: they are shaken."""
        shape = (len(features), 1, features.shape[2])
        return torch.from_numpy(
            (features + self.random.normal(0, self.settings.noise, shape)).astype(np.float32)
        )


def train_generator(
    footage: Sequence[Filmed],
    voices: Sequence[np.ndarray],
    path: Path,
    settings: GeneratorTraining | None = None,
    report: Callable[[dict[str, float]], None] | None = None,
) -> ExpressionGenerator:
    """Train the generator.

    Per step: filmed windows with their style given, the same with the emotion heard from the voice, and
    voices without film under the rules, whose content is decoded with the emotion heard in a filmed
    window (cross-reconstruction: the rules know the answer for any pair of content and style). What is
    kept is a running mean of the weights: film is short, and single steps learn it by heart.

    Args:
        footage: filmed voices.
        voices: normalised features [T,163] of other voices; may be empty.
        path: where the safetensors file goes.
        settings: see `GeneratorTraining`.
        report: called every 50 steps.

    Raises:
        TrainingError: no footage, or the loss is no longer finite.
    """
    settings = settings or GeneratorTraining()
    if not footage or max(len(f.features) for f in footage) < settings.window:
        raise TrainingError(f"The expression generator needs at least {settings.window} frames of footage.")
    torch.manual_seed(settings.seed)
    generator = ExpressionGenerator().train()
    averaged = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(settings.average), use_buffers=True)
    optimizer = torch.optim.AdamW(
        generator.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    sampler = _Sampler(footage, voices, settings)
    weight = torch.ones(52)
    weight[[*BROWS_UP, *BROWS_DOWN, *SMILE]] = settings.core_weight
    ruled_weight = torch.zeros(52)
    ruled_weight[list(_RULED)] = settings.core_weight

    def distance(curves: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        still = ((curves - target).abs() * weights).mean() + 2 * ((curves - target) ** 2 * weights).mean()
        moving = ((curves.diff(dim=1) - target.diff(dim=1)).abs() * weights).mean()
        return still + settings.velocity_weight * moving

    begin = time.monotonic()
    for step in range(settings.steps):
        share = max(step / settings.steps, (time.monotonic() - begin) / (60 * settings.minutes))
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = (
                settings.learning_rate * min(1, (step + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * share))
            )
        features, curves, style = sampler.filmed()
        content = generator.hear_content(features)
        heard = generator.hear_emotion(features)
        given = generator.styles(style)
        loss = distance(generator.decode(content, given), curves, weight)
        loss = loss + settings.heard_weight * distance(generator.decode(content, heard), curves, weight)
        loss = loss + settings.class_weight * F.cross_entropy(generator.classify(heard).mT, style)
        loss = loss + settings.class_weight * F.mse_loss(heard, given.detach())
        if sampler.voices:
            other, ruled = sampler.ruled_windows()
            sound = generator.hear_content(other)
            rows = torch.arange(len(other))
            asked = torch.from_numpy(sampler.random.integers(0, len(STYLES), len(other)))
            plain = distance(
                generator.decode(sound, generator.styles(asked)), ruled[rows, asked], ruled_weight
            )
            # The emotion heard at one moment of filmed window i on the content of ruled voice i.
            moments = torch.from_numpy(
                sampler.random.integers(settings.window // 2, settings.window, len(other))
            )
            who = rows % len(features)
            crossed = generator.decode(sound, heard[who, moments])
            cross = distance(crossed, ruled[rows, style[who, moments]], ruled_weight)
            loss = loss + settings.ruled_weight * plain + settings.cross_weight * cross
        if not torch.isfinite(loss):
            raise TrainingError(f"The expression generator diverged at step {step}; lower its learning rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(generator)
        if report and (step + 1) % 50 == 0:
            report({"step": step + 1, "loss": float(loss.detach()), "seconds": time.monotonic() - begin})
    kept = cast(ExpressionGenerator, averaged.module)
    kept.eval().save(path)
    return kept
