"""The two stages of the portrait's optimisation (Eq. 21-24): canonical head first, then everything.

Read `train_portrait` top to bottom; `PortraitTraining` says what every number is for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from synctalk.errors import TrainingError
from synctalk.logs import get_logger
from synctalk.portrait.model import PortraitModel
from synctalk.portrait.settings import PortraitSettings
from synctalk.training.fitting import Fit
from synctalk.training.fitting_crops import PortraitDataset
from synctalk.training.fitting_guard import Checkpoints, frozen, interrupt_flag

log = get_logger(__name__)
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class PortraitTraining:
    """How a portrait is trained; the two profiles differ only in length and, with it, in one rate."""

    canonical_steps: int = 1000
    """Stage 1: the head at rest. Short, because the start already lies on the fitted face."""
    deform_steps: int = 69000
    """Stage 2: everything. Most of the budget: lips are what viewers look at."""
    max_gaussians: int = 20000
    """Upper bound; rendering time is proportional to it."""
    start_fraction: float = 0.6
    """Part of the bound that is there from the start; the rest goes where the pictures ask for it. A training
    that goes on from an earlier one starts with those that there are."""
    densify_every: int = 200
    """Steps between rounds of pruning and splitting: long enough to average over poses."""
    densify_until: float = 0.5
    """Part of all steps after which the number of Gaussians is fixed, so that they can settle."""
    minimum_opacity: float = 0.02
    """Fainter Gaussians are pruned: five of them together would not show."""
    largest_scale: float = 0.25
    """Gaussians wider than 2.5 cm are pruned: nothing on a head is that smooth."""
    mix_mouth: float = 0.4
    """Part of the steps spent on mouth crops."""
    mix_eyes: float = 0.15
    """Part of the steps spent on eye and brow crops."""
    mix_head: float = 0.07
    """Part of the steps spent on the whole head; the rest sees patches of it."""
    outline_share: float = 0.5
    """Part of the patches that lie on the outline of the head, where two fifths of the error sit."""
    lip_weight: float = 2.0
    """Extra weight of pixels inside the mouth box in crops that show more than the mouth."""
    dssim_weight: float = 0.2
    """Share of D-SSIM against L1, as in 3D Gaussian Splatting."""
    perceptual_canonical: float = 0.005
    """Weight of the perceptual distance in stage 1."""
    perceptual_deform: float = 0.01
    """Weight in stage 2, higher as the paper asks."""
    perceptual_every: int = 2
    """Steps between perceptual terms; it is the dearest loss."""
    alpha_weight: float = 0.1
    """Weight of the alpha loss: the head must end where its matte ends."""
    squared_weight: float = 2.0
    """Weight of the squared difference of colours and alpha outside mouth crops: mattes waver from frame to
    frame, and the mean of what they say is a better guess than the median. A mouth would blur."""
    silent_share: float = 0.1
    """Least part of the mouth crops that show a pause: a mouth at rest is seldom drawn for its variety."""
    offset_weight: float = 0.01
    """Weight of the mean offset: what need not move stays, and costs nothing at inference."""
    lips_noise: float = 0.15
    """Noise on the encoder features, in their standard deviations: other voices will not sound the same."""
    voice_offset: float = 0.3
    """Spread of an offset shared by the frames of a window, shaped like the features themselves and in their
    standard deviations: what another voice does to all it says."""
    lips_dropout: float = 0.3
    """Part of the features that a window goes without: lips that hang on a few fail with other voices."""
    code_weight: float = 1e-3
    """Weight of the squared lip code. Its scale is free, as later weights can make up for it; left to itself
    it ran away in one of two trainings, to fourteen times the other's, and the lips were lost with it."""
    shut_weight: float = 2.0
    """How often, against other frames, lips that meet in the midst of speech are drawn: P, B and M are short,
    and a mouth half shut on them is what viewers notice."""
    lr_means: float = 1.6e-4
    """Positions, head units per step; decays to a hundredth."""
    lr_sh: float = 2.5e-3
    """Colours."""
    lr_opacities: float = 0.03
    """Opacity logits."""
    lr_scales: float = 4e-3
    """Logarithms of scales."""
    lr_quats: float = 1e-3
    """Rotations."""
    lr_shifts: float = 1e-3
    """Moves of the means with the view, head units per standard deviation of it."""
    lr_planes: float = 3e-3
    """Triplane entries."""
    lr_networks: float = 3e-4
    """Heads, deformation and attention. At 2e-3 lips and lids began to move only once the rate had decayed to
    half of that, and the attention had turned away from blinks by then: after 2500 steps, 300 of them stage
    1, Ada's lids in held-out frames stood at 23.1 dB with 2e-3, at 28.9 with 3e-4 and at 25.5 with 1.5e-4."""
    lr_end: float = 0.03
    """Factor that learning rates reach at the last step."""
    lr_again: float = 0.4
    """Factor of the learning rates when a training goes on from an earlier one: enough to move, not to
    forget. In single runs of 1500 steps lips then shut on 26 of 29 P, B, M of another voice with 0.4, and on
    23 with 0.25 (when `lr_networks` was 2e-3; not tried again since)."""
    worst_factor: float = 3.0
    """A smoothed loss this many times its best means divergence: go back to the last good state."""
    snapshot_every: int = 500
    """Steps between good states kept in memory."""
    checkpoint_every_s: float = 150.0
    """Seconds between checkpoints on disk."""
    validate_every: int = 2000
    """Steps between looks at held-out frames."""
    validation_frames: int = 8
    """Held-out frames per look."""
    seed: int = 0
    """Seed of every random choice."""
    predicted: str = "sh_opacity"
    """Attributes read from the triplane (Table IV)."""
    core_only: bool = False
    """Drive the upper face by the paper's core seven alone, without the gaze."""

    @property
    def steps(self) -> int:
        """Steps of both stages."""
        return self.canonical_steps + self.deform_steps

    @classmethod
    def full(cls) -> "PortraitTraining":
        """About an hour on two cores."""
        return cls()

    @classmethod
    def fast(cls) -> "PortraitTraining":
        """About eight minutes on two cores. So short a training needs a higher rate: with 3e-4 Ben's lips
        were off by 1.28 px and his lids stood at 30.6 dB, with 1e-3 by 1.25 px and at 32.8 dB."""
        return cls(deform_steps=11000, densify_every=100, lr_networks=1e-3)


