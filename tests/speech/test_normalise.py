"""Written text -> spoken words."""

import pytest

from synctalk.speech.normalise import normalise, number_words, year_words


def _spoken(text: str, british: bool = False) -> str:
    return " ".join(" ".join(p.words) for p in normalise(text, british) if p.words)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("342", "three hundred forty two"),
        (
            "1,234,567.89",
            "one million two hundred thirty four thousand five hundred sixty seven point eight nine",
        ),
        ("-7", "minus seven"),
        ("0.05", "zero point zero five"),
        ("007", "zero zero seven"),
        ("99999999999999999999", " ".join(["nine"] * 20)),
        (
            "In 1984, 1905, 2005 and 2024",
            "In nineteen eighty four nineteen oh five two thousand five and twenty twenty four",
        ),
        ("the 1990s and the '80s", "the nineteen nineties and the eighties"),
        ("1st, 2nd, 23rd", "first second twenty third"),
        ("$5 million", "five million dollars"),
        ("$1", "one dollar"),
        ("£3.50", "three pounds and fifty pence"),
        ("€0.99", "ninety nine cents"),
        ("20 €", "twenty euros"),
        ("$1.5bn", "one point five billion dollars"),
        ("12.5%", "twelve point five percent"),
        ("1/2, 3/4, 2 1/2 and ¾", "one half three quarters two and a half and three quarters"),
        ("24/7", "twenty four seven"),
        ("10-20 people", "ten to twenty people"),
        ("1990–1995", "nineteen ninety to nineteen ninety five"),
        ("at 10:30 p.m.", "at ten thirty P. M."),
        ("9am", "nine A. M."),
        ("10:05", "ten oh five"),
        ("3:00", "three o'clock"),
        ("-20°C", "minus twenty degrees Celsius"),
        ("1 kg and 5 km", "one kilogram and five kilometers"),
        ("100 km/h", "one hundred kilometers per hour"),
        ("Call 555-123-4567", "Call five five five one two three four five six seven"),
        ("Dr. Smith of St. Paul's", "doctor Smith of saint Paul's"),
        ("on Elm St. today", "on Elm street today"),
        ("e.g. this, i.e. that, etc.", "for example this that is that et cetera"),
        ("Henry VIII, World War II, Chapter IV", "Henry the eighth World War two Chapter four"),
        ("the U.S.A.", "the U. S. A."),
        ("J. K. Rowling", "J. K. Rowling"),
        ("No. 5", "number five"),
        ("AT&T, 1 + 1 = 2", "AT and T one plus one equals two"),
        ("bob@mail.com", "bob at mail dot com"),
        ("www.example.com/page", "W. W. W. dot example dot com slash page"),
        ("version 2.0.1", "version two point zero point one"),
        ("H2O and GPT-4", "H two O and GPT four"),
        ("and/or well-known", "and or well known"),
        ("I use C++ and C#.", "I use C. plus plus and C. sharp"),
        ("#3", "number three"),
    ],
)
def test_what_is_written_is_read_as_a_person_would(written, spoken):
    assert _spoken(written) == spoken


@pytest.mark.parametrize(
    ("written", "american", "british"),
    [
        ("May 3, 2024", "May third twenty twenty four", "the third of May twenty twenty four"),
        ("3 May 2024", "May third twenty twenty four", "the third of May twenty twenty four"),
        ("2024-05-01", "May first twenty twenty four", "the first of May twenty twenty four"),
        ("4/5/1999", "April fifth nineteen ninety nine", "the fourth of May nineteen ninety nine"),
        ("101", "one hundred one", "one hundred and one"),
    ],
)
def test_dates_and_hundreds_follow_the_accent(written, american, british):
    assert _spoken(written) == american
    assert _spoken(written, british=True) == british


def test_pieces_keep_how_they_were_written_and_their_pause():
    pieces = normalise("In 2024, it cost $5 million (or so). *Never* again — ever!")
    assert [p.text for p in pieces] == [
        *("In", "2024,", "it", "cost", "$5 million", "(or", "so).", "Never", "again —", "ever!")
    ]
    assert [p.mark for p in pieces] == ["", ",", "", "", "", "", ".", "", "—", "!"]
    assert [p.emphasis for p in pieces] == [p.text == "Never" for p in pieces]


def test_the_dot_of_an_abbreviation_is_no_pause():
    assert [p.mark for p in normalise("Dr. Smith vs. Prof. Jones.")] == ["", "", "", "", "."]
    assert [p.mark for p in normalise("At 5 p.m. The end")][1] == "."


def test_no_text_of_any_kind_raises():
    for text in (
        "",
        " ",
        "***",
        "…",
        "\u0000\u200b",
        "日本語 и русский",
        "a" * 5000,
        "((([[[",
        "1/0 0/0 $ £ % #",
        "--- 5--6 -",
    ):
        normalise(text)


def test_spoken_words_of_edge_cases():
    assert number_words(0) == ["zero"]
    assert number_words(-1_000_000) == ["minus", "one", "million"]
    assert year_words(1900) == ["nineteen", "hundred"]
