"""Many pictures in one file, read one at a time: memory stays flat however long the footage is.

A memory map would count every page it has touched as used memory; plain reads do not.
"""

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from synctalk.errors import TrainingError

HEADER = 128
LENGTH = 8


class FrameStore:
    """T arrays uint8 of one shape, on disk; `store[i]`, `store[a:b]` and `store[indices]` read them.

    Args:
        path: a file that `FrameStoreWriter` wrote.

    Raises:
        TrainingError: no such file, or not one of ours.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._shape, self._compressed, self._starts, _ = _scan(self.path)
        self._file = self.path.open("rb")

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def shape(self) -> tuple[int, ...]:
        """T and the shape of one picture."""
        return (len(self), *self._shape)

    @overload
    def __getitem__(self, index: int | np.integer) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: tuple[int | np.integer, int]) -> NDArray[np.uint8]: ...
    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        """Picture `index`, uint8 of the store's shape; several, stacked; with (i, c) part c of picture i."""
        if isinstance(index, tuple):
            return self._read(int(index[0]))[index[1]]
        if isinstance(index, (int, np.integer)):
            return self._read(int(index))
        chosen = range(len(self))[index] if isinstance(index, slice) else [int(i) for i in index]
        if not chosen:
            return np.empty((0, *self._shape), np.uint8)
        return np.stack([self._read(i) for i in chosen])

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self._read(i) for i in range(len(self)))

    def _read(self, index: int) -> NDArray[np.uint8]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path} holds {len(self)} frames, there is no frame {index}.")
        start, size = self._starts[index]
        data = os.pread(self._file.fileno(), size, start)
        if self._compressed:
            data = zlib.decompress(data)
        return np.frombuffer(data, np.uint8).reshape(self._shape).copy()


class FrameStoreWriter:
    """Appends pictures; an unfinished file is continued after its last whole picture.

    Args:
        path: the file.
        shape: shape of each picture.
        compressed: lossless compression; good for mattes, useless for film.
    """

    def __init__(self, path: Path | str, shape: Sequence[int], compressed: bool = False) -> None:
        self.path = Path(path)
        self.shape = tuple(shape)
        self.compressed = compressed
        self.count = 0
        end = HEADER
        if self.path.exists():
            there, was_compressed, starts, end = _scan(self.path)
            if there != self.shape or was_compressed != compressed:
                raise TrainingError(f"{self.path} holds pictures of {list(there)}, not {list(self.shape)}.")
            self.count = len(starts)
            self._file: BinaryIO = self.path.open("r+b")
            self._file.truncate(end)
            self._file.seek(end)
        else:
            self._file = self.path.open("wb")
            header = json.dumps({"frames": 1, "shape": list(self.shape), "compressed": compressed})
            self._file.write(header.encode().ljust(HEADER))

    def append(self, picture: NDArray[np.uint8]) -> None:
        """Adds one picture of the store's shape."""
        if picture.shape != self.shape or picture.dtype != np.uint8:
            raise ValueError(f"expected uint8 {self.shape}, got {picture.dtype} {picture.shape}")
        data = np.ascontiguousarray(picture).tobytes()
        if self.compressed:
            data = zlib.compress(data, 1)
        self._file.write(len(data).to_bytes(LENGTH, "little"))
        self._file.write(data)
        self.count += 1

    def __enter__(self) -> "FrameStoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _scan(path: Path) -> tuple[tuple[int, ...], bool, list[tuple[int, int]], int]:
    """Shape, compressed or not, (start, size) of each whole picture, and where the last one ends."""
    if not path.is_file():
        raise TrainingError(f"{path} is missing. Run the training command again to make it.")
    total = path.stat().st_size
    with path.open("rb") as file:
        try:
            header = json.loads(file.read(HEADER))
            shape, compressed = tuple(header["shape"]), bool(header["compressed"])
        except (ValueError, KeyError, TypeError) as reason:
            raise TrainingError(f"{path} is not a frame file; delete it and start again.") from reason
        starts: list[tuple[int, int]] = []
        end = HEADER
        while end + LENGTH <= total:
            size = int.from_bytes(os.pread(file.fileno(), LENGTH, end), "little")
            if end + LENGTH + size > total:
                break
            starts.append((end + LENGTH, size))
            end += LENGTH + size
    return shape, compressed, starts, end
