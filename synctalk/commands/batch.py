"""`synctalk batch`: many lines, one video each; what is done is not done again."""

import argparse
import json
from pathlib import Path

from synctalk.speaking import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "lines",
        type=Path,
        help="CSV with a header or JSONL; columns text or audio, and optionally id, avatar, voice, "
        "emotion, smile, ... (what a line leaves out, the options below give)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for videos and results.csv")
    parser.add_argument("--workers", type=int, default=1, help="processes on this machine (default: 1)")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="run on a Ray cluster instead ('auto' or an address)"
    )
    parser.add_argument("--again", action="store_true", help="make lines again that are done")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Make the videos; 3 when some lines failed.

    Raises:
        SyncTalkError: the list cannot be read.
    """
    from synctalk.speaking.batch import Defaults, read_lines, run_batch

    defaults = Defaults(
        avatar=args.avatar,
        voice=args.voice,
        engine=args.engine,
        seed=args.seed,
        expression=options.expression(args),
        look=options.look(args),
        credentials=options.credentials(args),
    )
    results = run_batch(
        read_lines(args.lines), args.out, defaults, workers=args.workers, ray=args.ray, again=args.again
    )
    failed = [r for r in results if r.status == "failed"]
    if args.json:
        print(json.dumps([r.as_dict() for r in results]))
    else:
        done = sum(r.status == "done" for r in results)
        kept = len(results) - done - len(failed)
        print(f"{args.out}: {done} made, {kept} there already, {len(failed)} failed")
        for result in failed:
            print(f"  line {result.line} ({result.id}): {result.error}")
    return 3 if failed else 0
