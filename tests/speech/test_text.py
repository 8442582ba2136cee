"""Checking text, cutting it into sentences, captions."""

from itertools import pairwise

import pytest

from synctalk.errors import SpeechError
from synctalk.speech.captions import captions, to_srt
from synctalk.speech.sentences import split_sentences
from synctalk.speech.text_check import check_text, detect_language
from synctalk.speech.words import Word


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "There is no text"),
        (" \n\t ", "There is no text"),
        ("😀🎉 👍🏽", "only emoji"),
        ("<p><br/></p>", "only markup"),
        ("\u200b\u0000\x07", "only invisible characters"),
        ("... !? —", "only punctuation"),
        ("___", "only"),
        (None, "must be a string"),
        (b"bytes", "must be a string"),
        ("a" * 50_001, r"50,001 characters; the limit is 50,000"),
    ],
)
def test_text_that_cannot_be_spoken_is_refused_with_the_reason(text, message):
    with pytest.raises(SpeechError, match=message):
        check_text(text)


@pytest.mark.parametrize(
    ("given", "spoken"),
    [
        ("Hello 😀 world", "Hello world"),
        ("<b>Bold</b>, <i>really</i>.", "Bold, really."),
        ("one<br>two", "one two"),
        ("Fish &amp; chips", "Fish & chips"),
        ("**Strong** and *stressed*", "Strong and *stressed*"),
        ("# Title\n- a point\n1. first", "Title\na point\nfirst"),
        ("See [the page](https://example.com/x)", "See the page"),
        ("```python\nprint(1)\n```", "print(1)"),
        ("zero\u200bwidth\ufeff \x07bell", "zerowidth bell"),
        ("a < b and 5 > 3", "a < b and 5 > 3"),
        ("e\u0301te\u0301", "été"),
    ],
)
def test_markup_emoji_and_control_characters_go_and_words_stay(given, spoken):
    assert check_text(given).text == spoken


def test_the_limit_can_be_set():
    with pytest.raises(SpeechError, match="limit is 10"):
        check_text("eleven chars", limit=10)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The cat sat on the mat.", "en"),
        ("Ok.", "en"),
        ("Der Hund ist nicht groß und ich bin auf der Straße", "de"),
        ("Le chat est dans la maison et il ne veut pas sortir", "fr"),
        ("El perro está en la casa y no quiere salir con los otros", "es"),
        ("Привет, как дела", "ru"),
        ("こんにちは、世界の皆さん", "ja"),
        ("你好，世界", "zh"),
        ("안녕하세요", "ko"),
        ("مرحبا بالعالم", "ar"),
        ("नमस्ते दुनिया", "hi"),
    ],
)
def test_the_language_is_recognised(text, language):
    assert detect_language(text)[0] == language


def test_mixed_scripts_report_their_share():
    language, share = detect_language("My friend Дмитрий came")
    assert language == "en"
    assert share == pytest.approx(7 / 19)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        (
            "Dr. Smith went to Washington D.C. yesterday. He left.",
            ["Dr. Smith went to Washington D.C. yesterday.", "He left."],
        ),
        ("It costs 3.50 today. Yes.", ["It costs 3.50 today.", "Yes."]),
        ('He said "Stop!" Then left.', ['He said "Stop!"', "Then left."]),
        ("J. K. Rowling wrote it.", ["J. K. Rowling wrote it."]),
        ("It was I. He knew.", ["It was I.", "He knew."]),
        ("We open at 9 a.m. The shop is small.", ["We open at 9 a.m.", "The shop is small."]),
        ("No end", ["No end"]),
        ("A title\n\nA text", ["A title", "A text"]),
        ("你好。世界。", ["你好。", "世界。"]),
        ("", []),
    ],
)
def test_text_is_cut_at_the_ends_of_sentences(text, sentences):
    assert split_sentences(text) == sentences


def test_endless_sentences_are_cut_at_commas_and_nothing_is_lost():
    text = "this goes on and on, " * 100
    parts = split_sentences(text, longest=200)
    assert max(map(len, parts)) <= 200
    assert " ".join(parts) == text.strip()
    assert all(part.endswith(",") for part in parts)
    assert "".join(split_sentences("x" * 1000, longest=300)) == "x" * 1000


def _words(text: str, pace_s: float = 0.3) -> list[Word]:
    return [Word(w, i * pace_s, (i + 0.9) * pace_s) for i, w in enumerate(text.split())]


def test_captions_are_srt_with_times_and_numbers():
    assert to_srt([Word("Hello,", 0.1, 0.5), Word("world.", 0.5, 1.0), Word("Bye.", 3661.5, 3662.0)]) == (
        "1\n00:00:00,100 --> 00:00:01,400\nHello, world.\n\n2\n01:01:01,500 --> 01:01:02,400\nBye.\n"
    )


def test_captions_hold_two_short_lines_end_with_sentences_and_do_not_overlap():
    shown = captions(_words("Some words that make a rather long sentence to be read. " * 6))
    for caption in shown:
        assert caption.text.count("\n") <= 1
        assert all(len(line) <= 42 for line in caption.text.split("\n"))
        assert caption.end_s - caption.start_s <= 6.5
    assert all(a.end_s <= b.start_s for a, b in pairwise(shown))
    assert " ".join(c.text.replace("\n", " ") for c in shown).count("read.") == 6
    assert all(c.text.startswith("Some") for c in shown)


def test_a_pause_starts_a_new_caption():
    shown = captions([Word("One", 0.0, 0.5), Word("two", 2.0, 2.5)])
    assert [c.text for c in shown] == ["One", "two"]


def test_no_words_give_no_captions():
    assert to_srt([]) == ""