def portrait_settings(training: PortraitTraining) -> PortraitSettings:
    """The architecture that goes with a training run: DESIGN's drivers of the two halves."""
    from synctalk.face_sync.blendshapes import CORE_SEVEN, EYE_LOOK, SMILE

    upper = tuple(CORE_SEVEN) if training.core_only else (*CORE_SEVEN, *EYE_LOOK)
    return PortraitSettings(upper=upper, lower=tuple(SMILE), predicted=training.predicted)


def train_portrait(
    data: PortraitDataset,
    training: PortraitTraining,
    out_dir: str | Path,
    resume: bool = True,
    report: Report | None = None,
    *,
    start_from: str | Path | None = None,
    make_temporal: Callable[[], nn.Module] | None = None,
    make_facial: Callable[..., nn.Module] | None = None,
) -> PortraitModel:
    """Train a portrait on `data`; the checkpoint `out_dir/portrait_checkpoint.pt` makes it resumable.

    `report` receives plain values about every two seconds, and `psnr_head`, `psnr_mouth`, `psnr_lids` of
    held-out frames at validations. `start_from` is the folder of an earlier training of the same head, whose
    steps count: a run without a checkpoint of its own goes on from there. The attention modules default to
    the Face-Sync Controller's.

    Raises:
        TrainingError: the data has no head in its mattes, the checkpoint is damaged, or the optimisation
            diverged again and again.
        KeyboardInterrupt: after Ctrl-C, when the checkpoint is written.
    """
    if make_temporal is None or make_facial is None:
        from synctalk.face_sync.attention import FacialAwareAttention, TemporalAudioAttention

        make_temporal = make_temporal or TemporalAudioAttention
        make_facial = make_facial or FacialAwareAttention
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(out / "portrait_checkpoint.pt", training.checkpoint_every_s)
    fit = Fit(data, training, portrait_settings(training), make_temporal, make_facial)
    saved = checkpoints.load() if resume else None
    if saved is None and start_from is not None:
        saved = earlier_state(Path(start_from))
    if saved is not None:
        fit.load_state(saved)
        log.info("Resuming the portrait at step %d of %d", fit.step, training.steps)
    good = frozen(fit.state())
    reported = time.monotonic()
    with interrupt_flag() as stop:
        while fit.step < training.steps:
            values = fit.advance()
            if values is None:
                fit.restore(good)
                continue
            if fit.step % training.snapshot_every == 0:
                good = frozen(fit.state())
            if report is not None and fit.step % training.validate_every == 0:
                values |= fit.validate(training.validation_frames)
            if report is not None and ("psnr_head" in values or time.monotonic() - reported > 2):
                report(values)
                reported = time.monotonic()
            if stop.is_set() or checkpoints.due() or fit.step == training.steps:
                checkpoints.save(fit.state())
            if stop.is_set():
                raise KeyboardInterrupt
    return fit.finish()


def earlier_state(folder: Path) -> dict[str, Any]:
    """Where another training stopped, without what its loss watch remembers of its footage, ready to go on:
    learning rates rise again, and there may be more Gaussians.

    Raises:
        TrainingError: the folder holds no checkpoint.
    """
    saved = Checkpoints(folder / "portrait_checkpoint.pt", 0).load()
    if saved is None:
        raise TrainingError(f"{folder} holds no portrait_checkpoint.pt to start from.")
    counts = {"begun": saved["step"], "count": len(saved["model"]["canonical.means"])}
    return {**saved, **counts, "smooth": {}, "rate": 1.0, "restores": 0}


def profile(name: str) -> PortraitTraining:
    """`fast` or `full`; raises ValueError for another name."""
    profiles = {"fast": PortraitTraining.fast, "full": PortraitTraining.full}
    if name not in profiles:
        raise ValueError(f"profile must be fast or full, not {name!r}")
    return profiles[name]()
