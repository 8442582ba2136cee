"""English text -> phonemes in the alphabet Kokoro speaks (that of misaki), without espeak or a tagger.

Looked up in misaki's dictionaries; then suffixes, prefixes and compounds of known words; then spelled
letter by letter where nobody could say it; then letter-to-sound rules. Never an exception.
"""

import importlib.util
import json
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from synctalk.speech.letter_to_sound import letter_to_sound
from synctalk.speech.normalise import normalise
from synctalk.speech.words import EngineUnavailable

PRIMARY, SECONDARY = "ˈ", "ˌ"
VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻɐᵊ")
_VOICELESS = frozenset("ptkfθ")
_HISSING = frozenset("szʃʒʧʤ")
_FLAPPING = frozenset("AIOWYiuæɑəɛɪɹʊʌ")  # a t between these and a vowel is tapped in American English


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Short words in capitals that are names of things rather than words said loudly.
_SPELLED = _set("AI AM BBC CD CEO DJ EU ID IT PC PM TV UK UN US WHO")
# What stands before a verb, a noun or a participle: enough to tell 'to record' from 'a record'.
_BEFORE_VERB = _set(
    "to i you we they he she it will would can could shall should must might may don't doesn't didn't won't "
    "can't couldn't wouldn't i'll you'll we'll they'll let's who"
)
_BEFORE_NOUN = _set(
    "a an the my your his her its our their this that these those no any some each every of in on with for "
    "one two three more most first last new old"
)
_BEFORE_PARTICIPLE = _set("have has had having was were been be is are i've you've we've they've")


@dataclass(frozen=True)
class Token:
    """A piece of text as written, with its sound."""

    text: str  # as written, punctuation included
    phonemes: str  # words separated by a space; stress marks before vowels; empty if it has no sound
    mark: str = ""  # punctuation that is heard after it, one of ',.!?;:—…', or empty


def phonemize(text: str, british: bool = False) -> list[Token]:
    """Phonemes of English text.

    Args:
        text: any text; what has no sound in English (emoji, other scripts) becomes no phonemes.
        british: British instead of American pronunciation.

    Returns:
        One token per written piece ('$5 million' is one), in reading order.

    Raises:
        EngineUnavailable: misaki's dictionaries are not installed.
    """
    lexicon = Lexicon.load(british)
    pieces = normalise(text, british)
    flat = [(i, word) for i, piece in enumerate(pieces) for word in piece.words]
    shouting = text.isupper() and len(flat) > 2
    sounds: list[list[str]] = [[] for _ in pieces]
    following: str | None = None  # first sound of the next word; None at a pause
    next_word = ""
    for k in range(len(flat) - 1, -1, -1):
        i, word = flat[k]
        last_of_piece = k + 1 == len(flat) or flat[k + 1][0] != i
        if last_of_piece and (pieces[i].mark or k + 1 == len(flat)):
            following, next_word = None, ""
        paused = k == 0 or (flat[k - 1][0] != i and pieces[flat[k - 1][0]].mark)
        context = Context(
            before="" if paused else flat[k - 1][1].lower(),
            after=next_word,
            vowel_follows=None if following is None else following in VOWELS,
            shouting=shouting,
        )
        sound = lexicon.pronounce(word, context)
        if pieces[i].emphasis:
            sound = with_stress(sound, PRIMARY)
        sounds[i].insert(0, sound)
        following = next((c for c in sound if c not in PRIMARY + SECONDARY), following)
        next_word = word.lower()
    return [
        Token(piece.text, " ".join(s for s in sound if s), piece.mark)
        for piece, sound in zip(pieces, sounds, strict=True)
    ]


@dataclass(frozen=True)
class Context:
    """What stands around a word."""

    before: str = ""  # the word before it, lower case; empty after a pause
    after: str = ""
    vowel_follows: bool | None = None  # None at a pause
    shouting: bool = False  # the whole text is in capitals


