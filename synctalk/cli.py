"""The command line: `synctalk COMMAND ...`. Each command lives in `synctalk/commands/`.

Exit codes: 0 done; 1 a SyncTalkError (one plain sentence on stderr); 2 wrong usage;
3 finished with some failures (batch); 130 stopped with Ctrl-C.
"""

import argparse
import importlib
import importlib.metadata
import sys

from synctalk.commands import COMMANDS
from synctalk.errors import SyncTalkError
from synctalk.logs import set_up_logging


def version() -> str:
    """The installed version."""
    try:
        return importlib.metadata.version("synctalk")
    except importlib.metadata.PackageNotFoundError:
        return "0.1.0 (not installed)"


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser; only the module of the command in use is imported, so that start-up stays fast."""
    parser = argparse.ArgumentParser(
        prog="synctalk",
        description="Make an avatar say it: text or audio in, a synchronised video out.",
        epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 some lines failed, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"synctalk {version()}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.add_argument("--debug", action="store_true", help=argparse.SUPPRESS, default=argparse.SUPPRESS)
        if name == command:
            module = importlib.import_module(f"synctalk.commands.{name.replace('-', '_')}")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    command = next((word for word in argv if word in COMMANDS), None)
    parser = build_parser(command)
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    set_up_logging(args.debug)
    try:
        return int(args.run(args) or 0)
    except SyncTalkError as error:
        if args.debug:
            raise
        print(f"synctalk {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
