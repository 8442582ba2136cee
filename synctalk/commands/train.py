"""`synctalk train VIDEO`: footage of a person who agreed -> an avatar."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from synctalk.errors import TrainingError
from synctalk.logs import get_logger
from synctalk.portrait.settings import PREDICTED

log = get_logger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `synctalk train`."""
    parser.add_argument(
        "video", type=Path, metavar="VIDEO", help="one person speaking to the camera, with sound"
    )
    parser.add_argument(
        "--name", required=True, help="what the avatar is called: lower-case letters, digits, -, _"
    )
    parser.add_argument(
        "--consent",
        required=True,
        type=Path,
        metavar="FILE.json",
        help="the person's consent; `synctalk avatar consent FILE.json` writes a template",
    )
    parser.add_argument(
        "--profile",
        choices=("fast", "full"),
        default="full",
        help="fast: under 15 minutes on two cores; full: under two hours (default)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the avatar folder (default: ./NAME)")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="dataset and checkpoints (default: ./NAME.training)"
    )
    parser.add_argument(
        "--licence", default="other", metavar="ID", help="licence id for the card, e.g. cc-by-4.0"
    )
    parser.add_argument(
        "--licence-text", metavar="TEXT", help="licence and attribution in words; @FILE reads them"
    )
    parser.add_argument(
        "--voice", help="voice that reads texts for the avatar (default: one like the voice in the footage)"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="steps of stage 2, in place of the profile's")
    parser.add_argument(
        "--gaussians", type=int, metavar="N", help="most Gaussians of the head, in place of the profile's"
    )
    parser.add_argument(
        "--predicted",
        choices=PREDICTED,
        default=PREDICTED[0],
        help="attributes that come from the triplane, for comparing initialisations (default: %(default)s)",
    )
    parser.add_argument(
        "--core-only", action="store_true", help="drive brows and eyelids by seven coefficients, without gaze"
    )
    parser.add_argument(
        "--start-from",
        type=Path,
        metavar="WORK",
        help="--work folder of an earlier training of this person, whose portrait is trained on",
    )
    parser.add_argument(
        "--anyway", action="store_true", help="train although the preflight finds something bad"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="use the S most informative seconds, in place of the profile's",
    )
    parser.add_argument("--size", type=int, default=512, help="side of the frames, px (default 512)")


def run(args: argparse.Namespace) -> int:
    """Train and say where the avatar is."""
    from synctalk.consent import read
    from synctalk.speech.text_to_speech import check_voice
    from synctalk.training.select import Selection
    from synctalk.training.train import OWN_LICENCE, TrainSettings, check_name, train_avatar

    check_name(args.name)
    consent = read(args.consent)
    if args.voice is not None:
        check_voice(args.voice)
    settings = TrainSettings.of(args.profile)
    settings = replace(settings, preprocess=replace(settings.preprocess, size=args.size, insist=args.anyway))
    if args.seconds is not None:
        settings = replace(
            settings, preprocess=replace(settings.preprocess, selection=Selection(seconds=args.seconds))
        )
    portrait = replace(settings.portrait, predicted=args.predicted, core_only=args.core_only)
    if args.steps is not None:
        portrait = replace(portrait, deform_steps=args.steps)
    if args.gaussians is not None:
        portrait = replace(portrait, max_gaussians=args.gaussians)
    settings = replace(settings, portrait=portrait)
    out = args.out or Path(args.name)
    avatar = train_avatar(
        args.video,
        args.name,
        consent,
        out,
        args.work or Path(f"{args.name}.training"),
        settings,
        {"id": args.licence, "text": _licence_text(args.licence_text) or OWN_LICENCE["text"]},
        log.info,
        args.voice,
        args.start_from,
    )
    print(f"{avatar.name} is in {out}; open {out / 'report.html'}.")
    print(summary(avatar.description["training"]["evaluation"]))
    return 0


def summary(figures: Mapping[str, float]) -> str:
    """One line of the figures that tell most; `eyes_shut` is missing where nobody blinked."""
    parts = [
        f"PSNR {figures['psnr']:.1f} dB",
        f"mouth {figures['psnr_mouth']:.1f} dB",
        f"LMD {figures['lmd_px']:.2f} px",
    ]
    if "eyes_shut" in figures:
        parts.append(f"eyes shut in {figures['eyes_shut']:.0%} of the frames where the truth's are")
    return "Held out: " + ", ".join(parts)


def _licence_text(given: str | None) -> str | None:
    """The text itself, or what the file after an @ holds."""
    if given is None or not given.startswith("@"):
        return given
    path = Path(given[1:])
    if not path.is_file():
        raise TrainingError(f"There is no file {path} with the licence text.")
    return path.read_text(encoding="utf-8").strip()
