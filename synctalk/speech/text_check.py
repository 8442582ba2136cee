"""What a person typed -> text that can be spoken, or a message that says why not."""

import html
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

from synctalk.errors import SpeechError

MAX_CHARACTERS = 50_000
"""Longest text accepted: about an hour of speech."""

_TAG = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>", re.S)
_INLINE_TAG = re.compile(r"</?(?:a|b|code|em|i|mark|s|small|span|strong|sub|sup|u)(?:\s[^<>]*)?>", re.I)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)")
_MARKDOWN = re.compile(r"^[ \t]{0,3}(?:#{1,6}|>|[-+*]|\d+[.)](?=\s+\D))[ \t]+", re.M)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$", re.M)
_RULE = re.compile(r"^[ \t]*(?:[-*_=][ \t]*){3,}$", re.M)
_STRONG = re.compile(r"\*\*+|__+|~~+|`+")
_INVISIBLE = {"Cc", "Cf", "Co", "Cn", "Cs"}

# Function words that are frequent in one language and rare in the others.
_FUNCTION_WORDS = {
    "en": "the and of to is in that it was for with you are this have not but from they his her",
    "de": "der die das und ist nicht ein eine ich wir sie mit auf für den dem des zu auch wird sind",
    "fr": "le les des et est une dans que qui pour pas sur avec nous vous je ne au il elle sont",
    "es": "el los las y es una que por con para se del no su al como pero está más son",
    "it": "il gli che di è una per non con sono della nel si ma anche questo alla dei come più",
    "pt": "o os as e é uma que não para com do da em por mais mas são como ao dos",
    "nl": "de het een en van is niet dat ik op te met voor zijn aan er ook maar naar wij",
}
_SCRIPT_LANGUAGES = {
    "CYRILLIC": "ru",
    "GREEK": "el",
    "ARABIC": "ar",
    "HEBREW": "he",
    "DEVANAGARI": "hi",
    "THAI": "th",
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "zh",
}
LANGUAGE_NAMES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "ru": "Russian",
    "el": "Greek",
    "ar": "Arabic",
    "he": "Hebrew",
    "hi": "Hindi",
    "th": "Thai",
    "ko": "Korean",
    "ja": "Japanese",
    "zh": "Chinese",
}


@dataclass(frozen=True)
class CheckedText:
    """Text ready to be spoken."""

    text: str
    language: str  # two letters, the most likely one; 'en' where nothing speaks against it
    foreign_share: float  # letters outside the Latin script, 0 to 1
    notes: list[str] = field(default_factory=list)  # what a person should know


def check_text(text: object, limit: int = MAX_CHARACTERS) -> CheckedText:
    """Clean a text: markup, control characters and emoji go, words stay.

    Args:
        text: what was given.
        limit: longest text accepted, in characters.

    Raises:
        SpeechError: no text, nothing in it to say (only emoji, symbols or markup), or too long.
    """
    if not isinstance(text, str):
        raise SpeechError(f"The text must be a string, not {type(text).__name__}.")
    if not text.strip():
        raise SpeechError("There is no text. Write what should be said.")
    if len(text) > limit:
        raise SpeechError(
            f"The text has {len(text):,} characters; the limit is {limit:,} "
            f"(about {max(1, round(limit / 850))} minutes). Cut it into parts."
        )
    notes: list[str] = []
    plain = _without_markup(text)
    visible = "".join(_visible(c) for c in unicodedata.normalize("NFC", plain))
    spoken = "".join(" " if _is_emoji(c) else c for c in visible)
    spoken = re.sub(r"[ \t]+", " ", spoken).strip()
    if not re.search(r"\w", spoken.replace("_", "")):
        raise SpeechError(_nothing_left(text, plain, visible))
    if plain != text and _TAG.search(text):
        notes.append("Tags in the text are not read out.")
    language, foreign = detect_language(spoken)
    return CheckedText(spoken, language, foreign, notes)


def detect_language(text: str) -> tuple[str, float]:
    """Most likely language (two letters) and the share of letters outside the Latin script.

    Scripts decide where they can; within the Latin script function words do, and short texts count as
    English.
    """
    scripts: Counter[str] = Counter()
    for c in text:
        if c.isalpha():
            name = unicodedata.name(c, "")
            scripts[next((s for s in _SCRIPT_LANGUAGES if name.startswith(s)), "LATIN")] += 1
    letters = sum(scripts.values())
    foreign = 1.0 - scripts["LATIN"] / letters if letters else 0.0
    if foreign > 0.5:
        scripts.pop("LATIN", None)
        if scripts["HIRAGANA"] + scripts["KATAKANA"]:  # Japanese writes most of its nouns in Han characters
            return "ja", foreign
        return _SCRIPT_LANGUAGES[scripts.most_common(1)[0][0]], foreign
    words = Counter(re.findall(r"[^\W\d_]+", text.lower()))
    votes = {
        language: sum(words[w] for w in function_words.split())
        for language, function_words in _FUNCTION_WORDS.items()
    }
    best = max(votes, key=lambda language: votes[language])
    if best != "en" and votes[best] >= 2 and votes[best] > 2 * votes["en"] + 1:
        return best, foreign
    return "en", foreign


def without_foreign_letters(text: str) -> str:
    """Drop letters outside the Latin script."""
    kept = "".join(
        c
        if not c.isalpha() or unicodedata.name(c, "").startswith(("LATIN", "FEMININE", "MASCULINE"))
        else " "
        for c in unicodedata.normalize("NFC", text)
    )
    return re.sub(r" {2,}", " ", kept).strip()


def _without_markup(text: str) -> str:
    text = _TAG.sub(lambda m: "" if _INLINE_TAG.fullmatch(m[0]) else " ", text)
    text = html.unescape(text)
    text = _LINK.sub(r"\1", text)
    text = _FENCE.sub("", text)
    text = _RULE.sub("", text)
    text = _MARKDOWN.sub("", text)
    return _STRONG.sub("", text)


def _visible(c: str) -> str:
    if c in "\n\t\r\u2028\u2029":
        return "\n" if c in "\n\u2028\u2029" else " "
    return "" if unicodedata.category(c) in _INVISIBLE else c


def _is_emoji(c: str) -> bool:
    code = ord(c)
    if unicodedata.category(c) in ("So", "Sk") and c not in "°©®№℃℉":
        return True
    return 0x1F000 <= code <= 0x1FAFF or 0x2600 <= code <= 0x27BF or code in (0xFE0F, 0x20E3)


def _nothing_left(text: str, plain: str, visible: str) -> str:
    if not visible.strip():
        what = "only markup" if plain.strip() != text.strip() else "only invisible characters"
    elif any(_is_emoji(c) for c in visible):
        what = "only emoji"
    else:
        what = "only punctuation"
    return f"The text holds {what}, nothing that can be said. Write some words."
