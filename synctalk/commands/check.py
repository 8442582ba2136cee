"""`synctalk check VIDEO`: will this video make a good avatar, and what should be recorded anew?"""

import argparse
import json
from pathlib import Path

from synctalk.training.preflight import preflight

NOT_FIT = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("video", type=Path, help="footage of one speaking person")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="HTML", help="the page (default: VIDEO.check.html beside it)"
    )
    parser.add_argument("--no-page", action="store_true", help="print the report only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measured numbers")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")


def run(args: argparse.Namespace) -> int:
    """Look at the video, print and save the report; exit code 3 when it is not fit for training."""
    report = preflight(args.video, args.threads)
    print("\n".join(report.lines))
    if args.json:
        summary = {"ok": report.ok, "verdict": report.verdict, "values": report.values}
        args.json.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    if not args.no_page:
        target = args.output or args.video.with_suffix(".check.html")
        report.save_page(target)
        print(f"\npage: {target}")
    return 0 if report.ok else NOT_FIT
