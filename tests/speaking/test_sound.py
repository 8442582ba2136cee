import wave

import numpy as np
import pytest

from synctalk.errors import AudioError, SpeechError
from synctalk.speak import open_voice
from synctalk.speaking.sound import SAMPLES_PER_FRAME, Recording, whole_frames
from synctalk.speaking.subtitles import Subtitles, to_vtt
from synctalk.speech.text_to_speech import Speech
from synctalk.speech.words import Word


def tone(seconds: float, rate: int) -> np.ndarray:
    return (0.3 * np.sin(np.arange(round(seconds * rate)) * 0.1)).astype(np.float32)


def write(path, samples: np.ndarray, rate: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1] if samples.ndim == 2 else 1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def test_a_file_arrives_in_pieces_of_two_seconds_with_both_sounds(tmp_path):
    track = np.stack([tone(5.1, 44100)] * 2, axis=1)
    write(tmp_path / "a.wav", track, 44100)
    recording = Recording(tmp_path / "a.wav")
    pieces = list(recording)
    assert [piece.frames for piece in pieces] == [50, 50, 28]
    assert recording.frames == 128
    assert np.allclose(np.concatenate([p.track for p in pieces]), track, atol=1e-4)
    assert all(len(p.voice) % SAMPLES_PER_FRAME == 0 for p in pieces)


def test_a_sentence_is_filled_with_silence_to_whole_frames():
    piece = whole_frames(Speech(tone(1.013, 24000), 24000))
    assert piece.frames == 26 and len(piece.track) == 26 * 960 and piece.track.shape[1] == 1
    assert (piece.track[round(1.013 * 24000) :] == 0).all()


@pytest.mark.parametrize(
    ("samples", "said"),
    [(np.zeros(32000, np.float32), "silent"), (np.zeros(0, np.float32), "no samples")],
)
def test_silence_and_nothing_are_refused_before_anything_is_rendered(samples, said):
    with pytest.raises(AudioError, match=said):
        Recording((samples, 16000))


def test_a_recording_that_is_too_long_is_refused(tmp_path):
    write(tmp_path / "long.wav", tone(12, 8000), 8000)
    with pytest.raises(AudioError, match="long"):
        Recording(tmp_path / "long.wav", max_seconds=10)


def test_a_broken_file_and_a_missing_one_are_told_apart(tmp_path):
    (tmp_path / "notes.wav").write_text("this is no sound")
    with pytest.raises(AudioError, match=r"notes\.wav"):
        Recording(tmp_path / "notes.wav")
    with pytest.raises(AudioError, match=r"gone\.wav"):
        Recording(tmp_path / "gone.wav")


def test_text_and_recording_exclude_each_other():
    with pytest.raises(SpeechError, match="either"):
        open_voice(None, None)
    with pytest.raises(SpeechError, match="not both"):
        open_voice("Hello.", "a.wav")


def test_captions_are_found_while_words_still_arrive():
    subtitles = Subtitles()
    assert subtitles.at(0.1) == ""
    subtitles.add([Word("Hello", 0.1, 0.4), Word("there.", 0.5, 0.9)])
    assert subtitles.at(0.2) == "Hello there." and subtitles.at(0.05) == ""
    subtitles.add([Word("More", 3.0, 3.4)])
    assert subtitles.at(3.1) == "More" and subtitles.at(2.0) == ""


def test_captions_for_browsers_are_webvtt():
    text = to_vtt([Word("One, two.", 0.5, 1.25)])
    assert text.startswith("WEBVTT\n") and "00:00:00.500 --> " in text and "One, two." in text