class Lexicon:
    """misaki's gold and silver dictionaries of one accent, and what to do where they end."""

    def __init__(self, british: bool, gold: dict, silver: dict) -> None:
        self.british = british
        self.gold = gold
        self.silver = silver

    @staticmethod
    @lru_cache(maxsize=2)
    def load(british: bool) -> "Lexicon":
        """Read the dictionaries of an accent (once).

        Raises:
            EngineUnavailable: the package `misaki`, which carries them, is not installed.
        """
        spec = importlib.util.find_spec("misaki")
        if spec is None or not spec.submodule_search_locations:
            raise EngineUnavailable("The English dictionaries are missing. Install them: pip install misaki")
        folder = Path(next(iter(spec.submodule_search_locations))) / "data"
        accent = "gb" if british else "us"
        gold, silver = (
            json.loads((folder / f"{accent}_{kind}.json").read_text(encoding="utf-8"))
            for kind in ("gold", "silver")
        )
        return Lexicon(british, gold, silver)

    def pronounce(self, word: str, context: Context) -> str:
        """Phonemes of one spoken word: letters and apostrophes, or 'B.' for the name of a letter."""
        if word.endswith("."):
            return self.spell(word)
        word = word.strip("'") if not word.lower().endswith("s'") else word.lstrip("'")
        sound = self._weak_form(word, context)
        if sound is None:
            sound = self._word(word, context)
        if word.isupper() and len(word) > 1 and not context.shouting:
            sound = with_stress(sound, PRIMARY)
        elif word[:1].isupper() and self._weak_form(word, context) is None:
            sound = with_stress(sound, SECONDARY)
        # Kokoro was trained with these two sounds written so.
        return sound.replace("ɾ", "T").replace("ʔ", "t")

    def _word(self, word: str, context: Context) -> str:
        capitals = word.isupper() and len(word) > 1 and not context.shouting
        if capitals and (word in _SPELLED or self._only_spelled(word)):
            return self.spell(word)
        if re.fullmatch("[A-Z]{2,5}s", word) and word not in self.gold:
            return self._plural(self.spell(word[:-1]))
        part = self._part(context)
        sound = self.look_up(word, part, at_pause=context.vowel_follows is None)
        if sound is not None:
            return sound
        plain = _ascii(word)
        if plain != word:
            sound = self.look_up(plain, part)
            if sound is not None:
                return sound
        if not plain:
            return ""
        if capitals and len(plain) <= 5 and self._derived(plain.lower()) is None:
            return self.spell(plain)
        return (
            self._derived(plain.lower())
            or self._camel(plain)
            or self._compound(plain.lower())
            or self._prefixed(plain.lower())
            or self._unsayable(plain)
            or letter_to_sound(plain.lower(), self.british)
        )

    def look_up(self, word: str, part: str = "", at_pause: bool = False) -> str | None:
        """Dictionary entry of a word, whatever its capitals; `part` picks among 'a record', 'to record'."""
        for entries in (self.gold, self.silver):
            for spelling in dict.fromkeys((word, word.lower(), word.capitalize())):
                entry = entries.get(spelling)
                if isinstance(entry, str):
                    return entry
                if isinstance(entry, dict):
                    chosen = entry.get("None") if at_pause else None
                    chosen = chosen or entry.get(part)
                    if chosen is None and part in ("VBD", "VBN"):
                        chosen = entry.get("VBN") or entry.get("VBD")
                    return chosen or entry["DEFAULT"]
        return None

    def spell(self, letters: str) -> str:
        """Letter names, the last one stressed: BBC."""
        names = [self.gold.get(c.upper(), "") for c in letters if c.isalpha()]
        names = [name if isinstance(name, str) else name["DEFAULT"] for name in names]
        weak = [name.replace(PRIMARY, SECONDARY) for name in names[:-1]]
        return "".join(weak) + (names[-1] if names else "")

    def _only_spelled(self, word: str) -> bool:
        entry = self.gold.get(word)
        return isinstance(entry, dict) and "NOUN" in entry and entry["NOUN"] is None and len(word) < 4

    @staticmethod
    def _part(context: Context) -> str:
        if context.before in _BEFORE_PARTICIPLE:
            return "VBN"
        if context.before in _BEFORE_VERB:
            return "VERB"
        return "NOUN" if context.before in _BEFORE_NOUN else ""

    def _weak_form(self, word: str, context: Context) -> str | None:
        """Little words that change with what follows, as Kokoro's training text wrote them."""
        vowel = context.vowel_follows
        if word == "I":
            return SECONDARY + "I"
        if word == "A" and vowel is None:
            return PRIMARY + "A"
        lower = word.lower()
        if word.isupper() and len(word) > 1:
            return None
        if lower == "a":
            return "ɐ"
        if lower == "an":
            return "ɐn"
        if lower == "am":
            return None if vowel is None else "ɐm"
        if lower == "the":
            return "ði" if vowel else "ðə"
        if lower == "to" and vowel is not None:
            return "tʊ" if vowel else "tə"
        if lower == "in":
            return (PRIMARY if vowel is None else "") + "ɪn"
        if lower == "used" and context.after == "to":
            return "jˈust" if not self.british else "jˈuːst"
        return None

    def _derived(self, word: str) -> str | None:
        """A known word with an ending."""
        if word.endswith(("'s", "s'")):
            stem = self._known(word[:-2])
            return None if stem is None else self._plural(stem)
        for ending, stems, build in (
            ("'ll", (word[:-3],), lambda s: s + "əl"),
            ("'ve", (word[:-3],), lambda s: s + "əv"),
            ("'re", (word[:-3],), lambda s: s + ("ə" if self.british else "əɹ")),
            ("'d", (word[:-2],), self._past),
            ("ies", (word[:-3] + "y",), self._plural),
            ("es", (word[:-1], word[:-2]), self._plural),
            ("s", (word[:-1],) if not word.endswith("ss") else (), self._plural),
            ("ied", (word[:-3] + "y",), self._past),
            ("ed", (word[:-1], word[:-2], _undoubled(word[:-2])), self._past),
            ("ing", (word[:-3], word[:-3] + "e", _undoubled(word[:-3])), self._ing),
            ("in'", (word[:-1] + "g",), lambda s: s),
            ("ily", (word[:-3] + "y",), lambda s: s[:-1] + "əli"),
            ("ly", (word[:-2], word[:-2] + "le"), lambda s: s + ("i" if s.endswith("l") else "li")),
            ("ness", (word[:-4],), lambda s: s + "nəs"),
            ("ment", (word[:-4],), lambda s: s + "mənt"),
            ("less", (word[:-4],), lambda s: s + "ləs"),
            ("ful", (word[:-3],), lambda s: s + "fəl"),
            ("able", (word[:-4], word[:-4] + "e", _undoubled(word[:-4])), lambda s: s + "əbᵊl"),
            ("er", (word[:-1], word[:-2], _undoubled(word[:-2])), self._er),
            ("est", (word[:-2], word[:-3], _undoubled(word[:-3])), lambda s: s + "əst"),
            ("ish", (word[:-3],), lambda s: s + "ɪʃ"),
            ("y", (word[:-1], word[:-1] + "e", _undoubled(word[:-1])), lambda s: s + "i"),
        ):
            if not word.endswith(ending):
                continue
            for stem in stems:
                sound = self._known(stem)
                if sound is not None:
                    return build(sound)
        return None

    def _known(self, stem: str) -> str | None:
        return self.look_up(stem) if len(stem) > 1 else None

    def _plural(self, stem: str) -> str:
        if stem[-1] in _VOICELESS:
            return stem + "s"
        return stem + (("ɪz" if self.british else "ᵻz") if stem[-1] in _HISSING else "z")

    def _past(self, stem: str) -> str:
        if stem[-1] in "pkfθʃsʧ":
            return stem + "t"
        if stem[-1] not in "td":
            return stem + "d"
        if stem[-1] == "t" and not self.british and len(stem) > 1 and stem[-2] in _FLAPPING:
            stem = stem[:-1] + "ɾ"
        return stem + ("ɪd" if self.british else "ᵻd")

    def _ing(self, stem: str) -> str:
        if self.british and stem[-1] in "əː":
            return stem + "ɹɪŋ"
        if stem[-1] == "t" and not self.british and len(stem) > 1 and stem[-2] in _FLAPPING:
            stem = stem[:-1] + "ɾ"
        return stem + "ɪŋ"

    def _er(self, stem: str) -> str:
        if self.british:
            return stem + ("ɹə" if stem[-1] in "əː" else "ə")
        return stem + "əɹ"

    def _camel(self, word: str) -> str | None:
        """YouTube, iPhone, McDonald: words written together, each with a capital."""
        parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", word)
        if len(parts) < 2 or "".join(parts) != word:
            return None
        return " ".join(self._word(part, Context()) if len(part) > 1 else self.spell(part) for part in parts)

    def _compound(self, word: str) -> str | None:
        """Two known words written together; the split with the longest shorter half wins."""
        for left in sorted(range(3, len(word) - 2), key=lambda n: abs(2 * n - len(word))):
            first = self._known(word[:left])
            second = self._known(word[left:]) or self._derived(word[left:])
            if first is not None and second is not None:
                return first + second.replace(PRIMARY, SECONDARY)
        return None

    def _prefixed(self, word: str) -> str | None:
        for prefix, sound in _PREFIXES.items():
            if word.startswith(prefix) and len(word) - len(prefix) >= 3:
                rest = self._known(word[len(prefix) :]) or self._derived(word[len(prefix) :])
                if rest is not None:
                    return (_british(sound) if self.british else sound) + rest
        return None

    def _unsayable(self, word: str) -> str | None:
        """Without a vowel letter (or a lone letter) it is spelled: 'html'."""
        if len(word) == 1 or not re.search("[aeiouy]", word.lower()):
            return self.spell(word)
        return None


