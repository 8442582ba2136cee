"""`synctalk verify`: what a video's content credentials say, and whether they still hold."""

import argparse
import dataclasses
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("video", type=Path, help="an MP4 file")
    parser.add_argument("--json", action="store_true", help="print the finding as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the finding; 0 when intact credentials are there, 3 when not.

    Raises:
        VideoError: no such file, or not a media file.
    """
    from synctalk.provenance import verify

    report = verify(args.video)
    print(json.dumps(dataclasses.asdict(report)) if args.json else f"{args.video}: {report.sentence}")
    return 0 if report.signed and report.intact else 3
