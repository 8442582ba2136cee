from pathlib import Path

import pytest

from synctalk.errors import AvatarError
from synctalk.evaluation.bench import sync

CLIP = Path(__file__).parents[1] / "data" / "ben_3s.mp4"


def test_the_lengths_are_those_a_player_shows():
    picture, sound = sync.lengths(CLIP)
    assert picture == pytest.approx(3.0) and sound == pytest.approx(3.0, abs=0.04)


def test_the_table_shows_every_sentence_and_both_counts():
    row = {"avatar": "ada", "voice": "af_heart", "text": "Hello.", "offset_frames": -1, "confidence": 0.3}
    rows = [{**row, "picture_s": 1.0, "sound_s": 1.02}, {**row, "picture_s": 1.0, "sound_s": 1.0}]
    text = sync.table({"sentences": rows, "in_step": 2, "equally_long": 2})
    assert text.count("ada") == 2 and "-1" in text and "in step: 2 of 2" in text


def test_an_avatar_that_is_not_there_is_told():
    with pytest.raises(AvatarError, match="no avatar 'nobody'"):
        sync.run("nobody")
