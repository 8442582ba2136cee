"""The online voices against a local server that speaks their protocol."""

import time
from collections.abc import Iterator
from itertools import pairwise

import edge_tts.communicate
import numpy as np
import pytest
from edge_server import EdgeServer

from synctalk.errors import SpeechError
from synctalk.speech import text_to_speech
from synctalk.speech.edge import EdgeUnavailable, is_edge_voice, speak_online

VOICE = "en-US-AriaNeural"


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[EdgeServer]:
    monkeypatch.setenv("SYNCTALK_CACHE", str(tmp_path))
    with EdgeServer() as running:
        monkeypatch.setattr(edge_tts.communicate, "WSS_URL", running.url)
        yield running


def test_words_come_as_written_with_their_times(server):
    speech = speak_online('Hello, "dear" world!', VOICE)
    assert [w.text for w in speech.words] == ["Hello,", '"dear"', "world!"]
    assert [w.start_s for w in speech.words] == pytest.approx([0.1, 0.4, 0.7])
    assert speech.words[0].end_s == pytest.approx(0.35)
    assert speech.rate == 24000
    assert len(speech.samples) / 24000 == pytest.approx(1.2, abs=0.1)
    assert np.abs(speech.samples).max() == pytest.approx(0.3, abs=0.05)


def test_text_voice_rate_and_pitch_reach_the_service(server):
    speak_online("Fish & chips", VOICE, rate="+20%", pitch="-4Hz")
    asked = server.requests[0]
    assert "Fish &amp; chips" in asked
    assert "(en-US, AriaNeural)" in asked
    assert "rate='+20%'" in asked
    assert "pitch='-4Hz'" in asked


def test_the_same_sentence_is_asked_for_once(server):
    first = speak_online("Once only.", VOICE)
    again = speak_online("Once only.", VOICE)
    assert server.connections == 1
    np.testing.assert_array_equal(first.samples, again.samples)
    assert first.words == again.words
    speak_online("Once only.", VOICE, rate="+5%")
    assert server.connections == 2


def test_a_damaged_cache_entry_is_asked_for_again(server, tmp_path):
    speak_online("Once only.", VOICE)
    for file in (tmp_path / "edge").glob("*.json"):
        file.write_text("{")
    speak_online("Once only.", VOICE)
    assert server.connections == 2


def test_no_audio_names_the_voice_and_is_not_kept(server, tmp_path):
    server.mode = "silence"
    with pytest.raises(SpeechError, match="en-US-AriaNeural sent no sound"):
        speak_online("Hm.", VOICE)
    assert not list(tmp_path.rglob("*.mp3"))


def test_a_refusal_is_told_without_trying_again(server):
    server.mode = "refuse"
    with pytest.raises(EdgeUnavailable, match=r"refused the request \(403\)"):
        speak_online("Hello.", VOICE)
    assert server.connections == 2  # edge-tts corrects its clock once; this library adds no try


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("break", "broke"),
        ("hang", "did not answer within 1 seconds"),
        ("drip", "did not answer within 1 seconds"),
        ("nonsense", "connection to the online voice service broke"),
        ("overloaded", "overloaded"),
    ],
)
def test_a_bad_line_is_tried_twice_and_then_told(server, mode, message):
    server.mode = mode
    began = time.monotonic()
    with pytest.raises(EdgeUnavailable, match=message):
        speak_online("Hello there, how are you today?", VOICE, timeout_s=1.0)
    assert server.connections == 2
    assert time.monotonic() - began < 8.0


def test_a_line_that_breaks_once_is_cured_by_the_second_try(server):
    server.mode, server.failures_left = "break", 1
    assert len(speak_online("Hello there, my friend.", VOICE).words) == 4


def test_no_network_is_told_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("SYNCTALK_CACHE", str(tmp_path))
    monkeypatch.setattr(edge_tts.communicate, "WSS_URL", "ws://127.0.0.1:9/edge?x=1")
    with pytest.raises(EdgeUnavailable, match="no network connection"):
        speak_online("Hello.", VOICE)


def test_a_bad_rate_is_told(server):
    with pytest.raises(SpeechError, match="rate"):
        speak_online("Hello.", VOICE, rate="fast")
    assert server.connections == 0


def test_it_works_from_inside_a_running_event_loop(server):
    import asyncio

    async def inside() -> int:
        return len(speak_online("Two words.", VOICE).words)

    assert asyncio.run(inside()) == 2


def test_long_text_streams_with_the_first_sentence_by_itself(server):
    text = "First one. " + "Another sentence of some length follows here. " * 30
    parts = list(text_to_speech.synthesize_sentences(text, VOICE))
    assert [w.text for w in parts[0].words] == ["First", "one."]
    assert 2 <= len(parts) - 1 <= 4
    whole = text_to_speech.synthesize(text, VOICE)
    assert len(whole.words) == 2 + 7 * 30
    assert all(a.start_s <= b.start_s for a, b in pairwise(whole.words))


def test_when_the_service_fails_the_offline_voice_speaks_and_says_so(server, kokoro, monkeypatch):
    monkeypatch.setattr(text_to_speech, "shared_kokoro", lambda: kokoro)
    server.mode = "refuse"
    speech = text_to_speech.synthesize("Hello.", "en-GB-RyanNeural")
    assert speech.engine == "kokoro"
    assert speech.voice == "bm_george"
    assert "403" in speech.notes[0]
    assert "George, British (offline) speaks instead" in speech.notes[0]


def test_when_the_service_fails_midway_only_the_rest_is_spoken_offline(server, kokoro, monkeypatch):
    monkeypatch.setattr(text_to_speech, "shared_kokoro", lambda: kokoro)
    pieces = text_to_speech.synthesize_sentences("One. Two.", VOICE)
    first = next(pieces)
    server.mode = "refuse"
    rest = list(pieces)
    assert (first.engine, [w.text for w in first.words]) == ("edge", ["One."])
    assert [w.text for p in rest for w in p.words] == ["Two."]
    assert rest[0].engine == "kokoro"


def test_an_engine_that_was_asked_for_by_name_never_falls_back(server):
    server.mode = "refuse"
    with pytest.raises(EdgeUnavailable):
        text_to_speech.synthesize("Hello.", VOICE, engine="edge")


def test_text_in_another_script_goes_to_a_voice_that_knows_it(server):
    speech = text_to_speech.synthesize("Привет, мир!", "am_michael")
    assert speech.voice == "ru-RU-SvetlanaNeural"
    assert "Russian" in speech.notes[0]
    assert [w.text for w in speech.words] == ["Привет,", "мир!"]


def test_another_script_without_the_service_is_a_clear_error(server):
    server.mode = "refuse"
    with pytest.raises(SpeechError, match="Russian; the offline voice am_michael speaks English only"):
        text_to_speech.synthesize("Привет, мир!", "am_michael")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("en-US-AriaNeural", True),
        ("zh-CN-liaoning-XiaobeiNeural", True),
        ("am_michael", False),
        ("en-US", False),
    ],
)
def test_online_voices_are_known_by_their_form(name, expected):
    assert is_edge_voice(name) is expected
