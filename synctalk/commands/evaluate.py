"""`synctalk evaluate AVATAR --truth VIDEO`: how close an avatar comes to the person."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from synctalk.errors import TrainingError
from synctalk.logs import get_logger

log = get_logger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `synctalk evaluate`."""
    from synctalk.evaluation import PARTS

    parser.add_argument("avatar", metavar="AVATAR", help="bundled name, folder or hub id")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--truth", type=Path, metavar="VIDEO", help="video of the same person, framed the same")
    what.add_argument(
        "--audio",
        type=Path,
        nargs="+",
        metavar="SOUND",
        help="only voices: measures the mouth against --phones",
    )
    parser.add_argument(
        "--frames",
        default="0:",
        metavar="A:B",
        help="frames A to B-1 at 25 fps (default: all); -N: counts from the end",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--without", action="append", choices=PARTS, default=[], help="leave a part out")
    parser.add_argument(
        "--phones",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="phone times (NPZ with phones, phone_start, phone_end; or JSON), one for each sound: "
        "also report the shares of shut and open mouths",
    )
    parser.add_argument(
        "--torso",
        action="store_true",
        help="with --truth: only the torso restorer's figures, with and without it",
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the measurements of the truth here")
    parser.add_argument("--video", type=Path, metavar="MP4", help="also write truth and render side by side")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print a table."""
    if args.torso:
        return _torso(args)
    figures = _voices(args) if args.audio else _truth(args)
    for key, value in figures.items():
        print(f"{key:24} {value:.4f}" if isinstance(value, float) else f"{key:24} {value}")
    _keep(figures, args.json)
    return 0


def _keep(figures: dict[str, Any], path: Path | None) -> None:
    """Writes the figures as JSON, where asked to."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _torso(args: argparse.Namespace) -> int:
    from synctalk.evaluation.torso import evaluate_torso, table

    if args.truth is None:
        raise TrainingError("--torso needs --truth VIDEO.")
    with tempfile.TemporaryDirectory(prefix="synctalk-") as scratch:
        work = args.work or Path(scratch)
        figures = evaluate_torso(args.avatar, args.truth, frames=args.frames, work=work, report=log.info)
    print(table(figures))
    _keep(figures, args.json)
    return 0


def _truth(args: argparse.Namespace) -> dict[str, Any]:
    from synctalk.evaluation.evaluate import evaluate

    if args.phones and len(args.phones) > 1:
        raise TrainingError("--truth takes one file of --phones.")
    with tempfile.TemporaryDirectory(prefix="synctalk-") as scratch:
        return evaluate(
            args.avatar,
            args.truth,
            frames=args.frames,
            work=args.work or Path(scratch),
            without=args.without,
            phones=args.phones[0] if args.phones else None,
            video=args.video,
            report=log.info,
        )


def _voices(args: argparse.Namespace) -> dict[str, Any]:
    from synctalk.avatar import Avatar
    from synctalk.evaluation.voice import voice_shares

    if len(args.phones or []) != len(args.audio):
        raise TrainingError("Give one file of --phones for each --audio file.")
    return voice_shares(Avatar.from_pretrained(args.avatar), args.audio, args.phones).as_dict()
