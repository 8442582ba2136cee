from pathlib import Path

import numpy as np
import pytest

from synctalk.errors import TrainingError
from synctalk.training.frame_store import FrameStore, FrameStoreWriter


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 5, 3), np.uint8)


def write(path: Path, frames: np.ndarray, compressed: bool = False) -> None:
    with FrameStoreWriter(path, frames.shape[1:], compressed) as store:
        for frame in frames:
            store.append(frame)


@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_written_is_read_back_in_any_order(tmp_path: Path, compressed: bool) -> None:
    frames = pictures(6)
    write(tmp_path / "a.bin", frames, compressed)
    store = FrameStore(tmp_path / "a.bin")
    assert store.shape == frames.shape
    assert np.array_equal(store[4], frames[4]) and np.array_equal(store[-1], frames[-1])
    assert np.array_equal(store[1:4], frames[1:4])
    assert np.array_equal(store[np.array([5, 0, 5])], frames[[5, 0, 5]])
    assert np.array_equal(store[2, 1], frames[2, 1])
    assert np.array_equal(np.stack(list(store)), frames)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_half_written_picture_is_dropped_and_writing_goes_on(tmp_path: Path, compressed: bool) -> None:
    frames, path = pictures(5), tmp_path / "a.bin"
    write(path, frames[:3], compressed)
    path.write_bytes(path.read_bytes()[:-7])
    with FrameStoreWriter(path, frames.shape[1:], compressed) as store:
        assert store.count == 2
        for frame in frames[2:]:
            store.append(frame)
    assert np.array_equal(FrameStore(path)[:], frames)


def test_a_picture_of_another_shape_is_refused(tmp_path: Path) -> None:
    with (
        FrameStoreWriter(tmp_path / "a.bin", (4, 5, 3)) as store,
        pytest.raises(ValueError, match="expected"),
    ):
        store.append(np.zeros((5, 4, 3), np.uint8))
    with pytest.raises(TrainingError, match="holds pictures of"):
        FrameStoreWriter(tmp_path / "a.bin", (8, 8, 3))


def test_reading_past_the_end_and_other_files_are_told_plainly(tmp_path: Path) -> None:
    write(tmp_path / "a.bin", pictures(2))
    with pytest.raises(IndexError, match="holds 2 frames"):
        FrameStore(tmp_path / "a.bin")[2]
    with pytest.raises(TrainingError, match="missing"):
        FrameStore(tmp_path / "b.bin")
    (tmp_path / "c.bin").write_bytes(b"something else")
    with pytest.raises(TrainingError, match="not a frame file"):
        FrameStore(tmp_path / "c.bin")
