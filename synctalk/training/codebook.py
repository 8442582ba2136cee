"""Training of the codebook (Section III-E, Eq. 25-27): the shared part, then one subject's decoder."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synctalk.errors import TrainingError
from synctalk.expression.codebook import Codebook


@dataclass(frozen=True)
class CodebookTraining:
    """Settings of the codebook's training."""

    steps: int = 4000
    minutes: float = 12.0  # wall-clock bound
    batch: int = 16
    window: int = 64  # frames
    learning_rate: float = 1e-3
    largest_scale: float = 2.5  # inputs are magnified up to this: coefficients of livelier people
    seed: int = 0


def into_range(curves: Tensor, low: Tensor, high: Tensor, memory: int) -> Tensor:
    """What a magnified window should become: divided by its own recent peak where that left the range.

    Coefficients that stay in the range are untouched; a raise that went too far keeps its shape. Only the
    past is looked at, as the codebook does.

    Args:
        curves: [B,T,52].
        low, high: [52], the subject's range.
        memory: frames the peak is remembered.
    """
    span = high - low
    relative = ((curves - low) / span).clamp_min(0)
    padded = F.pad(relative.transpose(1, 2), (memory, 0))
    peak = F.max_pool1d(padded, memory + 1, stride=1).transpose(1, 2)
    return low + span * relative / peak.clamp_min(1)


def train_codebook(
    subjects: Sequence[np.ndarray],
    path: Path,
    start: Path | None = None,
    settings: CodebookTraining | None = None,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Codebook:
    """Train encoder, codebook and decoder on several subjects, or fine-tune the decoder for one.

    Args:
        subjects: coefficients float32 [T,52] of each subject.
        path: where the safetensors file goes.
        start: a shared codebook; its encoder and entries are then kept and only the decoder learns.
        settings: see `CodebookTraining`.
        report: called every 50 steps with step, loss, perplexity, revived.

    Raises:
        TrainingError: too little footage, or the loss is no longer finite.
    """
    settings = settings or CodebookTraining()
    curves = [np.asarray(c, np.float32)[np.isfinite(c).all(1)] for c in subjects]
    curves = [c for c in curves if len(c) >= settings.window]
    if not curves:
        raise TrainingError(f"The codebook needs at least {settings.window} frames with a face.")
    torch.manual_seed(settings.seed)
    random = np.random.default_rng(settings.seed)
    codebook = Codebook.load(start).train() if start else Codebook().train()
    ranges = []
    for own in curves:
        codebook.set_range(own)
        ranges.append((codebook.low.clone(), codebook.high.clone()))
    if start:
        for part in (codebook.enter, codebook.encoder, codebook.to_codes, codebook.quantizer):
            part.requires_grad_(False)
    optimizer = torch.optim.Adam(
        [p for p in codebook.parameters() if p.requires_grad], lr=settings.learning_rate
    )
    begin = time.monotonic()
    revived = 0
    for step in range(settings.steps):
        share = max(step / settings.steps, (time.monotonic() - begin) / (60 * settings.minutes))
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = (
                settings.learning_rate * min(1, (step + 1) / 50) * (0.5 + 0.5 * np.cos(np.pi * share))
            )
        who = int(random.integers(len(curves)))
        low, high = ranges[who]
        codebook.low.copy_(low)
        codebook.high.copy_(high)
        firsts = random.integers(0, len(curves[who]) - settings.window + 1, settings.batch)
        batch = torch.from_numpy(np.stack([curves[who][f : f + settings.window] for f in firsts]))
        scale = torch.from_numpy(random.uniform(1, settings.largest_scale, (settings.batch, 1, 1))).float()
        scale[torch.rand(settings.batch) < 0.5] = 1.0
        magnified = low + (batch - low) * scale
        target = into_range(magnified, low, high, codebook.settings.memory)
        latents = codebook.encode(magnified)
        quantized = codebook.quantizer(latents)
        decoded = codebook.decode(quantized.codes)
        span = high - low
        error = F.smooth_l1_loss((decoded - target) / span, torch.zeros_like(target), beta=0.05)
        moving = (((decoded - target) / span).diff(dim=1)).abs().mean()
        loss = error + 0.5 * moving + (0.0 if start else quantized.loss)
        if not torch.isfinite(loss):
            raise TrainingError(f"The codebook diverged at step {step}; lower its learning rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if not start:
            revived += codebook.quantizer.track(quantized.indices, latents.detach())
        if report and (step + 1) % 50 == 0:
            report(
                {
                    "step": step + 1,
                    "loss": float(loss.detach()),
                    "error": float(error.detach()),
                    "perplexity": codebook.quantizer.perplexity(quantized.indices),
                    "revived": revived,
                }
            )
    # One subject's file carries that subject's range; the shared one the widest seen.
    codebook.low.copy_(torch.stack([low for low, _ in ranges]).amin(0))
    codebook.high.copy_(torch.stack([high for _, high in ranges]).amax(0))
    codebook.eval().save(path)
    return codebook
