"""Training of the Torso Restorer (Section III-F, Eq. 28-29): holes cut around the chin, healed again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from synctalk.errors import TrainingError
from synctalk.half_precision import has_bfloat16
from synctalk.logs import get_logger
from synctalk.torso.masks import cheeks_and_chin
from synctalk.torso.restorer import TorsoRestorer
from synctalk.training.perceptual import PerceptualLoss

log = get_logger(__name__)


class TorsoFootage(Protocol):
    """What the restorer learns from: frames of one subject."""

    frames: np.ndarray  # uint8 [T,H,W,3]
    mattes: np.ndarray  # uint8 [T,3,H,W]: face, head, person
    landmarks68: np.ndarray  # float32 [T,68,2] px
    train: np.ndarray  # int64 [n], frames that may be used


@dataclass(frozen=True)
class TorsoTraining:
    """Settings of the restorer's training."""

    minutes: float = 2.0  # wall-clock bound; the fast profile's budget
    steps: int = 3000  # upper bound
    batch: int = 4
    crop: tuple[int, int] = (160, 224)  # height, width around the jaw, at 512 px
    widening_px: tuple[float, float] = (10.0, 30.0)  # the paper's random range at 512 px
    rotation_deg: float = 15.0  # source frames are turned, for poses the footage lacks
    scale: tuple[float, float] = (0.9, 1.15)
    erosion_px: float = 4.0  # a rendered face can be smaller than the matte
    partial: float = 0.5  # how often only a stretch of the seam is cut, as where only the chin has moved
    tint: float = 0.0  # spread of random colour casts, for a restorer that is to meet other people
    learning_rate: float = 2e-3
    perceptual_weight: float = 0.3
    perceptual_every: int = 2  # steps between perceptual terms; they cost as much as all the rest
    least_steps: int = 300  # are made even if the minutes are over: on a busy machine they pass quickly
    seed: int = 0

    @classmethod
    def shared(cls) -> "TorsoTraining":
        """For the restorer that ships with the library: several people, under changing colours."""
        return cls(minutes=15.0, steps=8000, tint=0.06, learning_rate=3e-3)


def _lines(landmarks: np.ndarray) -> tuple[float, float]:
    """Image rows of eyes and mouth, from landmarks [68,2]."""
    return float(landmarks[36:48, 1].mean()), float(landmarks[48:60, 1].mean())


