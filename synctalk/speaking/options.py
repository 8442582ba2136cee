"""Command-line options for what is said and how, shared by `speak` and `batch`."""

import argparse
from pathlib import Path

from synctalk.editing import ASPECTS, Look
from synctalk.provenance import Credentials
from synctalk.speaking.expression import CONTROLS, EMOTIONS, HEAD_MOTIONS, SOURCES, Expression

ENGINES = ("auto", "edge", "kokoro")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Avatar, voice, expression, picture and signing."""
    parser.add_argument("--avatar", default="ben", help="name, folder or hub id (default: ben)")
    parser.add_argument(
        "--voice", help="voice for text (default: the avatar's own); see `synctalk speak --list-voices`"
    )
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="text to speech (default: auto)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same video (default: 0)")
    face = parser.add_argument_group(
        "expression", "0 leaves the natural movement, 1 is the avatar's strongest"
    )
    for name in CONTROLS:
        face.add_argument(f"--{name.replace('_', '-')}", type=float, default=0.0, metavar="0..1")
    face.add_argument("--emotion", choices=tuple(EMOTIONS), default="natural")
    face.add_argument(
        "--expressions",
        choices=SOURCES,
        default="voice",
        help="made for the voice (default), or as filmed",
    )
    face.add_argument("--strength", type=float, default=0.7, metavar="0..1", help="of the emotion")
    face.add_argument("--intensity", type=float, default=1.0, metavar="0..2", help="size of all movement")
    face.add_argument(
        "--blinks", type=float, metavar="PER_MINUTE", help="0 to 60 (default: the avatar's own)"
    )
    face.add_argument("--head-motion", choices=HEAD_MOTIONS, default="natural")
    picture = parser.add_argument_group("picture")
    picture.add_argument("--aspect", choices=tuple(ASPECTS), default="source")
    picture.add_argument(
        "--background", default="original", help="original, transparent, a colour, a picture or a clip"
    )
    picture.add_argument("--captions", action="store_true", help="write the words into the picture")
    picture.add_argument("--mark", action="store_true", help="write 'AI generated' into the picture")
    signing = parser.add_argument_group("content credentials", "default: this installation's own certificate")
    signing.add_argument("--certificate", type=Path, metavar="PEM", help="your certificate chain")
    signing.add_argument("--key", type=Path, metavar="PEM", help="its private key (P-256)")


def expression(args: argparse.Namespace) -> Expression:
    """The expression asked for.

    Raises:
        SyncTalkError: a value is out of range.
    """
    names = (*CONTROLS, "emotion", "strength", "intensity", "head_motion")
    given = {name: getattr(args, name) for name in names}
    return Expression(**given, blinks_per_minute=args.blinks, source=args.expressions)


def look(args: argparse.Namespace) -> Look:
    """The look asked for.

    Raises:
        SyncTalkError: no such background.
    """
    return Look(args.aspect, args.background, args.captions, args.mark)


def credentials(args: argparse.Namespace) -> Credentials | None:
    """Who signs; None for this installation.

    Raises:
        SyncTalkError: the files cannot be read, or one of the two is missing.
    """
    if args.certificate is None and args.key is None:
        return None
    if args.certificate is None or args.key is None:
        from synctalk.errors import SyncTalkError

        raise SyncTalkError("Give both --certificate and --key, or neither.")
    return Credentials.from_files(args.certificate, args.key)
