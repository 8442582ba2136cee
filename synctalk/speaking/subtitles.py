"""Captions for the picture and for players."""

from collections.abc import Sequence

from synctalk.speech.captions import Caption, captions, to_srt
from synctalk.speech.words import Word


class Subtitles:
    """The caption on show at any time, while words still arrive."""

    def __init__(self) -> None:
        self._words: list[Word] = []
        self._shown: list[Caption] = []

    def add(self, words: Sequence[Word]) -> None:
        """More words, later than those before."""
        if words:
            self._words += words
            self._shown = captions(self._words)

    def at(self, seconds: float) -> str:
        """The caption at a time; empty in pauses."""
        return next((c.text for c in self._shown if c.start_s <= seconds < c.end_s), "")


def to_vtt(words: Sequence[Word]) -> str:
    """Captions in WebVTT form, as browsers read them."""
    lines = [line.replace(",", ".") if " --> " in line else line for line in to_srt(words).splitlines()]
    return "\n".join(["WEBVTT", "", *lines, ""])
