"""Cutting text into sentences, so that speech can start before all of it is made."""

import re

from synctalk.speech.normalise_tables import DOTTED

_LONGEST = 600  # characters; longer 'sentences' are cut at a semicolon, a comma or a space
_END = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s|$)|\n\s*\n|(?<=[。！？])")


def split_sentences(text: str, longest: int = _LONGEST) -> list[str]:
    """Sentences of a text, in order, without the spaces between them.

    A dot after an abbreviation or an initial ends no sentence. Pieces longer than `longest`
    characters are cut where a reader would breathe.
    """
    sentences: list[str] = []
    start = 0
    for match in _END.finditer(text):
        piece = text[start : match.end()].strip()
        if not piece or _goes_on(piece, text[match.end() :]):
            continue
        sentences.append(piece)
        start = match.end()
    rest = text[start:].strip()
    if rest:
        sentences.append(rest)
    return [part for sentence in sentences for part in _shortened(sentence, longest)]


def _goes_on(piece: str, rest: str) -> bool:
    """Whether the dot at the end of `piece` belongs to an abbreviation inside a sentence."""
    if not piece.endswith("."):
        return False
    last = piece.split()[-1].lstrip("(\"'“‘[")
    following = rest.lstrip()[:1]
    if re.fullmatch(r"[A-Za-z]\.", last) and last != "I.":
        return following.isupper()
    if re.fullmatch(r"(?:[A-Za-z]\.){2,}", last) or last in (
        "etc.",
        "Inc.",
        "Ltd.",
        "Co.",
        "Corp.",
        "Jr.",
        "Sr.",
    ):
        return not following.isupper()
    if last == "No.":
        return following.isdigit()
    return last in DOTTED


def _shortened(sentence: str, longest: int) -> list[str]:
    parts = []
    while len(sentence) > longest:
        head = sentence[:longest]
        cut = max(head.rfind(mark) + 1 for mark in (";", ":", ",", "—"))
        if cut < longest // 3:
            cut = head.rfind(" ") + 1
        if cut <= 0:
            cut = longest
        parts.append(sentence[:cut].strip())
        sentence = sentence[cut:].strip()
    return [*parts, sentence] if sentence else parts
