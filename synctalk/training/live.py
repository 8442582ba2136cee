"""One live line of text that tells how far training is, and the history behind the report's curves."""

import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

QUIET_S = 30.0  # between lines where no terminal shows a live one


class LiveLine:
    """Shows progress and keeps what the trainer reports in `history.jsonl`, so that a resumed run goes on.

    Args:
        history: file of one JSON object per line; appended to.
        stream: where the line is drawn.
    """

    def __init__(self, history: Path, stream: TextIO | None = None) -> None:
        self._history = history
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._start: tuple[float, int] | None = None
        self._last = -QUIET_S
        self._scores: dict[str, float] = {}

    def __call__(self, values: dict[str, Any]) -> None:
        """Takes one report of the trainer: `step`, `steps`, `stage`, losses, `psnr_*` at validations."""
        now = time.monotonic()
        plain = {key: value for key, value in values.items() if isinstance(value, (int, float, str))}
        with self._history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain) + "\n")
        self._scores |= {key: float(value) for key, value in plain.items() if key.startswith("psnr")}
        if self._start is None:
            self._start = (now, int(plain["step"]))
        if not self._live and now - self._last < QUIET_S:
            return
        self._last = now
        text = describe(plain, self._scores, now - self._start[0], self._start[1])
        self._stream.write(f"\r\x1b[2K{text}" if self._live else f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the live line standing."""
        if self._live and self._start is not None:
            self._stream.write("\n")


def describe(values: dict[str, Any], scores: dict[str, float], elapsed_s: float, first_step: int) -> str:
    """The line: step, stage, loss, held-out scores, minutes left."""
    step, steps = int(values["step"]), int(values["steps"])
    parts = [f"portrait {step}/{steps}", f"stage {values.get('stage', '?')}"]
    if "loss" in values:
        parts.append(f"loss {values['loss']:.4f}")
    parts += [f"{key.removeprefix('psnr_')} {value:.1f} dB" for key, value in scores.items()]
    if "gaussians" in values:
        parts.append(f"{values['gaussians']} gaussians")
    if step > first_step:
        left = elapsed_s / (step - first_step) * (steps - step)
        parts.append(f"{left / 60:.0f} min left" if left >= 60 else f"{left:.0f} s left")
    return "  ".join(parts)


def read_history(path: Path) -> list[dict[str, Any]]:
    """The reports so far, later ones winning where a resumed run did steps again."""
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    kept: list[dict[str, Any]] = []
    for row in rows:
        while kept and kept[-1]["step"] >= row["step"]:
            kept.pop()
        kept.append(row)
    return kept
