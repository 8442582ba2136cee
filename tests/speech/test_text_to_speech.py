"""Text to speech as the rest of the library calls it, without a network."""

import numpy as np
import pytest

from synctalk.errors import SpeechError
from synctalk.speech import text_to_speech
from synctalk.speech.text_to_speech import Speech, synthesize, synthesize_sentences, voices
from synctalk.speech.voice_list import describe, stand_in
from synctalk.speech.words import EngineUnavailable, Word


class _Talker:
    """An engine that 'says' each word as a tenth of a second of ones."""

    def __init__(self, name: str, rate: int = 1000) -> None:
        self.name, self.rate, self.asked = name, rate, []

    def stream(self, text, voice, speed):
        self.asked.append((text, voice, speed))
        for sentence in text_to_speech.split_sentences(text):
            n = len(sentence.split())
            words = [Word(w, i / 10, (i + 1) / 10) for i, w in enumerate(sentence.split())]
            yield Speech(np.ones(n * self.rate // 10, np.float32), self.rate, words, voice, self.name)


@pytest.fixture
def engines(monkeypatch) -> dict[str, _Talker]:
    made = {name: _Talker(name) for name in ("kokoro", "edge")}
    monkeypatch.setattr(text_to_speech, "_engine", made.__getitem__)
    return made


def test_the_voice_decides_the_engine(engines):
    assert synthesize("Hello.", "am_michael").engine == "kokoro"
    assert synthesize("Hello.", "en-US-AriaNeural").engine == "edge"


def test_a_real_sentence_is_spoken_offline(kokoro, monkeypatch):
    monkeypatch.setattr(text_to_speech, "shared_kokoro", lambda: kokoro)
    speech = synthesize("Hi.", "bm_george")
    assert (speech.rate, speech.voice, speech.engine, speech.notes) == (24000, "bm_george", "kokoro", [])
    assert 0.3 < speech.duration_s < 2.0
    assert [w.text for w in speech.words] == ["Hi."]


def test_words_of_later_sentences_are_timed_from_the_start(engines):
    speech = synthesize("One two. Three.")
    assert [(w.text, w.start_s) for w in speech.words] == [
        ("One", 0.0),
        ("two.", pytest.approx(0.1)),
        ("Three.", pytest.approx(0.2)),
    ]
    assert len(speech.samples) == 300


def test_the_first_sentence_comes_before_the_second_is_made(engines):
    made = []

    def stream(text, voice, speed):
        for sentence in text.split(" "):
            made.append(sentence)
            yield Speech(np.ones(10, np.float32), 1000, [], voice, "kokoro")

    engines["kokoro"].stream = stream
    next(synthesize_sentences("First. Second."))
    assert made == ["First."]


def test_bad_text_is_refused_before_the_generator_is_run(engines):
    with pytest.raises(SpeechError, match="only emoji"):
        synthesize_sentences("😀")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"voice": "nobody"}, "no voice 'nobody'"),
        ({"engine": "parrot"}, "no speech engine 'parrot'"),
        ({"speed": 3.0}, "out of range"),
        ({"limit": 3}, "limit is 3"),
    ],
)
def test_wrong_arguments_are_told(engines, arguments, message):
    with pytest.raises(SpeechError, match=message):
        synthesize("Hello.", **arguments)


def test_a_voice_of_the_other_engine_is_replaced_and_told(engines):
    speech = synthesize("Hello.", "en-GB-SoniaNeural", engine="kokoro")
    assert speech.voice == "bf_emma"
    assert "bf_emma speaks instead" in speech.notes[0]


def test_a_foreign_name_is_left_out_and_told(engines):
    speech = synthesize("My very dear old friend from the north is called Яна by all of us.", "am_michael")
    assert engines["kokoro"].asked[0][0] == "My very dear old friend from the north is called by all of us."
    assert "left out" in speech.notes[0]


def test_mixed_scripts_go_to_a_voice_of_many_languages(engines):
    speech = synthesize("Hello friends, привет друзья", "am_michael")
    assert speech.voice == "en-US-AvaMultilingualNeural"
    assert "more than one language" in speech.notes[0]


def test_another_script_is_refused_by_the_offline_engine(engines):
    with pytest.raises(SpeechError, match="in Japanese; the offline voice am_michael speaks English only"):
        synthesize("こんにちは", "am_michael", engine="kokoro")


def test_another_latin_language_is_read_offline_with_a_warning(engines):
    speech = synthesize("Das ist nicht der Hund und ich bin hier", "am_michael", engine="kokoro")
    assert speech.engine == "kokoro"
    assert "looks like German" in speech.notes[0]


def _broken_engine(message: str):
    class Broken:
        def stream(self, text, voice, speed):
            raise EngineUnavailable(message)
            yield

    return Broken()


def test_without_the_offline_model_the_online_voice_speaks_and_says_so(engines):
    engines["kokoro"] = _broken_engine("No model here.")
    speech = synthesize("Hello.", "bm_george")
    assert (speech.engine, speech.voice) == ("edge", "en-GB-RyanNeural")
    assert speech.notes == ["No model here. The voice Ryan, British (online) speaks instead."]
    with pytest.raises(SpeechError, match="No model here"):
        synthesize("Hello.", "bm_george", engine="kokoro")


def test_when_both_engines_fail_both_reasons_are_told(engines):
    engines["kokoro"], engines["edge"] = _broken_engine("No model here."), _broken_engine("No network.")
    with pytest.raises(SpeechError, match=r"No network. The stand-in fails too: No model here."):
        synthesize("Hello.", "en-US-AriaNeural")


def test_every_voice_on_offer_is_described_and_has_an_offline_stand_in():
    names = [v.name for v in voices()]
    assert len(names) == len(set(names))
    assert sum(v.engine == "kokoro" and v.language.startswith("en") for v in voices()) >= 5
    for voice in voices():
        assert describe(voice.name) == voice
        other = stand_in(voice.name, "kokoro", "en")
        assert other is not None
        assert other.gender == voice.gender
    assert describe("en-US-EricNeural").gender == "male"
    assert stand_in("am_michael", "edge", "xx") is None
