"""Training of the codebook (Section III-E, Eq. 25-27): the shared part, then one subject's decoder."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synctalk.errors import TrainingError
from synctalk.expression.codebook import COEFFICIENTS, Codebook, recent_peak
from synctalk.face_sync.blendshapes import CORE_SEVEN, SMILE

_KNEE, _ROOM = 0.88, 0.07  # in units of the range: from where inputs are bent, and how far they may still go
_EDGE = 0.97  # outputs beyond this are pushed back


@dataclass(frozen=True)
class CodebookTraining:
    """Settings of the codebook's training."""

    steps: int = 1500
    minutes: float = 12.0  # wall-clock bound
    least_steps: int = 250  # taken however long they take: fewer leave a decoder that is not the subject's
    batch: int = 12
    window: int = 72  # frames
    learning_rate: float = 2e-3
    largest_scale: float = 2.5  # inputs are magnified up to this: coefficients of livelier people
    magnified: float = 0.4  # share of windows that are
    softened: float = 0.3  # share whose coefficients each shrink by a factor of their own
    mixed: float = 0.3  # share with some coefficients from another window
    core_weight: float = 4.0  # brows, lids and smile count more than the rest
    velocity_weight: float = 0.5
    quiet: float = 0.02  # in units of the range: movement smaller than this counts as this
    seed: int = 0


def into_range(relative: Tensor, memory: int) -> Tensor:
    """What a window should become: divided by its own recent peak where that nears or leaves the range.

    Below 0.88 of the range nothing changes; a raise that went too far keeps its shape on the way down
    and ends below the range's edge, so that nothing needs clipping. Only the past is looked at, as the
    codebook does.

    Args:
        relative: [B,T,52] in units of the subject's range.
        memory: frames the peak is remembered.
    """
    relative = relative.clamp_min(0)
    peak = recent_peak(relative, memory)
    bent = _KNEE + _ROOM * torch.tanh((peak - _KNEE) / _ROOM)
    return relative * torch.where(peak > _KNEE, bent / peak.clamp_min(_KNEE), 1.0)


class _Windows:
    """Draws windows of all subjects in units of their ranges, magnified, softened and mixed."""

    def __init__(
        self, subjects: Sequence[np.ndarray], codebook: Codebook, settings: CodebookTraining
    ) -> None:
        self.settings = settings
        self.random = np.random.default_rng(settings.seed)
        self.ranges: list[tuple[Tensor, Tensor]] = []
        self.clips: list[Tensor] = []
        for own in subjects:
            codebook.set_range(own)
            low, high = codebook.low.clone(), codebook.high.clone()
            self.ranges.append((low, high))
            self.clips.append((torch.from_numpy(own) - low) / (high - low))

    def draw(self) -> Tensor:
        """Float32 [B,W,52]."""
        s, random = self.settings, self.random
        windows = []
        for _ in range(s.batch):
            clip = self.clips[int(random.integers(len(self.clips)))]
            first = int(random.integers(len(clip) - s.window + 1))
            windows.append(clip[first : first + s.window])
        batch = torch.stack(windows)

        def some(share: float) -> Tensor:
            return torch.from_numpy(random.random((s.batch, 1, 1)) < share)

        strangers = torch.from_numpy(random.random((s.batch, 1, COEFFICIENTS)) < 0.5) & some(s.mixed)
        batch = torch.where(strangers, batch.roll(1, 0), batch)
        soft = torch.from_numpy(random.uniform(0.2, 1.0, (s.batch, 1, COEFFICIENTS))).float()
        batch = torch.where(some(s.softened), batch * soft, batch)
        scale = torch.from_numpy(random.uniform(1, s.largest_scale, (s.batch, 1, 1))).float()
        return torch.where(some(s.magnified), batch * scale, batch)


def train_codebook(
    subjects: Sequence[np.ndarray],
    path: Path,
    start: Path | None = None,
    settings: CodebookTraining | None = None,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Codebook:
    """Train encoder, codebook and decoder on several subjects, or fine-tune the decoder for one.

    Errors count in units of each window's own movement, so that small coefficients and quiet moments come
    through as well as large ones.

    Args:
        subjects: coefficients float32 [T,52] of each subject.
        path: where the safetensors file goes.
        start: a shared codebook; its encoder and entries are then kept and only the decoder learns.
        settings: see `CodebookTraining`.
        report: called every 50 steps with step, loss, error (in ranges), perplexity (mean of the stages),
            revived.

    Raises:
        TrainingError: too little footage, or the loss is no longer finite.
    """
    settings = settings or CodebookTraining()
    curves = [np.asarray(c, np.float32)[np.isfinite(c).all(1)] for c in subjects]
    curves = [c for c in curves if len(c) >= settings.window]
    if not curves:
        raise TrainingError(f"The codebook needs at least {settings.window} frames with a face.")
    torch.manual_seed(settings.seed)
    codebook = Codebook.load(start).train() if start else Codebook().train()
    windows = _Windows(curves, codebook, settings)
    if start:
        for part in (
            codebook.enter,
            codebook.encoder,
            codebook.to_codes,
            codebook.pass_in,
            codebook.quantizer,
        ):
            part.requires_grad_(False)
    optimizer = torch.optim.Adam(
        [p for p in codebook.parameters() if p.requires_grad], lr=settings.learning_rate, betas=(0.9, 0.98)
    )
    weight = torch.ones(COEFFICIENTS)
    weight[[*CORE_SEVEN, *SMILE]] = settings.core_weight
    weight = weight / weight.mean()
    begin = time.monotonic()
    revived = 0
    for step in range(settings.steps):
        spent = (time.monotonic() - begin) / (60 * settings.minutes)
        share = max(step / settings.steps, min(spent, step / settings.least_steps))
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = (
                settings.learning_rate * min(1, (step + 1) / 50) * (0.5 + 0.5 * np.cos(np.pi * share))
            )
        batch = windows.draw()
        target = into_range(batch, codebook.settings.memory)
        quantized = codebook.quantizer(codebook.encode(batch))
        decoded = codebook.decode(quantized.codes)
        missed = decoded - target
        importance = weight / (target.std(1, keepdim=True) + settings.quiet)
        error = (missed.abs() * importance).mean()
        moving = (missed.diff(dim=1).abs() * importance).mean()
        beyond = (decoded - _EDGE).clamp_min(0).mean()
        loss = error + settings.velocity_weight * moving + 60 * beyond + (0.0 if start else quantized.loss)
        if not torch.isfinite(loss):
            raise TrainingError(f"The codebook diverged at step {step}; lower its learning rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in codebook.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        if not start and share < 0.8:  # entries settle in the end
            revived += codebook.quantizer.track(quantized)
        if report and (step + 1) % 50 == 0:
            report(
                {
                    "step": step + 1,
                    "loss": float(loss.detach()),
                    "error": float(missed.detach().abs().mean()),
                    "perplexity": float(np.mean(codebook.quantizer.perplexity(quantized.indices))),
                    "revived": revived,
                }
            )
    # One subject's file carries that subject's range; the shared one the widest seen.
    codebook.low.copy_(torch.stack([low for low, _ in windows.ranges]).amin(0))
    codebook.high.copy_(torch.stack([high for _, high in windows.ranges]).amax(0))
    codebook.eval().save(path)
    return codebook
