"""`synctalk train`: a video of a person who agreed -> an avatar and a report page, top to bottom."""

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
import torch

from synctalk.avatar import Avatar
from synctalk.consent import Consent
from synctalk.errors import TrainingError
from synctalk.evaluation.reconstruction import Evaluation, measure
from synctalk.face_sync.attention import FacialAwareAttention, TemporalAudioAttention
from synctalk.logs import get_logger
from synctalk.portrait.model import load_portrait
from synctalk.portrait.renderer import PortraitRenderer
from synctalk.speech.audio import load_audio
from synctalk.torso.restorer import TorsoRestorer
from synctalk.training.codebook import CodebookTraining
from synctalk.training.dataset import Dataset
from synctalk.training.expression_sheet import expression_sheet
from synctalk.training.fitting_crops import PortraitDataset
from synctalk.training.footage_grain import footage_grain
from synctalk.training.footage_voice import voice_like
from synctalk.training.live import LiveLine, read_history
from synctalk.training.other_parts import other_parts_meanwhile, train_other_parts
from synctalk.training.pack import quiet_frame, seal_avatar, write_files
from synctalk.training.preprocess import PreprocessSettings, fast, preprocess
from synctalk.training.report import HeldOut, write_report
from synctalk.training.stages import PortraitTraining, earlier_state, train_portrait
from synctalk.training.torso import TorsoTraining

log = get_logger(__name__)

PROFILES = ("fast", "full")
OWN_LICENCE = {"id": "other", "text": "All rights stay with the person shown."}


@dataclass(frozen=True)
class TrainSettings:
    """Everything `synctalk train` may vary."""

    profile: str = "full"
    """The name kept in avatar.json."""
    preprocess: PreprocessSettings = field(default_factory=PreprocessSettings)
    """Which footage is used."""
    portrait: PortraitTraining = field(default_factory=PortraitTraining.full)
    """The two stages."""
    torso: TorsoTraining = field(default_factory=lambda: TorsoTraining(minutes=5.0))
    """Fine-tuning of the torso restorer."""
    codebook: CodebookTraining = field(default_factory=lambda: CodebookTraining(minutes=1.5))
    """Fine-tuning of the expression codebook's decoder."""
    sheet_frames: int = 6
    """Held-out frames shown in the report."""
    evaluated_frames: int = 250
    """Held-out frames measured at the end, from their beginning; `synctalk evaluate` measures all."""

    @classmethod
    def of(cls, profile: str) -> "TrainSettings":
        """`fast`: under 15 minutes on two cores; `full`: under two hours.

        Raises:
            TrainingError: another name.
        """
        if profile == "full":
            return cls()
        if profile == "fast":
            return cls(
                profile="fast",
                preprocess=fast(),
                portrait=PortraitTraining.fast(),
                torso=TorsoTraining(minutes=1.5),
                codebook=CodebookTraining(minutes=0.5),
                evaluated_frames=100,
            )
        raise TrainingError(f"There is no profile '{profile}'; choose {' or '.join(PROFILES)}.")


def train_avatar(
    video: Path | str,
    name: str,
    consent: Consent,
    out: Path | str,
    work: Path | str,
    settings: TrainSettings | None = None,
    licence: Mapping[str, str] | None = None,
    report: Callable[[str], None] = log.info,
    voice: str | None = None,
    start_from: Path | str | None = None,
) -> Avatar:
    """Makes an avatar. Run it again with the same arguments to go on after an interruption.

    Args:
        video: footage of one person speaking, with sound; minutes of it.
        name: lower-case letters, digits, - and _.
        consent: the person's agreement; see `synctalk.consent.read`.
        out: the avatar folder.
        work: dataset, checkpoints and parts; may be deleted afterwards.
        settings: see there.
        licence: `id` and `text` for the avatar.
        report: takes one line per step.
        voice: reads texts for the avatar; None takes one like the voice in the footage.
        start_from: the work folder of an earlier training of this person: the portrait goes on from there,
            and its steps count among those of `settings`.

    Raises:
        TrainingError, VideoError, AudioError: what is wrong with the footage or the folders.
        KeyboardInterrupt: Ctrl-C, after the checkpoint is written.
    """
    settings = settings or TrainSettings()
    check_name(name)
    out, work = Path(out), Path(work)
    work.mkdir(parents=True, exist_ok=True)
    dataset = preprocess(video, work / "dataset", settings.preprocess, report)
    preprocessing = sum(dataset.about["seconds"].values()) / 60
    worked = sum(dataset.about.get("processor_seconds", {}).values()) / 60
    with Stopwatch(work / "minutes.json") as watch:
        report(f"{len(dataset.train)} frames to train on, {len(dataset.validation)} held out")
        with other_parts_meanwhile(work, settings.torso, settings.codebook):
            _train_portrait_part(dataset, work, settings.portrait, report, start_from)
        train_other_parts(dataset, work, settings.torso, settings.codebook, report)
        write_files(dataset, work, out)
        report("avatar files written")
        evaluation, grain = evaluate_held_out(dataset, out, settings)
        facts: dict[str, Any] = {
            "profile": settings.profile,
            "seconds_of_video": round(dataset.kept / 25, 1),
            "steps": settings.portrait.steps,
            **({"started_from": earlier_training(Path(start_from))} if start_from is not None else {}),
            "preprocessing_s": dataset.about["seconds"],
            "minutes": round(preprocessing + watch.minutes(), 1),
            "processor_minutes": round(worked + watch.processor_minutes(), 1),
            **peak_memory(),
            "evaluation": {key: round(value, 4) for key, value in evaluation.figures.items()},
        }
        voice = voice or voice_like(load_audio(dataset.about["video"]))
        avatar = seal_avatar(dataset, out, name, consent, licence or OWN_LICENCE, facts, voice, grain)
        expression_sheet(avatar, out / "report" / "expressions.jpg", quiet_frame(dataset))
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
        write_report(
            out / "report.html",
            name,
            read_history(work / "history.jsonl"),
            evaluation,
            {
                "Profile": settings.profile,
                "Footage used": f"{facts['seconds_of_video']} s",
                "Time, whole command": f"{facts['minutes']} min",
                "Steps": str(settings.portrait.steps),
                "Avatar": f"{size:.1f} MB",
            },
        )
    return avatar


