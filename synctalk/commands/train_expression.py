"""`synctalk train-expression`: train the shared expression generator and codebook, and measure them."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--clip",
        nargs=2,
        action="append",
        required=True,
        metavar=("VIDEO", "CURVES"),
        help="a video (or its sound) and an NPZ with its coefficients: 'weights' or 'bs52' [T,52], and "
        "optionally 'style' [T] with 'style_names'; may be given several times",
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("expression"), help="folder for the weights")
    parser.add_argument("--minutes", type=float, default=20.0, help="training time of the generator")
    parser.add_argument("--codebook-minutes", type=float, default=12.0, help="training time of the codebook")
    parser.add_argument(
        "--corpus", type=Path, help="corpus of `synctalk train-encoder`: more voices, under expression rules"
    )
    parser.add_argument("--corpus-minutes", type=float, default=30.0, help="how much of the corpus to use")
    parser.add_argument("--held-out", type=float, default=0.1, help="share at each clip's end to measure on")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import numpy as np

    from synctalk.evaluation.expression import compare, judge_codebook
    from synctalk.expression.voice import RunningVoice, voice_features
    from synctalk.logs import progress
    from synctalk.speech.audio import load_audio
    from synctalk.training.codebook import CodebookTraining, train_codebook
    from synctalk.training.corpus.recipe import UNSEEN_VOICES
    from synctalk.training.corpus.shards import read_corpus
    from synctalk.training.expression import (
        Filmed,
        GeneratorTraining,
        filmed,
        read_curves,
        train_generator,
    )

    clips, faces = [], []
    for video, file in args.clip:
        curves, styles = read_curves(Path(file))
        clips.append(filmed(load_audio(video), curves, styles))
        faces.append(curves)
    cuts = [round((1 - args.held_out) * len(clip.features)) for clip in clips]
    shown = [
        Filmed(c.features[:cut], c.curves[:cut], c.styles[:cut]) for c, cut in zip(clips, cuts, strict=True)
    ]

    voices, seconds, joined = [], 0.0, []
    for utterance in read_corpus(args.corpus, "train") if args.corpus else ():
        if utterance.main_voice in UNSEEN_VOICES:
            continue
        joined.append(np.concatenate([utterance.samples / np.float32(32768), np.zeros(12800, np.float32)]))
        seconds += utterance.seconds
        if len(joined) == 4:
            voices.append(RunningVoice().normalise(voice_features(np.concatenate(joined))))
            joined = []
        if seconds > 60 * args.corpus_minutes:
            break
    print(f"{sum(cuts) / 1500:.1f} min of film, {seconds / 60:.1f} min of other voices")

    args.out.mkdir(parents=True, exist_ok=True)
    settings = GeneratorTraining(minutes=args.minutes)
    with progress(total=settings.steps, label="generator", unit="step") as bar:
        generator = train_generator(
            shown, voices, args.out / "expression_generator.safetensors", settings, lambda _: bar.update(50)
        )
    book = CodebookTraining(minutes=args.codebook_minutes)
    shared = args.out / "expression_codebook.safetensors"
    with progress(total=book.steps, label="codebook", unit="step") as bar:
        train_codebook(
            [f[:cut] for f, cut in zip(faces, cuts, strict=True)],
            shared,
            settings=book,
            report=lambda _: bar.update(50),
        )
    figures = {}
    for (video, _), clip, face, cut in zip(args.clip, clips, faces, cuts, strict=True):
        own = train_codebook(
            [face[:cut]],
            args.out / f"{Path(video).stem}.safetensors",
            start=shared,
            settings=CodebookTraining(minutes=min(1.0, args.codebook_minutes)),
        )
        figures[Path(video).stem] = {
            **compare(generator, clip, clip.curves[:cut], cut),
            "codebook": judge_codebook(own, face[cut:]),
        }
    (args.out / "figures.json").write_text(json.dumps(figures, indent=2))
    for name, methods in figures.items():
        for method, row in methods.items():
            print(name, method, " ".join(f"{key} {value:.3f}" for key, value in row.items()))
    return 0
