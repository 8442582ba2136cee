"""`synctalk bench NAME`: measure speed on this machine. Each bench is a module of synctalk.evaluation.bench."""

import argparse
import importlib
import json
from pathlib import Path

from synctalk.evaluation.bench import BENCHES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's name, and where its figures go."""
    names = "; ".join(f"{name}: {summary}" for name, summary in BENCHES.items())
    parser.add_argument("name", choices=list(BENCHES), help=names)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds")


def run(args: argparse.Namespace) -> None:
    """Run the bench, print its table."""
    bench = importlib.import_module(f"synctalk.evaluation.bench.{args.name}")
    result = bench.run(quick=args.quick)
    print(bench.table(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