def cut_hole(
    frame: np.ndarray,
    face: np.ndarray,
    landmarks: np.ndarray,
    generator: np.random.Generator,
    settings: TorsoTraining,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One training example: a turned crop around the jaw with a hole between face and background.

    Args:
        frame: uint8 [H,W,3].
        face: uint8 [H,W], the face matte.
        landmarks: float32 [68,2] px.
        generator: source of the random widening, turn, scale and shift.
        settings: ranges.

    Returns:
        target float32 [h,w,3] in [0,1], face alpha float32 [h,w], widened mask float32 [h,w].
    """
    height, width = settings.crop
    unit = frame.shape[0] / 512
    jaw = landmarks[2:15]
    centre = np.array([jaw[:, 0].mean(), 0.3 * _lines(landmarks)[0] + 0.7 * jaw[:, 1].max()])
    centre += generator.normal(0, 8, 2) * unit
    scale = generator.uniform(*settings.scale) / unit
    turn = cv2.getRotationMatrix2D(
        tuple(centre.tolist()), float(generator.uniform(-settings.rotation_deg, settings.rotation_deg)), scale
    )
    turn[:, 2] += np.array([width / 2, height / 2]) - centre
    if generator.random() < 0.5:
        turn = np.array([[-1, 0, width - 1], [0, 1, 0]]) @ np.vstack([turn, [0, 0, 1]])
    target = cv2.warpAffine(frame, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    matte = cv2.warpAffine(face, turn, (width, height))
    points = landmarks @ turn[:, :2].T + turn[:, 2]
    reach = float(generator.uniform(*settings.widening_px))
    widened = cheeks_and_chin(matte, *_lines(points), reach).astype(np.float32)
    if generator.random() < settings.partial:
        widened *= _stretch(points[3:14], widened.shape, generator)
    shrink = float(generator.uniform(0, settings.erosion_px))
    inside = (matte >= 128).astype(np.uint8)
    kept = (cv2.distanceTransform(inside, cv2.DIST_L2, 3) > shrink).astype(np.float32)
    alpha = cv2.GaussianBlur(kept, (0, 0), float(generator.uniform(0.8, 2.0)))
    return _tinted(target.astype(np.float32) / 255, generator, settings.tint), alpha, widened


def _stretch(jaw: np.ndarray, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """float32 [h,w], 1 around a random stretch of the jaw line `jaw` [n,2] px."""
    first = int(generator.integers(0, len(jaw) - 2))
    last = int(generator.integers(first + 2, len(jaw) + 1))
    kept = np.zeros(shape[:2], np.float32)
    line = np.round(jaw[first:last]).astype(np.int32)
    cv2.polylines(kept, [line], False, 1.0, thickness=int(generator.integers(50, 90)))
    return kept


def _tinted(picture: np.ndarray, generator: np.random.Generator, spread: float) -> np.ndarray:
    """A picture float32 [h,w,3] in [0,1] under a random colour cast."""
    if spread == 0:
        return picture
    gain = np.exp(generator.normal(0, spread, 3) + generator.normal(0, spread)).astype(np.float32)
    return np.clip(picture * gain, 0, 1)


def _batch(
    footage: list[TorsoFootage], generator: np.random.Generator, settings: TorsoTraining
) -> tuple[Tensor, Tensor, Tensor]:
    examples: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while len(examples) < settings.batch:
        subject = footage[int(generator.integers(len(footage)))]
        index = int(generator.choice(subject.train))
        if not np.isfinite(subject.landmarks68[index]).all():
            continue
        examples.append(
            cut_hole(
                np.asarray(subject.frames[index]),
                np.asarray(subject.mattes[index, 0]),
                subject.landmarks68[index],
                generator,
                settings,
            )
        )
    targets, alphas, widened = (np.stack(part) for part in zip(*examples, strict=True))
    return (
        torch.from_numpy(targets).permute(0, 3, 1, 2),
        torch.from_numpy(alphas)[:, None],
        torch.from_numpy(widened)[:, None],
    )


def train_torso(
    footage: TorsoFootage | list[TorsoFootage],
    path: Path,
    start: Path | None = None,
    settings: TorsoTraining | None = None,
    report: Callable[[dict[str, float]], None] | None = None,
) -> TorsoRestorer:
    """Train or fine-tune a restorer with Eq. 29: pixel loss in the hole + perceptual loss.

    Args:
        footage: one subject, or several for a shared restorer.
        path: where the safetensors file goes.
        start: weights to start from; None starts new.
        settings: defaults are the fast profile's.
        report: called every 25 steps with step, loss, pixel, perceptual.

    Raises:
        TrainingError: no usable frame, or the loss is no longer finite.
    """
    settings = settings or TorsoTraining()
    subjects = footage if isinstance(footage, list) else [footage]
    for subject in subjects:
        if not np.isfinite(subject.landmarks68[subject.train]).all(axis=(1, 2)).any():
            raise TrainingError("The torso restorer found no frame with a face to learn from.")
    torch.manual_seed(settings.seed)
    generator = np.random.default_rng(settings.seed)
    restorer = TorsoRestorer.load(start, torch.float32) if start else TorsoRestorer()
    restorer.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    perceptual = PerceptualLoss()
    optimizer = torch.optim.Adam(restorer.parameters(), lr=settings.learning_rate)
    seen = torch.zeros(())
    begin = time.monotonic()
    step = 0
    while (share := _progress(step, time.monotonic() - begin, settings)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / 20) * (1 - share) ** 0.9
        targets, alphas, widened = _batch(subjects, generator, settings)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
            results = restorer(targets * alphas, alphas, targets, widened).float()
        hole = (1 - alphas) * widened
        pixel = (results - targets).abs().sum() / (3 * hole.sum().clamp_min(1))  # 0 outside the hole
        loss = pixel
        if step % settings.perceptual_every == 0:
            with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
                seen = _perceptual(perceptual, results, targets).float()
            loss = loss + settings.perceptual_every * settings.perceptual_weight * seen
        if not torch.isfinite(loss):
            raise TrainingError(f"The torso restorer diverged at step {step}; lower its learning rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(restorer.parameters(), 1.0)
        optimizer.step()
        step += 1
        if report and step % 25 == 0:
            values = {"loss": loss, "pixel": pixel, "perceptual": seen}
            report({"step": step} | {name: float(value.detach()) for name, value in values.items()})
    restorer.eval().save(path)
    log.info("Torso restorer: %d steps in %.0f s, kept in %s.", step, time.monotonic() - begin, path)
    return restorer


def _progress(step: int, seconds: float, settings: TorsoTraining) -> float:
    """How much of the training is done; 1 and more is all of it."""
    in_time = min(seconds / (60 * settings.minutes), step / settings.least_steps)
    return max(step / settings.steps, in_time)


def _perceptual(distance: PerceptualLoss, results: Tensor, targets: Tensor) -> Tensor:
    """Mean perceptual distance of [B,3,h,w] pictures."""
    pairs = zip(results.permute(0, 2, 3, 1), targets.permute(0, 2, 3, 1), strict=True)
    return torch.stack([distance(result, distance.features(target)) for result, target in pairs]).mean()


@torch.inference_mode()
def hole_psnr(
    restorer: TorsoRestorer | None,
    footage: TorsoFootage,
    frames: np.ndarray,
    settings: TorsoTraining | None = None,
) -> float:
    """PSNR in dB inside holes cut in frames never trained on.

    Args:
        restorer: the one to judge; None leaves the hole as what a plain dark gap shows (zeros).
        footage: the subject.
        frames: int [n], indices.
        settings: ranges of the holes; the same seed cuts the same holes.
    """
    settings = replace(settings or TorsoTraining(), partial=0.0, tint=0.0)
    generator = np.random.default_rng(settings.seed + 1)
    squared, pixels = 0.0, 0.0
    for index in frames:
        target, alpha, widened = cut_hole(
            np.asarray(footage.frames[index]),
            np.asarray(footage.mattes[index, 0]),
            footage.landmarks68[index],
            generator,
            settings,
        )
        hole = (1 - alpha) * widened
        if restorer:
            result = restorer.fill(target * alpha[..., None], alpha, target, widened)
        else:
            result = target * (1 - hole[..., None])
        squared += float(((result - target) ** 2).mean(-1)[hole > 0.5].sum())
        pixels += float((hole > 0.5).sum())
    return float(-10 * np.log10(max(squared / max(pixels, 1), 1e-10)))
