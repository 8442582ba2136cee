"""`synctalk train-encoder`: make the corpus, train the sync expert and the audio-visual encoder, measure
them."""

import argparse
import json
from pathlib import Path

import torch

from synctalk.errors import TrainingError
from synctalk.face_sync.audio_visual_encoder import WEIGHTS, AudioVisualEncoder
from synctalk.face_sync.sync_expert import WEIGHTS as EXPERT_WEIGHTS
from synctalk.face_sync.sync_expert import SyncExpert
from synctalk.logs import get_logger, progress
from synctalk.training.audio_visual import EncoderTraining, ExpertTraining, train_expert
from synctalk.training.audio_visual_data import prepare
from synctalk.training.audio_visual_run import log_losses, train_encoder, train_in_processes
from synctalk.training.corpus.recipe import Speaker, synthesise
from synctalk.training.corpus.shards import Utterance, corpus_folder, read_corpus

_log = get_logger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("encoder"), help="folder for weights and report"
    )
    parser.add_argument(
        "--corpus", type=Path, default=corpus_folder(), help="folder of the corpus (kept, resumed)"
    )
    parser.add_argument(
        "--synthesise",
        type=float,
        metavar="HOURS",
        help="first make this much speech (train and 5 %% unseen)",
    )
    parser.add_argument("--voices", type=Path, help="folder of Kokoro voices (npm pack kokoro-js carries 54)")
    parser.add_argument("--minutes", type=float, default=60.0, help="training time of the encoder")
    parser.add_argument("--steps", type=int, help="train for so many steps instead, however long they take")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate of the encoder")
    parser.add_argument(
        "--processes", type=int, default=1, help="processes of one thread each (the number of cores, say)"
    )
    parser.add_argument(
        "--expert-minutes",
        type=float,
        default=6.0,
        help="training time of the expert; 0 takes the embedded one",
    )
    parser.add_argument("--variants", type=int, default=2, help="augmented copies of each utterance")
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the corpus to use, for a curve over its size"
    )
    parser.add_argument(
        "--start-from", type=Path, help="encoder weights to go on from, keeping what each feature means"
    )
    parser.add_argument(
        "--freeze-after",
        type=float,
        default=0.4,
        metavar="SHARE",
        help="share of the run after which the lower half of the layers rests (0: from the first step)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument(
        "--evaluate",
        action="store_true",
        help="train nothing, only measure the weights of --out or the embedded ones",
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure the encoder on unchanged speech of unseen voices only"
    )
    parser.add_argument(
        "--real",
        type=Path,
        metavar="FOLDER",
        help="recordings with phones (NAME.wav, NAME.json) for the report",
    )


def run(args: argparse.Namespace) -> int:
    """Synthesise, train and report, as asked."""
    if args.threads:
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.synthesise:
        _synthesise(args.corpus, args.synthesise, args.voices)
    train = _corpus(args.corpus, "train")
    train = train[: max(1, round(args.share * len(train)))]
    if not args.evaluate:
        _train(args, train)
    return _report(args, train)


def _corpus(folder: Path, name: str) -> list[Utterance]:
    found = list(read_corpus(folder, name))
    if not found:
        raise TrainingError(
            f"There is no '{name}' speech in {folder}. Make some with --synthesise HOURS --voices FOLDER."
        )
    return found


def _synthesise(folder: Path, hours: float, voices: Path | None) -> None:
    from synctalk.speech.kokoro import Kokoro

    speaker: Speaker = Kokoro(voices=voices)
    for unseen, wanted in ((False, hours), (True, 0.05 * hours)):
        bar = progress(total=round(wanted * 60), label="unseen voices" if unseen else "corpus", unit="minute")
        for done in synthesise(folder, speaker, wanted, unseen):
            bar.n = min(round(done * 60), bar.total)
            bar.refresh()
        bar.close()


def _train(args: argparse.Namespace, train: list[Utterance]) -> None:
    _log.info(
        "%.2f hours of speech by %d voices",
        sum(u.seconds for u in train) / 3600,
        len({u.main_voice for u in train}),
    )
    clips = prepare(train, args.variants)

    if args.expert_minutes > 0:
        expert = train_expert(clips, ExpertTraining(minutes=args.expert_minutes), log_losses)
        expert.save_pretrained(args.out / EXPERT_WEIGHTS)
    else:
        expert = SyncExpert.from_pretrained()
    start = AudioVisualEncoder.from_pretrained(args.start_from) if args.start_from else None
    settings = EncoderTraining(
        minutes=args.minutes, steps=args.steps, learning_rate=args.rate, freeze_after=args.freeze_after
    )
    if args.processes > 1:
        encoder = train_in_processes(args.processes, clips, expert, settings, args.out, start)
    else:
        encoder = train_encoder(clips, expert, settings, args.out, log_losses, encoder=start)
    encoder.save_pretrained(args.out / WEIGHTS)
    _log.info("weights: %s", args.out / WEIGHTS)


def _report(args: argparse.Namespace, train: list[Utterance]) -> int:
    from synctalk.training.audio_visual_report import full_report, save_plots

    own = args.out / WEIGHTS
    encoder = AudioVisualEncoder.from_pretrained(own if own.exists() else None)
    own_expert = args.out / EXPERT_WEIGHTS
    expert = SyncExpert.from_pretrained(own_expert if own_expert.exists() else None)
    unseen = _corpus(args.corpus, "unseen")
    report, curves = full_report(encoder, expert, train, unseen, args.real, args.quick)
    (args.out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    save_plots(curves, args.out / "report.png")
    for kind, rows in report["conditions"].items():
        _log.info("%s:", kind)
        for name, row in rows.items():
            figures = (f"{k} {v:.3f}" for k, v in row.items() if k != "frames" and v is not None)
            _log.info("%-16s %s", name, "  ".join(figures))
    for name in ("noise_only", "real", "silence", "expert"):
        if name in report:
            _log.info("%s: %s", name, json.dumps(report[name]))
    _log.info("report: %s", args.out / "report.json")
    return 0
