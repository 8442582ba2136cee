"""How long each stage is busy."""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Given = TypeVar("Given")
Item = TypeVar("Item")


class Clock:
    """Adds up seconds per stage, from several threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the time inside the block for `stage`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - began)

    def add(self, stage: str, seconds: float) -> None:
        """Count `seconds` for `stage`."""
        with self._lock:
            self._seconds[stage] += seconds

    def timed(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; the time to make each (with the waiting for what it is made of) is counted."""
        source = iter(items)
        try:
            while True:
                with self.measure(stage):
                    try:
                        item = next(source)
                    except StopIteration:
                        return
                yield item
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    def measured(self, stage: str, call: Callable[[Given], Item]) -> Callable[[Given], Item]:
        """The same function, measured."""

        def timed(given: Given) -> Item:
            with self.measure(stage):
                return call(given)

        return timed

    def per_frame(self, frames: int) -> dict[str, float]:
        """Milliseconds per frame for each stage."""
        with self._lock:
            return {stage: round(1000 * s / max(1, frames), 3) for stage, s in self._seconds.items()}
