"""Training of the audio-visual encoder (paper Eq. 1-3): first the sync expert, then the encoder under its
eyes."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from synctalk.errors import TrainingError
from synctalk.face_sync.audio_visual_encoder import (
    FEATURES,
    AudioVisualEncoder,
    ConvBlock,
    fused_blocks,
    silent_windows,
)
from synctalk.face_sync.mouth_measures import MOUTH_MEASURES, lip_images
from synctalk.face_sync.sync_expert import SyncExpert, sync_loss, sync_probability
from synctalk.logs import get_logger
from synctalk.training.audio_visual_data import Clips
from synctalk.training.audio_visual_networks import FaceEncoder, LipDecoder, ReadOuts
from synctalk.training.mel_augment import MelAugment

_log = get_logger(__name__)
Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class EncoderTraining:
    """Settings of one training run."""

    minutes: float = 40.0
    """Wall-clock budget; the learning rate follows a cosine over it."""
    steps: int | None = None
    """Do exactly so many steps instead, however long they take; the learning rate follows them."""
    batch: int = 32
    """Windows per step (small: on a CPU the number of steps is what is scarce)."""
    learning_rate: float = 1.5e-3
    """Peak rate of AdamW."""
    final_rate: float = 0.01
    """Share of the peak rate left at the end."""
    weight_decay: float = 0.01
    negatives: int = 6
    """Mouths of other times of the same clip that each window is told apart from."""
    still: float = 0.125
    """Share of each batch in which nobody speaks: mostly noise and nothing else, to be read as shut."""
    loyalty: float = 0.2
    """Going on from other weights: cost of straying from what those made of the same window unchanged. It
    keeps the meaning of each feature, and what noise hid is learnt from what was heard without it."""
    settling: int = 200
    """Going on from other weights: steps at first in which only the read-outs and decoders learn."""
    keep: float = 0.998
    """Decay of the running average of the weights, which is what is saved."""
    freeze_after: float = 0.4
    """Share of the run after which the six lowest blocks rest: they settle first and cost half of a step."""
    bfloat16: bool = True
    """Compute the encoder's convolutions in bfloat16 (twice as fast where the CPU has it)."""
    seed: int = 0


@dataclass(frozen=True)
class ExpertTraining:
    """Settings of the sync expert's training."""

    minutes: float = 5.0
    """Wall-clock budget; the learning rate follows a cosine over it."""
    steps: int | None = None
    """End after so many steps if the time is not up before."""
    batch: int = 192
    """Pairs per step."""
    learning_rate: float = 1.5e-3
    """Peak rate of AdamW."""
    negatives: int = 8
    """Mouths of other times of the same clip per true pair."""
    seed: int = 0


def sampling_weights(clips: Clips) -> np.ndarray:
    """How often each frame is drawn: closed lips and tucked lips more, deep silence less; sums to 1."""
    weights = np.ones(len(clips))
    weights[clips.motion[:, 6] > 0.5] = 2.0
    weights[clips.motion[:, 7] > 0.5] = 1.5
    weights[clips.quiet] = 0.35  # `EncoderTraining.still` brings its own
    return weights / weights.sum()


