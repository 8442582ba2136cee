"""Captions from timed words: SubRip (SRT)."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from synctalk.speech.words import Word

_LINE = 42  # characters per line that people read comfortably
_LONGEST_S = 6.0
_PAUSE_S = 0.6
_HOLD_S = 0.4  # a caption stays this long after its last word, unless the next one begins
_SENTENCE_END = (".", "!", "?", "…", "。", "！", "？")


@dataclass(frozen=True)
class Caption:
    """Text shown from `start_s` to `end_s`; one or two lines."""

    text: str
    start_s: float
    end_s: float


def captions(words: Sequence[Word]) -> list[Caption]:
    """Group words into captions of at most two lines and six seconds, cut at sentences and pauses."""
    groups: list[list[Word]] = []
    for word in words:
        if not word.text.strip():
            continue
        if groups and not _full(groups[-1], word):
            groups[-1].append(word)
        else:
            groups.append([word])
    shown = []
    for i, group in enumerate(groups):
        following = groups[i + 1][0].start_s if i + 1 < len(groups) else float("inf")
        end = max(min(group[-1].end_s + _HOLD_S, following), group[0].start_s + 0.001)
        text = " ".join(w.text for w in group)
        lines = textwrap.wrap(text, _LINE, break_long_words=False, break_on_hyphens=False)
        shown.append(Caption("\n".join(lines), group[0].start_s, end))
    return shown


def to_srt(words: Sequence[Word]) -> str:
    """The captions of timed words as the text of an SRT file; empty for no words."""
    return srt(captions(words))


def srt(shown: Iterable[Caption]) -> str:
    """Text of an SRT file with these captions."""
    blocks = [
        f"{number}\n{_stamp(c.start_s)} --> {_stamp(c.end_s)}\n{c.text}\n"
        for number, c in enumerate(shown, start=1)
    ]
    return "\n".join(blocks)


def _full(group: list[Word], word: Word) -> bool:
    text = " ".join(w.text for w in group)
    return (
        len(textwrap.wrap(f"{text} {word.text}", _LINE, break_long_words=False)) > 2
        or word.end_s - group[0].start_s > _LONGEST_S
        or word.start_s - group[-1].end_s > _PAUSE_S
        or text.rstrip("\"'”’)").endswith(_SENTENCE_END)
    )


def _stamp(seconds: float) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds_, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{seconds_:02d},{milliseconds:03d}"
