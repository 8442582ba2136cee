import json
from pathlib import Path

import numpy as np
import pytest

from synctalk.errors import TrainingError
from synctalk.evaluation.evaluate import frame_range
from synctalk.evaluation.mouth import TimedPhone
from synctalk.evaluation.phones import read_phones
from synctalk.evaluation.voice import ping_pong

CLIP = Path(__file__).parents[1] / "data" / "ben_3s.mp4"


def test_phones_come_from_npz_and_json_alike(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", phones=["sil", "P"], phone_start=[0.0, 1.0], phone_end=[1.0, 1.1])
    (tmp_path / "a.json").write_text(json.dumps({"phones": [["sil", 0.0, 1.0], ["P", 1.0, 1.1]]}))
    expected = [TimedPhone("sil", 0.0, 1.0), TimedPhone("P", 1.0, 1.1)]
    assert read_phones(tmp_path / "a.npz") == expected
    assert read_phones(tmp_path / "a.json") == expected
    assert read_phones(tmp_path / "a.json", start_s=1.0)[1].start_s == 0


@pytest.mark.parametrize("text", ["{}", "[1]", '{"phones": [["P", "now", 2]]}', "{"])
def test_files_without_phone_times_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(TrainingError, match="no phone times"):
        read_phones(tmp_path / "a.json")
    with pytest.raises(TrainingError, match="no file"):
        read_phones(tmp_path / "none.npz")


def test_the_source_plays_forward_and_back() -> None:
    assert ping_pong(3, 6, 8).tolist() == [3, 4, 5, 4, 3, 4, 5, 4]
    assert ping_pong(0, 1, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "frames"),
    [("0:", (0, None)), (":30", (0, 30)), ("10:20", (10, 20)), ("-25:", (50, None)), ("-25:-5", (50, 70))],
)
def test_frame_ranges_count_from_either_end(text: str, frames: tuple[int, int | None]) -> None:
    assert frame_range(text, CLIP) == frames


@pytest.mark.parametrize("text", ["", "5", "a:b", "20:10", "1:2:3"])
def test_other_frame_ranges_are_refused(text: str) -> None:
    with pytest.raises(TrainingError, match="--frames"):
        frame_range(text, CLIP)