class MouthScale:
    """Measures in the expert's units (zero mean, unit spread over the corpus), with another face for each
    draw."""

    def __init__(self, clips: Clips) -> None:
        self.mean = clips.measures.mean(0)
        self.spread = clips.measures.std(0)

    def normal(self, measures: np.ndarray) -> np.ndarray:
        """[..., 11] eye distances -> the expert's units."""
        return ((measures - self.mean) / self.spread).astype(np.float32)

    def other_faces(self, mouths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Another size and rest of each measure per draw, and a landmark finder's jitter: [B, K, W, 11]."""
        shape = (len(mouths), 1, 1, len(MOUTH_MEASURES))
        size = np.exp(0.15 * rng.standard_normal(shape))
        rest = 0.25 * rng.standard_normal(shape)
        jitter = rng.uniform(0.0, 0.2, (len(mouths), 1, 1, 1)) * rng.standard_normal(mouths.shape)
        return (mouths * size + rest + jitter).astype(np.float32)


def _other_times(clips: Clips, frames: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Frames of the same clips, at least 2 frames away, most within 15: int [B, count]."""
    starts, stops = clips.bounds()
    low, high = starts[clips.clip[frames]][:, None], stops[clips.clip[frames]][:, None] - 1
    step = np.where(
        rng.random((len(frames), count)) < 0.7,
        rng.integers(2, 16, (len(frames), count)),
        rng.integers(10, 60, (len(frames), count)),
    )
    step = step * rng.choice([-1, 1], step.shape)
    other = frames[:, None] + step
    other = np.where((other < low) | (other > high), frames[:, None] - step, other)
    return np.clip(other, low, high)


def _pairs(
    clips: Clips, frames: np.ndarray, scale: MouthScale, negatives: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mouth windows [B, 1 + negatives, 5, 11], the true one first, and which negatives really differ [B, 1
    + n]."""
    others = _other_times(clips, frames, negatives, rng)
    everything = np.concatenate([frames[:, None], others], axis=1)
    mouths = clips.mouths(everything.reshape(-1)).reshape(*everything.shape, 5, len(MOUTH_MEASURES))
    normal = scale.normal(mouths)
    differs = np.abs(normal - normal[:, :1]).mean((2, 3)) > 0.25  # the same still mouth is no negative
    differs[:, 0] = True
    return torch.from_numpy(scale.other_faces(normal, rng)), torch.from_numpy(differs)


def _contrast(
    audio: Tensor, faces: Tensor, differs: Tensor, quiet: Tensor, temperature: float = 0.07
) -> tuple[Tensor, Tensor]:
    """Eq. 2 on the true pair and on the others, and a softmax over the same similarities.

    audio [B, D], faces [B, 1 + n, D]; other clips' mouths are negatives too, but two mouths at rest are
    (quiet, bool [B]) not told apart. Returns the loss and the accuracy.
    """
    similarity = sync_probability(faces, audio[:, None])
    labels = torch.zeros_like(similarity)
    labels[:, 0] = 1.0
    positive = sync_loss(similarity[:, 0], labels[:, 0])
    negative = sync_loss(similarity[differs & (labels == 0)], labels[differs & (labels == 0)])
    across = F.normalize(audio, dim=1, eps=1e-6) @ F.normalize(faces[:, 0], dim=1, eps=1e-6).T
    logits = torch.cat([similarity, across], dim=1) / temperature
    alike = torch.eye(len(audio), dtype=torch.bool) | (quiet[:, None] & quiet[None])
    logits = logits.masked_fill(torch.cat([~differs, alike], dim=1), -1e4)
    choice = F.cross_entropy(logits, torch.zeros(len(audio), dtype=torch.long))
    correct = (similarity.masked_fill(~differs, -1).argmax(1) == 0).float().mean()
    return positive + negative + 0.5 * choice, correct


def _channels_last(module: nn.Module) -> None:
    """Lay out 4-d weights with channels last, in place: what the convolutions are fastest with."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


_LOWER = 6  # blocks that may be frozen: those before time is strided
EVERY = 20  # steps between two updates of the running average, and two meetings of processes


def _same_everywhere(module: nn.Module) -> None:
    """Under torch.distributed, every process starts from the weights of the first."""
    if dist.is_initialized():
        for value in module.state_dict().values():
            dist.broadcast(value, 0)


def _average_weights(module: nn.Module) -> None:
    """Under torch.distributed, the mean weights of all processes (local SGD); alone, nothing."""
    if not dist.is_initialized():
        return
    values = [v for v in module.state_dict().values() if v.is_floating_point()]
    flat = torch.cat([v.flatten() for v in values])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for value, mean in zip(values, flat.split([v.numel() for v in values]), strict=True):
        value.copy_(mean.view_as(value))


def first_process_says(value: float) -> float:
    """The first process's value, so that all stop at the same step."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(shared, 0)
    return float(shared)


class Clock:
    """Share of a wall-clock budget that has gone (`gone` of it before), and the learning rate there."""

    def __init__(self, minutes: float, peak: float, final: float = 0.01, gone: float = 0.0) -> None:
        self._seconds = minutes * 60
        self._start = time.monotonic() - gone * self._seconds
        self._peak, self._final = peak, final

    @property
    def gone(self) -> float:
        return (time.monotonic() - self._start) / self._seconds

    def rate(self, gone: float | None = None) -> float:
        gone = self.gone if gone is None else gone
        warm = min(1.0, 0.1 + gone / 0.03)
        cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, gone))
        return self._peak * warm * (self._final + (1 - self._final) * cosine)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def train_expert(clips: Clips, settings: ExpertTraining, report: Report | None = None) -> SyncExpert:
    """Eq. 1-2: a discriminator of pairs in and out of sync, on augmented sound and other faces.

    Raises TrainingError when there are too few clips.
    """
    if len(clips) < 500:
        raise TrainingError(f"{len(clips)} frames are too few to train on; synthesise more of the corpus.")
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    expert, augment, scale = SyncExpert(), MelAugment(settings.seed), MouthScale(clips)
    optimizer = torch.optim.AdamW(expert.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    weights, clock, step = sampling_weights(clips), Clock(settings.minutes, settings.learning_rate), 0
    draws = np.cumsum(weights)
    speech, quiet = torch.from_numpy(clips.speech_level_db()), torch.from_numpy(clips.quiet)
    while clock.gone < 1.0 and step != settings.steps:
        frames = np.searchsorted(draws, rng.random(settings.batch)).clip(0, len(clips) - 1)
        windows = augment(torch.from_numpy(clips.windows(frames)), speech[frames]).transpose(1, 2)
        mouths, differs = _pairs(clips, frames, scale, settings.negatives, rng)
        faces = expert.embed_mouth(mouths.flatten(0, 1)).unflatten(0, mouths.shape[:2])
        loss, correct = _contrast(expert.embed_audio(windows), faces, differs, quiet[frames])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        _set_rate(optimizer, clock.rate())
        optimizer.step()
        step += 1
        if report and (step % 50 == 0 or step == settings.steps):
            report(
                {"step": step, "loss": float(loss.detach()), "correct": float(correct), "gone": clock.gone}
            )
    return expert.eval()


class EncoderTrainer:
    """The encoder, its companions and the losses; `step()` draws a batch and moves the weights.

    `save` and `load` keep everything that the next step depends on (weights, running average, optimiser,
    random draws), so a run that was stopped goes on as if it had not been.
    """

    def __init__(
        self,
        clips: Clips,
        expert: SyncExpert,
        settings: EncoderTraining,
        encoder: AudioVisualEncoder | None = None,
    ) -> None:
        if len(clips) < 500:
            raise TrainingError(
                f"{len(clips)} frames are too few to train on; synthesise more of the corpus."
            )
        torch.manual_seed(settings.seed)
        self.settings, self.expert = settings, expert.eval().requires_grad_(False)
        self._teacher = None if encoder is None else fused_blocks(encoder.audio_encoder)
        self.encoder = (encoder or AudioVisualEncoder()).train()
        _channels_last(self.encoder)
        self.heads, self.face, self.decoder = ReadOuts(), FaceEncoder(), LipDecoder()
        self.average = copy.deepcopy(self.encoder).requires_grad_(False)
        self._modules = nn.ModuleList([self.encoder, self.heads, self.face, self.decoder])
        decayed = [p for p in self._modules.parameters() if p.ndim > 1]
        plain = [p for p in self._modules.parameters() if p.ndim <= 1]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": settings.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            fused=True,
        )
        _same_everywhere(self._modules)
        self._rank = dist.get_rank() if dist.is_initialized() else 0
        self._rng = np.random.default_rng((settings.seed, self._rank))
        self._augment = MelAugment(settings.seed + 1000 * self._rank)
        self._silence = torch.from_numpy(silent_windows())
        self._closed = torch.zeros(FEATURES) if self._teacher is None else self._taught(self._silence)[0]
        self._lower: nn.Sequential | None = None
        self.steps = 0
        self.use(clips)

    def use(self, clips: Clips) -> None:
        """Go on with these clips (more of the corpus, say)."""
        self.clips, self._scale = clips, MouthScale(clips)
        self._draws = np.cumsum(sampling_weights(clips))
        self._speech = torch.from_numpy(clips.speech_level_db())
        self._rests = np.flatnonzero(clips.quiet)
        self._targets = (
            torch.from_numpy(clips.motion), torch.from_numpy(self._scale.normal(clips.measures)),
            torch.from_numpy(clips.opening), torch.from_numpy(clips.phone), torch.from_numpy(clips.quiet),
        )  # fmt: skip

    def step(self, rate: float) -> dict[str, float]:
        """One step at a learning rate; returns the losses."""
        frames, windows, plain = self._batch()
        index = torch.from_numpy(frames)
        quiet = self._targets[4][index]
        batch = windows[:, None].contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bfloat16):
            features = self._encode(batch)
        features = features.float()
        losses = self._losses(features, index, frames, quiet)
        if self._teacher is not None and not self._settling:
            half = len(frames) // 2  # frames in no order, apart from the still ones, which come first
            strayed = (features[:half] - self._taught(plain[:half])).square().mean()
            losses["loyalty"] = (self.settings.loyalty, strayed)
        total = torch.stack([weight * value for weight, value in losses.values()]).sum()
        if not torch.isfinite(total):
            raise TrainingError(
                f"The loss became {float(total)} at step {self.steps}; lower the learning rate."
            )
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self._modules.parameters(), 5.0)
        _set_rate(self._optimizer, rate)
        self._optimizer.step()
        self.steps += 1
        if self.steps % EVERY == 0:
            with torch.no_grad():
                _average_weights(self._modules)
                self._remember()
        return {"total": float(total.detach()), **{k: float(v.detach()) for k, (_, v) in losses.items()}}

    @property
    def _settling(self) -> bool:
        return self._teacher is not None and self.steps < self.settings.settling

    def _batch(self) -> tuple[np.ndarray, Tensor, Tensor]:
        """Frames [B], their windows [B, 80, 16] as a microphone may hear them, and unchanged.

        In the first `still` of them nobody speaks: six in ten hear noise alone, two in ten nothing at all,
        the others what was recorded there, with noise under it like everywhere.
        """
        settings, clips, rng = self.settings, self.clips, self._rng
        frames = np.searchsorted(self._draws, rng.random(settings.batch)).clip(0, len(clips) - 1)
        still = round(settings.still * settings.batch) if len(self._rests) else 0
        frames[:still] = self._rests[rng.integers(0, len(self._rests), still)]
        plain = torch.from_numpy(clips.windows(frames))
        windows = self._augment(plain, self._speech[frames])
        kind = torch.from_numpy(rng.random(still))
        alone = torch.where(
            (kind < 0.6)[:, None, None], self._augment.noise_alone(still), self._silence.transpose(1, 2)
        )
        windows[:still] = torch.where((kind < 0.8)[:, None, None], alone, windows[:still])
        plain[:still] = self._silence[0].T
        return frames, windows.transpose(1, 2), plain.transpose(1, 2)

    @torch.no_grad()
    def _taught(self, windows: Tensor) -> Tensor:
        """What the weights that training went on from make of windows [B, 80, 16]: [B, 512]."""
        assert self._teacher is not None
        batch = windows[:, None].contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bfloat16):
            features = self._teacher(batch)
        return features.flatten(1).float()

    def save(self, path: Path, gone: float = 0.0) -> None:
        """Write everything the next step depends on; `gone` is the share of the run that is done."""
        state = {
            "settings": json.dumps(asdict(self.settings)),
            "gone": gone,
            "steps": self.steps,
            "frozen": self._lower is not None,
            "modules": self._modules.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "teacher": None if self._teacher is None else self._teacher.state_dict(),
            "closed": self._closed,
            "augment": self._augment.state,
            "rng": json.dumps(self._rng.bit_generator.state),
        }
        unfinished = path.with_suffix(".tmp")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def load(self, path: Path) -> float:
        """Go on from where `save` was called, with the same clips exactly; returns its `gone`.

        Raises TrainingError when the file is unreadable or of a run with other settings.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            settings = json.loads(state["settings"])
        except Exception as error:  # torch raises UnpicklingError, RuntimeError, OSError or EOFError here
            raise TrainingError(
                f"{path} cannot be read as the state of a training ({error}). Delete it to begin anew."
            ) from error
        if settings != asdict(self.settings) or (state["teacher"] is None) != (self._teacher is None):
            raise TrainingError(
                f"{path} belongs to a training with other settings. Delete it to begin anew, or give the "
                "settings it was begun with."
            )
        self._modules.load_state_dict(state["modules"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._teacher is not None:
            self._teacher.load_state_dict(state["teacher"])
        self._closed, self._augment.state = state["closed"], state["augment"]
        self._rng.bit_generator.state = json.loads(state["rng"])
        self.steps = state["steps"]
        if state["frozen"]:
            self.freeze_lower_blocks()
        return state["gone"]

    def freeze_lower_blocks(self) -> None:
        """From now on the six lowest blocks are fixed (their batch norms too)."""
        if self._lower is None:
            lower = nn.Sequential(*list(self.encoder.audio_encoder)[:_LOWER])
            lower.requires_grad_(False)
            self._lower = fused_blocks(lower)

    def _encode(self, batch: Tensor) -> Tensor:
        if self._settling:  # the weights it went on from are still its own
            with torch.no_grad():
                assert self._teacher is not None
                return self._teacher(batch).flatten(1)
        if self._lower is None:
            return self.encoder(batch)
        with torch.no_grad():
            batch = self._lower(batch)
        return self.encoder.audio_encoder[_LOWER:](batch).flatten(1)

    def _losses(
        self, features: Tensor, index: Tensor, frames: np.ndarray, quiet: Tensor
    ) -> dict[str, tuple[float, Tensor]]:
        motion, measures, opening, phone, _ = self._targets
        out = self.heads(features)
        around = (index[:, None] + torch.tensor([-1, 0, 1])).clamp(0, len(self.clips) - 1)
        closed = 0.02  # openings below this count as shut
        target = opening[around]
        miss = out["opening"] - target
        # a shut mouth may be read as 'more than shut', but never as open; and a wide one not as shut
        shut = (target < closed).float()
        gap = (1 - shut) * miss.square() * (1 + (target > 0.5)) + 3.0 * shut * out["opening"].clamp_min(
            0.0
        ).square()
        weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 1.5, 1.0])
        articulators = ((out["articulators"] - motion[index]).square() * weight).mean()
        shape = F.smooth_l1_loss(out["measures"], measures[index])
        phones = F.cross_entropy(out["phones"].flatten(0, 1), phone[around].flatten(), label_smoothing=0.05)
        losses = {
            "opening": (6.0, gap.mean()),
            "articulators": (4.0, articulators),
            "measures": (1.0, shape),
            "phones": (0.3, phones),
        }
        mouths, differs = _pairs(self.clips, frames, self._scale, self.settings.negatives, self._rng)
        with torch.no_grad():
            faces = self.expert.embed_mouth(mouths.flatten(0, 1)).unflatten(0, mouths.shape[:2])
        sync, _ = _contrast(out["sync"], faces, differs, quiet)
        losses["sync"] = (0.25, sync)
        losses["picture"] = (
            2.0,
            self._reconstruction(features[: len(frames) // 2], frames[: len(frames) // 2]),
        )
        if quiet.any():
            if self._teacher is None:
                mean = features[quiet].mean(0).detach()
                self._closed = mean if self.steps == 0 else 0.98 * self._closed + 0.02 * mean
            spread = features.detach().var(0).mean().clamp_min(1e-4)
            losses["silence"] = (0.2, (features[quiet] - self._closed).square().mean() / spread)
        return losses

    def _reconstruction(self, features: Tensor, frames: np.ndarray) -> Tensor:
        """Eq. 3: the picture of the lips now, from the sound and a picture of the same lips at another
        time."""
        other = _other_times(self.clips, frames, 1, self._rng)[:, 0]
        size = torch.from_numpy(
            np.exp(0.08 * self._rng.standard_normal((len(frames), 11))).astype(np.float32)
        )
        now = lip_images(torch.from_numpy(self.clips.measures[frames]) * size)
        then = lip_images(torch.from_numpy(self.clips.measures[other]) * size)
        return (self.decoder(features, self.face(then)) - now).abs().mean()

    def _remember(self) -> None:
        keep = min(self.settings.keep, self.steps / (self.steps + 20.0)) ** EVERY
        for mine, theirs in zip(
            self.average.state_dict().values(), self.encoder.state_dict().values(), strict=True
        ):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - keep)

    def result(self) -> AudioVisualEncoder:
        """The averaged encoder, its features scaled to unit standard deviation over the clips' speech."""
        encoder = copy.deepcopy(self.average).eval()
        return scale_features(encoder, self.clips)


def scale_features(encoder: AudioVisualEncoder, clips: Clips, frames: int = 3000) -> AudioVisualEncoder:
    """Fold a scale into the last batch norm so that each feature has unit standard deviation; ReLU lets it
    through.

    Features that never fire keep their weights.
    """
    chosen = np.linspace(0, len(clips) - 1, min(frames, len(clips))).astype(int)
    windows = clips.windows(chosen).transpose(0, 2, 1)
    spread = torch.cat(
        [encoder.encode_windows(w) for w in np.array_split(windows, max(1, len(windows) // 128))]
    ).std(0)
    scale = torch.where(spread > 1e-3, 1.0 / spread.clamp_min(1e-3), torch.ones_like(spread))
    last = encoder.audio_encoder[-1]
    assert isinstance(last, ConvBlock)
    with torch.no_grad():
        last.norm.weight.mul_(scale)
        last.norm.bias.mul_(scale)
    return encoder.train(False)
