"""Keeping a long optimisation safe: checkpoints, Ctrl-C, and a way back from divergence."""

import copy
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from synctalk.errors import TrainingError
from synctalk.logs import get_logger

log = get_logger(__name__)
_SMOOTHING = 0.02
_SETTLED = 100


class LossWatch:
    """Notices a loss that is not a number, or several times its best smoothed value for its kind of crop."""

    def __init__(self, worst_factor: float):
        self.worst_factor = worst_factor
        self.smooth: dict[str, list[float]] = {}  # kind -> smoothed loss, best so far, count

    def healthy(self, kind: str, loss: float) -> bool:
        """Take one loss in; False when the optimisation has gone wrong."""
        if not loss < float("inf"):
            return False
        value, best, count = self.smooth.get(kind, [loss, loss, 0.0])
        value += (loss - value) * max(_SMOOTHING, 1 / (count + 1))
        best = min(best, value) if count > _SETTLED else value
        self.smooth[kind] = [value, best, count + 1]
        return count < _SETTLED or value < self.worst_factor * best

    def forget(self) -> None:
        """Start over, after a change of stage or a restored state."""
        self.smooth.clear()


@contextmanager
def interrupt_flag() -> Iterator[threading.Event]:
    """Inside, Ctrl-C only sets the flag, so that no step is cut in half; a second one stops at once."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)


class Checkpoints:
    """The newest state of a run in one file, replaced only when the new one is complete."""

    def __init__(self, path: Path, every_s: float):
        self.path, self.every_s = path, every_s
        self.saved_at = time.monotonic()

    def due(self) -> bool:
        """Whether the last save is long enough ago."""
        return time.monotonic() - self.saved_at > self.every_s

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` (tensors and plain values)."""
        partial = self.path.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self.path)
        self.saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None; raises TrainingError when the file is damaged."""
        if not self.path.exists():
            return None
        try:
            return torch.load(self.path, weights_only=True)
        except Exception as error:
            raise TrainingError(
                f"{self.path}: damaged checkpoint ({error}); delete it to start over"
            ) from error


def frozen(state: dict[str, Any]) -> dict[str, Any]:
    """A copy that later steps cannot change."""
    return copy.deepcopy(state)