_PREFIXES = {
    "anti": "ˌæntI",
    "auto": "ˌɔɾO",
    "counter": "ˌkWntəɹ",
    "cyber": "ˌsIbəɹ",
    "dis": "dɪs",
    "hyper": "ˌhIpəɹ",
    "inter": "ˌɪntəɹ",
    "mega": "ˌmɛɡə",
    "micro": "ˌmIkɹO",
    "mini": "ˌmɪni",
    "mis": "mɪs",
    "multi": "ˌmʌlti",
    "nano": "ˌnænO",
    "neuro": "ˌnʊɹO",
    "non": "nˌɑn",
    "out": "ˌWt",
    "over": "ˌOvəɹ",
    "photo": "ˌfOɾO",
    "post": "pˌOst",
    "pre": "pɹˌi",
    "pseudo": "sˌudO",
    "re": "ɹˌi",
    "semi": "sˌɛmi",
    "sub": "sˌʌb",
    "super": "sˌupəɹ",
    "tele": "tˌɛlə",
    "trans": "tɹænz",
    "ultra": "ˌʌltɹə",
    "un": "ʌn",
    "under": "ˌʌndəɹ",
}


def with_stress(sound: str, mark: str) -> str:
    """Give a word the stress `mark`, if it has none as strong: before its first vowel."""
    if PRIMARY in sound or (mark == SECONDARY and SECONDARY in sound):
        return sound
    if SECONDARY in sound:
        return sound.replace(SECONDARY, PRIMARY, 1)
    for i, c in enumerate(sound):
        if c in VOWELS:
            return sound[:i] + mark + sound[i:]
    return sound


def _undoubled(stem: str) -> str:
    return stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "aeiou" else ""


def _ascii(word: str) -> str:
    """'café' -> 'cafe'; letters that are not Latin vanish."""
    special = {"ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O", "œ": "oe", "ł": "l", "Ł": "L", "đ": "d"}
    word = "".join(special.get(c, c) for c in word)
    return unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode()


def _british(sound: str) -> str:
    return sound.replace("əɹ", "ə").replace("O", "Q").replace("æ", "a").replace("ɑ", "ɒ").replace("ɾ", "t")
