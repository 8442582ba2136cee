from pathlib import Path

import numpy as np
import pytest

from synctalk.video import read_frames

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session")
def clip() -> list[np.ndarray]:
    """The 75 frames of the test clip, uint8 RGB 512x512."""
    return list(read_frames(DATA / "ben_3s.mp4"))


@pytest.fixture(scope="session")
def truth() -> dict[str, np.ndarray]:
    """What the renderer of the test clip knew."""
    with np.load(DATA / "ben_3s_truth.npz") as file:
        return dict(file)
