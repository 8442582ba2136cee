"""Logging and the one style of progress bar used everywhere."""

import logging
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def get_logger(name: str) -> logging.Logger:
    """The logger of a module; `name` is its `__name__`."""
    return logging.getLogger(name)


def set_up_logging(verbose: bool = False) -> None:
    """Plain lines on stderr, for the command line."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format="%(message)s", force=True)
    for noisy in ("httpx", "matplotlib", "numba", "PIL", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def progress(
    items: Iterable[Any] | None = None, *, total: int | None = None, label: str = "", unit: str = "frame"
) -> tqdm:
    """A progress bar over `items`, or one moved with `.update()`; hidden where stderr is no terminal."""
    return tqdm(items, total=total, desc=label, unit=" " + unit, disable=None, smoothing=0.1, leave=False)
