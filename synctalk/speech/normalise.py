"""Written English -> the words a reader would say: numbers, dates, money, units, abbreviations.

Each piece keeps how it was written, so that captions show '$5 million' while the voice says
'five million dollars'.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from num2words import num2words

from synctalk.speech.normalise_tables import (
    ABBREVIATIONS,
    CURRENCIES,
    DOTTED,
    FRACTIONS,
    MAGNITUDES,
    MONTH_NAMES,
    MONTHS,
    NUMBERED,
    ROMAN,
    SYMBOLS,
    UNITS,
)

MARKS = ",.!?;:—…"
"""Punctuation that is heard as a pause or a tune."""

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_WORD = r"[^\W\d_]+(?:['’][^\W\d_]+)*['’]?"
_SPELLED_OUT_LIMIT = 10**15  # beyond this a number is read digit by digit


@dataclass(frozen=True)
class Written:
    """One piece of text between spaces (or a group of them that is read together)."""

    text: str  # as written, punctuation included
    words: tuple[str, ...]  # as spoken, 'B.' being the name of a letter; empty for what has no sound
    mark: str = ""  # the pause after it: one of MARKS, or nothing
    emphasis: bool = False  # written *like this*


def normalise(text: str, british: bool = False) -> list[Written]:
    """Split text into pieces with the words they are read as.

    Args:
        text: one or more sentences of English.
        british: day before month, 'and' after the hundreds.

    Returns:
        Pieces in reading order; their texts, joined by spaces, are the input without its spacing.
    """
    text = unicodedata.normalize("NFC", text)
    text = text.replace("’", "'").replace("‘", "'").replace("\u00a0", " ").replace("‑", "-")
    text = re.sub(r"\s+", " ", re.sub(r"\.{3,}", "…", text)).strip()
    reader = _Reader(british)
    pieces: list[Written] = []
    position = 0
    while position < len(text):
        if text[position] == " ":
            position += 1
            continue
        piece, position = reader.piece(text, position, pieces)
        if piece is not None:
            pieces.append(piece)
    return _join_marks(pieces)


def number_words(value: int, british: bool = False) -> list[str]:
    """Cardinal in words: 342 -> three hundred (and) forty two."""
    if abs(value) >= _SPELLED_OUT_LIMIT:
        return [*(["minus"] if value < 0 else []), *digit_words(str(abs(value)))]
    words = _plain(num2words(value))
    return words if british else [word for word in words if word != "and"]


def digit_words(digits: str) -> list[str]:
    """Each digit by itself; other characters are skipped."""
    return [num2words(int(c)) for c in digits if c.isdigit()]


def year_words(year: int) -> list[str]:
    """Year in words: 1984 -> nineteen eighty four, 1905 -> nineteen oh five, 2005 -> two thousand five."""
    if year >= 10000:
        return number_words(year)
    return [word for word in _plain(num2words(year, to="year")) if word != "and"]


def ordinal_words(value: int) -> list[str]:
    """Ordinal in words: 21 -> twenty first."""
    if value >= _SPELLED_OUT_LIMIT:
        return [*digit_words(str(value)), "th"]
    return [word for word in _plain(num2words(value, to="ordinal")) if word != "and"]


def decimal_words(number: str, british: bool = False) -> list[str]:
    """'1,234.05' -> one thousand two hundred thirty four point zero five; leading zeros are read out."""
    whole, _, decimals = number.replace(",", "").partition(".")
    if len(whole) > 1 and whole.startswith("0"):
        words = digit_words(whole)
    else:
        words = number_words(int(whole), british) if whole else []
    return words + (["point", *digit_words(decimals)] if decimals else [])


def _plain(words: str) -> list[str]:
    return words.replace("-", " ").replace(",", " ").split()


def _join_marks(pieces: list[Written]) -> list[Written]:
    """Pieces that have no sound (a lone dash) lend their pause to the piece before them."""
    out: list[Written] = []
    for piece in pieces:
        if piece.words or not out:
            out.append(piece)
        else:
            last = out[-1]
            joined = f"{last.text} {piece.text}"
            out[-1] = Written(joined, last.words, _stronger(last.mark, piece.mark), last.emphasis)
    return out


def _stronger(first: str, second: str) -> str:
    order = ["", ",", ";", ":", "—", "…", ".", "!", "?"]
    return max(first, second, key=order.index)


class _Reader:
    """The rules, tried in order at each position of the text."""

    def __init__(self, british: bool) -> None:
        self.british = british
        months = "|".join(sorted(MONTHS, key=len, reverse=True))
        units = "|".join(re.escape(u) for u in sorted(UNITS, key=len, reverse=True))
        money = "|".join(re.escape(c) for c in CURRENCIES)
        scale = "|".join(sorted(MAGNITUDES, key=len, reverse=True))
        self.rules: list[tuple[re.Pattern[str], Callable[[re.Match[str]], list[str] | None]]] = [
            (re.compile(r"(?:https?://|www\.)[^\s,;!?]*[\w/]", re.I), self._address),
            (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), self._address),
            (re.compile(rf"-?({money}) ?({_NUMBER})(?:[ -]?({scale})\b)?"), self._money),
            (re.compile(rf"({_NUMBER})(?: ({scale}))? ?({money})(?!\w)"), self._money_after),
            (re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?![\d-])"), self._iso_date),
            (re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\d/])"), self._slash_date),
            (
                re.compile(rf"({months})\.? (\d{{1,2}})(?:st|nd|rd|th)?(?:,? (\d{{4}}))?\b(?![:%])", re.I),
                self._month_day,
            ),
            (
                re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th)? ({months})\b\.?(?:,? (\d{{4}}))?", re.I),
                self._day_month,
            ),
            (re.compile(r"(\d{1,2})[:.](\d{2}) ?([ap])\.?m\b\.?", re.I), self._time),
            (re.compile(r"(\d{1,2}):(\d{2})(?::\d{2})?(?![\d:])()"), self._time),
            (re.compile(r"(\d{1,2})() ?([ap])\.?m\b\.?", re.I), self._time),
            (
                re.compile(
                    r"(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)[ .-]?)?\d{2,4}(?:[ .-]\d{2,4}){1,4}(?![\d,.]*\d)"
                ),
                self._telephone,
            ),
            (re.compile(rf"[-−]?({_NUMBER}) ?%"), self._percent),
            (re.compile(rf"([-−]?(?:{_NUMBER})) ?({units})(?![\w])"), self._unit),
            (re.compile(r"(\d+) (\d{1,2})/(\d{1,3})(?![\d/])"), self._mixed),
            (re.compile(r"(\d+)([½⅓⅔¼¾⅛⅜⅝⅞])"), self._vulgar),
            (re.compile(r"()([½⅓⅔¼¾⅛⅜⅝⅞])"), self._vulgar),
            (re.compile(r"(\d{1,3})/(\d{1,3})(?![\d/])"), self._fraction),
            (re.compile(r"'?(\d{1,2}0)'?s\b|(\d{4})'?s\b"), self._decade),
            (re.compile(r"(\d[\d,]*)(?:st|nd|rd|th)\b", re.I), self._ordinal),
            (re.compile(rf"({_NUMBER})[-–]({_NUMBER})(?![\d-])"), self._range),
            (re.compile(rf"#({_NUMBER})"), lambda m: ["number", *decimal_words(m[1], self.british)]),
            (re.compile(r"\d{1,3}(?:\.\d{1,3}){2,}"), self._version),
            (
                re.compile(r"(?<![\d.,])(1[1-9]\d\d|20\d\d)(?![\d,.]*\d)(?!\w)"),
                lambda m: year_words(int(m[1])),
            ),
            (re.compile(rf"[-−]?(?:{_NUMBER})(?: ({scale})\b)?"), self._number),
        ]
        self.abbreviation = re.compile(
            rf"({'|'.join(re.escape(a) for a in sorted([*ABBREVIATIONS, *DOTTED], key=len, reverse=True))})"
            r"(?![\w'])",
        )
        self.initials = re.compile(r"(?:[A-Za-z]\.){2,}(?!\w)|(?:[A-Z]\.)(?= [A-Z])")
        self.word = re.compile(_WORD)

    def piece(self, text: str, start: int, before: list[Written]) -> tuple[Written | None, int]:
        """The piece that starts at `start` (not a space) and where the next one may start."""
        opening = re.compile(r"[\"“”(\[{'<*_~`]*").match(text, start)
        assert opening is not None
        emphasis = "*" in opening[0] and "**" not in opening[0]
        body = opening.end()
        if body == len(text):
            return Written(text[start:], ()), body
        words, end = self._words(text, body, before)
        # What hangs on without a space belongs to the same piece: 'well-known', 'and/or', '5GB,'.
        while end < len(text) and text[end] != " ":
            more, after = self._words(text, end, before)
            if text[end] in MARKS and (after == end + 1) and not self._inside(text, end):
                break
            words, end = words + more, max(after, end + 1)
            if text[end - 1] == "—":
                break
        tail = end
        while tail < len(text) and text[tail] != " ":
            tail += 1
            if text[tail - 1] == "—":
                break
        mark = self._mark(text[end - 1 : tail] if text[end - 1] == "—" else text[end:tail])
        if not mark and self._ends_sentence(text, end, tail):
            mark = "."
        written = text[start:tail]
        if emphasis:
            written = written.replace("*", "")
        return Written(written, tuple(words), mark, emphasis), tail

    def _words(self, text: str, at: int, before: list[Written]) -> tuple[list[str], int]:
        """Words of the rule that matches at `at`, or of one character."""
        joined = at > 0 and (text[at - 1].isalnum())
        if text[at].isdigit() or text[at] in "$£€¥₹-−.#'½⅓⅔¼¾⅛⅜⅝⅞+(" or not joined:
            for pattern, rule in self.rules:
                match = pattern.match(text, at)
                if match is None or (joined and not text[at].isdigit()):
                    continue
                words = rule(match)
                if words is not None:
                    return words, match.end()
        if not joined:
            match = self.abbreviation.match(text, at) or self.initials.match(text, at)
            if match is not None:
                words = self._abbreviated(match, text, before)
                if words is not None:
                    return words, match.end()
        match = self.word.match(text, at)
        if match is not None:
            return self._spoken(match[0], text, at, before), match.end()
        if text[at] in SYMBOLS and self._reads_symbol(text, at):
            return [SYMBOLS[text[at]]], at + 1
        return [], at + 1

    @staticmethod
    def _inside(text: str, at: int) -> bool:
        """Whether a mark stands between two characters of one word: 'example.com', '3:4'."""
        return (
            text[at] in ".:"
            and at + 1 < len(text)
            and text[at + 1].isalnum()
            and at > 0
            and text[at - 1].isalnum()
        )

    @staticmethod
    def _mark(tail: str) -> str:
        mark = ""
        for c in tail:
            if c in MARKS:
                mark = _stronger(mark, c)
            elif c in ")]}–":
                mark = _stronger(mark, ",")
        return mark

    @staticmethod
    def _ends_sentence(text: str, end: int, tail: int) -> bool:
        """'at 5 p.m. The' - an abbreviation's dot that also ends the sentence."""
        if text[end - 1] != ".":
            return False
        rest = text[tail:].lstrip()
        return not rest or (
            rest[0].isupper() and text[max(0, end - 4) : end].lower() in ("a.m.", "p.m.", "etc.")
        )

    @staticmethod
    def _reads_symbol(text: str, at: int) -> bool:
        """Symbols are read between words or beside digits, not as decoration ('***', '~~')."""
        around = text[max(0, at - 1)] if at else " ", text[at + 1] if at + 1 < len(text) else " "
        return text[at] not in around and not (text[at] in "*_" and "\\" not in around)

    def _spoken(self, word: str, text: str, at: int, before: list[Written]) -> list[str]:
        """A word by itself; Roman numerals after a name or 'Chapter' are numbers."""
        bare = word.rstrip("'")
        if bare in ROMAN and before and at and text[at - 1] == " ":
            last = before[-1].words[-1] if before[-1].words and not before[-1].mark else ""
            if last.lower() in NUMBERED:
                return number_words(ROMAN[bare])
            if len(bare) > 1 and last[:1].isupper() and last[1:].islower():
                return ["the", *ordinal_words(ROMAN[bare])]
        return [word]

    def _abbreviated(self, match: re.Match[str], text: str, before: list[Written]) -> list[str] | None:
        short = match[0]
        rest = text[match.end() :].lstrip()
        if short in ("St.", "Dr.") and before and before[-1].text[:1].isupper() and not rest[:1].isupper():
            return ["street" if short == "St." else "drive"]
        if short == "No.":
            return ["number"] if rest[:1].isdigit() else None
        if short in DOTTED:
            return DOTTED[short].split()
        if short in ABBREVIATIONS:
            return ABBREVIATIONS[short].split()
        return [c.upper() + "." for c in short if c.isalpha()]

    def _address(self, match: re.Match[str]) -> list[str]:
        words: list[str] = []
        names = {".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", "?": "question mark"}
        bare = re.sub(r"^https?://", "", match[0], flags=re.I)
        for part in re.findall(r"www(?=\.)|[^\W\d_]+|\d+|[^\w]|_", bare, flags=re.I):
            if part.lower() == "www":
                words += ["W."] * 3
            elif part.isalpha():
                words.append(part)
            elif part.isdigit():
                words += digit_words(part) if len(part) > 2 else number_words(int(part))
            else:
                words += names.get(part, SYMBOLS.get(part, "")).split()
        return words

    def _money(self, match: re.Match[str]) -> list[str]:
        return self._amount(match[1], match[2], match[3])

    def _money_after(self, match: re.Match[str]) -> list[str]:
        return self._amount(match[3], match[1], match[2])

    def _amount(self, sign: str, number: str, scale: str | None) -> list[str]:
        one, many, cent, cents = CURRENCIES[sign]
        if scale:
            return [*decimal_words(number, self.british), MAGNITUDES[scale], many]
        whole, _, small = number.replace(",", "").partition(".")
        if len(small) not in (0, 2) or not cent:
            return [*decimal_words(number, self.british), many]
        words = []
        if int(whole or 0) or not int(small or 0):
            words = [*number_words(int(whole or 0), self.british), one if int(whole or 0) == 1 else many]
        if int(small or 0):
            words += ["and"] if words else []
            words += [*number_words(int(small)), cent if int(small) == 1 else cents]
        return words

    def _date(self, day: int, month: str, year: str | None) -> list[str] | None:
        if not 1 <= day <= 31:
            return None
        spoken = ["the", *ordinal_words(day), "of", month] if self.british else [month, *ordinal_words(day)]
        if year and len(year) == 2:
            year = ("19" if int(year) > 50 else "20") + year
        return spoken + (year_words(int(year)) if year else [])

    def _iso_date(self, match: re.Match[str]) -> list[str] | None:
        month = int(match[2])
        if not 1 <= month <= 12:
            return None
        return self._date(int(match[3]), _month(month), match[1])

    def _slash_date(self, match: re.Match[str]) -> list[str] | None:
        first, second = int(match[1]), int(match[2])
        day, month = (first, second) if self.british else (second, first)
        if month > 12:
            day, month = month, day
        return self._date(day, _month(month), match[3]) if 1 <= month <= 12 else None

    def _month_day(self, match: re.Match[str]) -> list[str] | None:
        if match[1].lower() in ("may", "march", "mar") and not match[1][0].isupper():
            return None
        return self._date(int(match[2]), MONTHS[match[1].lower()], match[3])

    def _day_month(self, match: re.Match[str]) -> list[str] | None:
        if not match[2][0].isupper():
            return None
        return self._date(int(match[1]), MONTHS[match[2].lower()], match[3])

    def _time(self, match: re.Match[str]) -> list[str] | None:
        hour, minute = int(match[1]), int(match[2] or 0)
        if hour > 24 or minute > 59:
            return None
        words = number_words(hour)
        if minute:
            words += ["oh", *number_words(minute)] if minute < 10 else number_words(minute)
        elif not match[3]:
            words += ["o'clock"] if 1 <= hour <= 12 else ["hundred"]
        return words + ([match[3].upper() + ".", "M."] if match[3] else [])

    def _telephone(self, match: re.Match[str]) -> list[str] | None:
        digits = re.sub(r"\D", "", match[0])
        # Years and scores like '1990-1995' or '10-12' have fewer groups or digits.
        if not 7 <= len(digits) <= 15 or re.fullmatch(r"\d{4}[-–]\d{4}", match[0]):
            return None
        return [*(["plus"] if match[0].startswith("+") else []), *digit_words(digits)]

    def _percent(self, match: re.Match[str]) -> list[str]:
        minus = ["minus"] if match[0][0] in "-−" else []
        return [*minus, *decimal_words(match[1], self.british), "percent"]

    def _unit(self, match: re.Match[str]) -> list[str]:
        minus = ["minus"] if match[1][0] in "-−" else []
        number = match[1].lstrip("-−")
        one, many = UNITS[match[2]]
        return [*minus, *decimal_words(number, self.british), *(one if number == "1" else many).split()]

    def _mixed(self, match: re.Match[str]) -> list[str] | None:
        part = _fraction_words(int(match[2]), int(match[3]))
        return None if part is None else [*number_words(int(match[1]), self.british), "and", *part]

    def _vulgar(self, match: re.Match[str]) -> list[str]:
        part = FRACTIONS[match[2]].split()
        return [*number_words(int(match[1]), self.british), "and", *part] if match[1] else part

    def _fraction(self, match: re.Match[str]) -> list[str] | None:
        if match[0] == "24/7":
            return ["twenty", "four", "seven"]
        part = _fraction_words(int(match[1]), int(match[2]))
        if part is None:
            return [*number_words(int(match[1])), "over", *number_words(int(match[2]))]
        return ["one", *part[1:]] if part[0] == "a" else part

    def _decade(self, match: re.Match[str]) -> list[str] | None:
        digits = match[1] or match[2]
        words = year_words(int(digits)) if len(digits) == 4 else number_words(int(digits))
        last = words[-1]
        return [*words[:-1], last[:-1] + "ies" if last.endswith("y") else last + "s"]

    def _ordinal(self, match: re.Match[str]) -> list[str]:
        return ordinal_words(int(match[1].replace(",", "")))

    def _range(self, match: re.Match[str]) -> list[str]:
        def read(number: str) -> list[str]:
            if re.fullmatch(r"1[1-9]\d\d|20\d\d", number):
                return year_words(int(number))
            return decimal_words(number, self.british)

        return [*read(match[1]), "to", *read(match[2])]

    def _version(self, match: re.Match[str]) -> list[str]:
        words: list[str] = []
        for part in match[0].split("."):
            words += (["point"] if words else []) + number_words(int(part))
        return words

    def _number(self, match: re.Match[str]) -> list[str]:
        number = match[0].split(" ")[0]
        minus = ["minus"] if number[0] in "-−" else []
        words = decimal_words(number.lstrip("-−"), self.british)
        return [*minus, *words, *([MAGNITUDES[match[1]]] if match[1] else [])]


def _month(number: int) -> str:
    return MONTH_NAMES[number - 1]


def _fraction_words(top: int, bottom: int) -> list[str] | None:
    """3/4 -> three quarters; None where it is read with 'over'."""
    if bottom == 0 or bottom > 100 or bottom == 1 or top == 0:
        return None
    names = {2: ("half", "halves"), 4: ("quarter", "quarters")}
    if bottom in names:
        one, many = names[bottom]
    else:
        one = " ".join(ordinal_words(bottom))
        many = one + "s"
    return [*(["a"] if top == 1 else number_words(top)), *(one if top == 1 else many).split()]