def check_name(name: str) -> None:
    """Raises TrainingError unless the name can be a folder and part of a hub id."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name):
        raise TrainingError(f"'{name}' cannot be a name: use up to 40 lower-case letters, digits, - and _.")


class Stopwatch:
    """Minutes spent after preprocessing, in all runs of one training together, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        before = json.loads(path.read_text()) if path.is_file() else {}
        self._before = float(before.get("minutes", 0)), float(before.get("processor_minutes", 0))

    def minutes(self) -> float:
        """By the clock, so far."""
        return self._before[0] + (time.monotonic() - self._start[0]) / 60

    def processor_minutes(self) -> float:
        """In the processor, all threads and finished helper processes together, so far."""
        return self._before[1] + (_processor_seconds() - self._start[1]) / 60

    def __enter__(self) -> "Stopwatch":
        self._start = time.monotonic(), _processor_seconds()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        spent = {"minutes": self.minutes(), "processor_minutes": self.processor_minutes()}
        self._path.write_text(json.dumps(spent))


def _processor_seconds() -> float:
    """Of this process and of those it has waited for."""
    return sum(os.times()[:4])


def peak_memory() -> dict[str, int]:
    """`peak_memory_mb` of this process and its largest helper together, mapped pages of the dataset included;
    empty where nobody counts."""
    try:
        import resource
    except ImportError:  # Windows
        return {}
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return {"peak_memory_mb": sum(resource.getrusage(kind).ru_maxrss for kind in kinds) // 1024}


def earlier_training(work: Path) -> dict[str, float]:
    """Steps and minutes (`steps`, `minutes`) that an earlier training in the folder `work` took.

    Raises:
        TrainingError: it holds no training.
    """
    steps = int(earlier_state(work)["step"])
    minutes = float(json.loads((work / "minutes.json").read_text())["minutes"])
    seconds = sum(Dataset(work / "dataset").about["seconds"].values())
    return {"steps": steps, "minutes": round(minutes + seconds / 60, 1)}


def _train_portrait_part(
    dataset: Dataset,
    work: Path,
    training: PortraitTraining,
    report: Callable[[str], None],
    start_from: Path | str | None,
) -> None:
    """Stages 1 and 2; the checkpoint makes a finished run return at once."""
    line = LiveLine(work / "history.jsonl")
    try:
        model = train_portrait(
            cast(PortraitDataset, dataset), training, work, report=line, start_from=start_from
        )
    finally:
        line.close()
    model.save(work / "portrait.safetensors")
    report("portrait trained")


def evaluate_held_out(dataset: Dataset, out: Path, settings: TrainSettings) -> tuple[Evaluation, float]:
    """Figures on held-out frames by the inference path, from the files as they will ship; and the grain."""
    rows = dataset.validation[: settings.evaluated_frames]
    model = load_portrait(out / "portrait.safetensors", TemporalAudioAttention, FacialAwareAttention)
    renderer = PortraitRenderer(model, dataset.size, dataset.size, torch.as_tensor(dataset.K))
    first = int(dataset.source_index[rows[0]])
    sound = load_audio(dataset.about["video"])[first * 640 : (first + len(rows)) * 640]
    chosen = rows[np.linspace(0, len(rows) - 1, min(settings.sheet_frames, len(rows))).astype(int)]
    held_out = HeldOut(out / "report", dataset.size, chosen.tolist(), (sound, 16000))
    restorer = TorsoRestorer.load(out / "torso.safetensors")
    grain = footage_grain(renderer, dataset)
    evaluation = measure(renderer, restorer, dataset, rows, on_frame=held_out, grain=grain)
    held_out.close()
    return evaluation, grain
