"""`synctalk bench NAME`: speed on this machine. Each bench is a module of synctalk.evaluation.bench."""

import argparse
import importlib
import inspect
import json
from pathlib import Path

from synctalk.evaluation.bench import BENCHES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's name, what it may take, and where its figures go."""
    names = "; ".join(f"{name}: {summary}" for name, summary in BENCHES.items())
    parser.add_argument("name", choices=list(BENCHES), help=names)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--seconds", type=float, help="how long to measure, roughly")
    parser.add_argument("--avatar", help="name or folder, for benches that use one")


def run(args: argparse.Namespace) -> None:
    """Run the bench, print its table."""
    bench = importlib.import_module(f"synctalk.evaluation.bench.{args.name}")
    known = inspect.signature(bench.run).parameters
    given = {"seconds": args.seconds, "avatar": args.avatar}
    result = bench.run(
        **{name: value for name, value in given.items() if value is not None and name in known}
    )
    print(bench.table(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
