"""The lip-sync judge on three seconds whose mouth is known."""

import json
from pathlib import Path

import numpy as np
import pytest

from synctalk.cli import main
from synctalk.errors import VideoError
from synctalk.evaluation.sync import SyncScore, distances, judge, save_curve
from synctalk.face_sync.mouth_measures import mouth_measures
from synctalk.face_sync.sync_expert import SyncExpert
from synctalk.speech.audio import load_audio

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def measures() -> np.ndarray:
    with np.load(DATA / "ben_3s_truth.npz", allow_pickle=False) as truth:
        return mouth_measures(truth["lm68_px"])


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return load_audio(DATA / "ben_3s.mp4")


@pytest.fixture(scope="module")
def expert() -> SyncExpert:
    return SyncExpert.from_pretrained()


def _moved(sound: np.ndarray, frames: int) -> np.ndarray:
    """The sound that many frames later (or earlier), silence where it was not."""
    step = 640 * abs(frames)
    pad = np.zeros(step, np.float32)
    return (
        np.concatenate([pad, sound[: len(sound) - step]])
        if frames >= 0
        else np.concatenate([sound[step:], pad])
    )


@pytest.mark.parametrize("late", [-10, -6, -3, -1, 0, 1, 3, 6, 10])
def test_it_finds_every_shift(measures: np.ndarray, sound: np.ndarray, expert: SyncExpert, late: int) -> None:
    assert abs(judge(measures, _moved(sound, late), expert).offset_frames - late) <= 1


def test_it_is_surer_of_the_true_sound_than_of_noise(
    measures: np.ndarray, sound: np.ndarray, expert: SyncExpert
) -> None:
    noise = (0.05 * np.random.default_rng(0).standard_normal(len(sound))).astype(np.float32)
    true, other = judge(measures, sound, expert), judge(measures, noise, expert)
    assert true.confidence > 2 * max(other.confidence, 0.02)
    assert true.distance < other.distance


def test_a_column_compares_the_mouth_with_later_sound(
    measures: np.ndarray, sound: np.ndarray, expert: SyncExpert
) -> None:
    table, shifts = distances(measures, sound, expert, reach=6)
    assert table.shape == (75, 13) and shifts.tolist() == list(range(-6, 7))
    later, _ = distances(measures, _moved(sound, 5), expert, reach=6)
    inner = slice(10, 60)  # 5 frames are 16 rows of mel exactly
    np.testing.assert_allclose(table[inner, 6], later[inner, 11], atol=0.02)


def test_less_than_a_second_is_refused(measures: np.ndarray, sound: np.ndarray, expert: SyncExpert) -> None:
    with pytest.raises(VideoError, match="one second"):
        judge(measures[:20], sound, expert)


def test_a_curve_can_be_drawn(tmp_path) -> None:
    shifts = np.arange(-3, 4)
    save_curve(SyncScore(0, 0.3, 0.9, shifts, np.abs(shifts) * 0.1 + 0.9, 50), tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"


def test_the_command_judges_a_video_and_writes_json(tmp_path, capsys) -> None:
    result = tmp_path / "sync.json"
    arguments = ["sync", str(DATA / "ben_3s.mp4"), "--json", str(result), "--curve", str(tmp_path / "c.png")]
    assert main(arguments) == 0
    found = json.loads(result.read_text())
    assert abs(found["offset_frames"]) <= 1 and found["confidence"] > 0.1
    assert "offset" in capsys.readouterr().out and (tmp_path / "c.png").exists()
