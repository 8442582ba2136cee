"""A run of the encoder's training from its first step to its last, in one process or several, resumable."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from synctalk.errors import TrainingError
from synctalk.face_sync.audio_visual_encoder import AudioVisualEncoder
from synctalk.face_sync.sync_expert import SyncExpert
from synctalk.logs import get_logger
from synctalk.training.audio_visual import (
    EVERY,
    Clock,
    EncoderTrainer,
    EncoderTraining,
    Report,
    first_process_says,
)
from synctalk.training.audio_visual_data import Clips

_log = get_logger(__name__)
_SAVES = 20  # times that a run writes its state


def train_encoder(
    clips: Clips,
    expert: SyncExpert,
    settings: EncoderTraining,
    folder: Path | None = None,
    report: Report | None = None,
    refresh: Callable[[], Clips | None] | None = None,
    encoder: AudioVisualEncoder | None = None,
) -> AudioVisualEncoder:
    """Eq. 1-3 with read-outs that care about closure, for `settings.minutes` or `settings.steps`.

    Args:
        clips: what to train on.
        expert: the frozen judge of Eq. 2.
        settings: of the run.
        folder: the state of the run is kept there (a file for each process, deleted at the end); a run that
            was stopped and is started again with the same clips and settings goes on exactly.
        report: told the losses every 50 steps.
        refresh: asked for a larger corpus whenever the state is written.
        encoder: weights to go on from.

    Under torch.distributed (`train_in_processes`) the processes average their weights every few steps.

    Raises:
        TrainingError: too few clips, a loss that is not finite, or a state of another run in the folder.
    """
    trainer = EncoderTrainer(clips, expert, settings, encoder)
    rank = dist.get_rank() if dist.is_initialized() else 0
    state = None if folder is None else folder / f"encoder_training_{rank}.pt"
    gone = 0.0
    if state is not None and state.exists():
        gone = trainer.load(state)
        _log.info("going on from step %d (%.0f %% done)", trainer.steps, 100 * gone)
    clock = Clock(settings.minutes, settings.learning_rate, settings.final_rate, gone)
    saved = int(gone * _SAVES)
    while gone < 1.0:
        if gone >= settings.freeze_after:
            trainer.freeze_lower_blocks()
        losses = trainer.step(clock.rate(gone))
        if settings.steps is not None:
            gone = trainer.steps / settings.steps
        elif trainer.steps % EVERY == 0:  # processes must agree on the end
            gone = first_process_says(clock.gone)
        if report and trainer.steps % 50 == 0:
            report({"step": trainer.steps, "gone": gone, **losses})
        if trainer.steps % EVERY == 0 and int(gone * _SAVES) > saved:
            saved = int(gone * _SAVES)
            if state is not None:
                trainer.save(state, gone)
            if refresh is not None and (more := refresh()) is not None:
                trainer.use(more)
    if state is not None:
        state.unlink(missing_ok=True)
    return trainer.result()


def train_in_processes(
    count: int,
    clips: Clips,
    expert: SyncExpert,
    settings: EncoderTraining,
    folder: Path,
    encoder: AudioVisualEncoder | None = None,
) -> AudioVisualEncoder:
    """`train_encoder` in several processes of one thread each, which a CPU likes better than more threads.

    Raises TrainingError when a process ends early.
    """
    with tempfile.TemporaryDirectory(dir=folder) as meeting:
        result = Path(meeting) / "encoder.safetensors"
        try:
            torch.multiprocessing.spawn(
                _one_of_them,
                (count, Path(meeting), result, clips, expert, settings, folder, encoder),
                nprocs=count,
            )
        except torch.multiprocessing.ProcessRaisedException as error:
            raise TrainingError(f"A training process failed: {error}") from error
        except torch.multiprocessing.ProcessExitedException as error:
            raise TrainingError(f"A training process was ended: {error}") from error
        return AudioVisualEncoder.from_pretrained(result)


def _one_of_them(
    rank: int,
    count: int,
    meeting: Path,
    result: Path,
    clips: Clips,
    expert: SyncExpert,
    settings: EncoderTraining,
    folder: Path,
    encoder: AudioVisualEncoder | None,
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}/meet", rank=rank, world_size=count)
    try:
        tell = log_losses if rank == 0 else None
        trained = train_encoder(clips, expert, settings, folder, tell, encoder=encoder)
        if rank == 0:
            trained.save_pretrained(result)
    finally:
        dist.destroy_process_group()


def log_losses(values: dict[str, float]) -> None:
    """A line of the log every 500 steps."""
    if int(values["step"]) % 500 == 0:
        _log.info("  ".join(f"{k} {v:.3g}" for k, v in values.items()))
