"""A WAV file written as the sound comes."""

import wave
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray


class WavFile:
    """16-bit WAV; the first block decides rate and channels.

    Args:
        path: the file; it is made with the first block.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None

    def __enter__(self) -> "WavFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, track: NDArray[np.float32], rate: int) -> None:
        """Add sound, float32 [n,channels] in [-1,1]."""
        if self._file is None:
            self._file = wave.open(str(self.path), "wb")  # noqa: SIM115 (closed in __exit__)
            self._file.setnchannels(track.shape[1])
            self._file.setsampwidth(2)
            self._file.setframerate(rate)
        self._file.writeframes(np.rint(np.clip(track, -1, 1) * 32767).astype("<i2").tobytes())
