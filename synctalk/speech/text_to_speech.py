"""Text -> speech with word times, by an offline or an online voice, starting sentence by sentence."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from synctalk.errors import SpeechError
from synctalk.logs import get_logger
from synctalk.speech.audio import resample
from synctalk.speech.edge import is_edge_voice, speak_online
from synctalk.speech.kokoro import Kokoro
from synctalk.speech.sentences import split_sentences
from synctalk.speech.text_check import (
    LANGUAGE_NAMES,
    MAX_CHARACTERS,
    CheckedText,
    check_text,
    without_foreign_letters,
)
from synctalk.speech.voice_list import OFFLINE, ONLINE, Voice, describe, stand_in
from synctalk.speech.words import EngineUnavailable, Word

DEFAULT_VOICE = "am_michael"
ENGINES = ("auto", "kokoro", "edge")

_FEW_FOREIGN = 0.1  # below this share, foreign letters are a name or two: left out, not a language
_ONLINE_GROUP = 700  # characters asked for at once after the first sentence: each request costs a handshake
log = get_logger(__name__)


@dataclass(frozen=True)
class Speech:
    """Spoken text."""

    samples: np.ndarray  # float32 [n] in [-1, 1], mono
    rate: int  # Hz
    words: list[Word] = field(default_factory=list)
    voice: str = ""  # who really spoke
    engine: str = ""
    notes: list[str] = field(default_factory=list)  # what a person should be told

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate


class SpeechEngine(Protocol):
    """What makes speech: give it checked text, get sound with word times, piece by piece."""

    def stream(self, text: str, voice: str, speed: float) -> Iterator[Speech]:
        """Speak sentence by sentence.

        Raises:
            SpeechError: it cannot.
        """
        ...


class KokoroEngine:
    """The offline voices."""

    def stream(self, text: str, voice: str, speed: float) -> Iterator[Speech]:
        """See `SpeechEngine`."""
        for part in shared_kokoro().stream(text, voice, speed):
            yield Speech(part.samples, part.rate, part.words, voice, "kokoro")


class EdgeEngine:
    """The online voices."""

    def stream(self, text: str, voice: str, speed: float) -> Iterator[Speech]:
        """See `SpeechEngine`."""
        for part in _groups(split_sentences(text)):
            said = speak_online(part.replace("*", ""), voice, rate=f"{round((speed - 1.0) * 100):+d}%")
            yield Speech(said.samples, said.rate, said.words, voice, "edge")


@lru_cache(maxsize=1)
def shared_kokoro() -> Kokoro:
    """The voice model, loaded at first use and shared."""
    return Kokoro()


def voices() -> list[Voice]:
    """All voices on offer: the bundled offline ones first. Any other name of the online service works too."""
    return [*OFFLINE, *ONLINE]


def synthesize(
    text: str,
    voice: str = DEFAULT_VOICE,
    engine: str = "auto",
    speed: float = 1.0,
    limit: int = MAX_CHARACTERS,
) -> Speech:
    """Speak a text.

    Args:
        text: what to say; markup, emoji and control characters are not read out. *word* is stressed.
        voice: a name from `voices()`, or any voice of the online service.
        engine: 'kokoro' (offline), 'edge' (online), or 'auto': the voice's own, the other one if it fails.
        speed: 0.5 (slow) to 2 (fast).
        limit: longest text accepted, in characters.

    Returns:
        Speech whose `notes` say what was left out or which voice had to stand in.

    Raises:
        SpeechError: the text cannot be spoken, the voice is unknown, or the chosen engine failed.
    """
    parts = list(synthesize_sentences(text, voice, engine, speed, limit))
    rate = parts[0].rate
    words: list[Word] = []
    sounds: list[np.ndarray] = []
    at = 0.0
    for part in parts:
        sound = resample(part.samples, part.rate, rate)
        sounds.append(sound)
        words += [Word(w.text, at + w.start_s, at + w.end_s) for w in part.words]
        at += len(sound) / rate
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    return Speech(np.concatenate(sounds), rate, words, parts[-1].voice, parts[-1].engine, notes)


def synthesize_sentences(
    text: str,
    voice: str = DEFAULT_VOICE,
    engine: str = "auto",
    speed: float = 1.0,
    limit: int = MAX_CHARACTERS,
) -> Iterator[Speech]:
    """The same as `synthesize`, a sentence at a time as soon as it is spoken.

    The text is checked before the first sentence is asked for; times count from the start of each piece.
    """
    checked = check_text(text, limit)
    if engine not in ENGINES:
        raise SpeechError(f"There is no speech engine '{engine}'. Engines: {', '.join(ENGINES)}.")
    if not 0.5 <= speed <= 2.0:
        raise SpeechError(f"Speed {speed} is out of range; give 0.5 (slow) to 2 (fast).")
    check_voice(voice)
    return _with_notes(_plan(checked, voice, engine), checked, speed)


def check_voice(voice: str) -> None:
    """Is there such a voice, offline or by its name online?

    Raises:
        SpeechError: there is none.
    """
    if is_edge_voice(voice) or any(v.name == voice for v in OFFLINE):
        return
    names = ", ".join(v.name for v in OFFLINE)
    raise SpeechError(
        f"There is no voice '{voice}'. Offline voices: {names}; online voices have names "
        "like en-US-AriaNeural."
    )


@dataclass(frozen=True)
class _Plan:
    """Who speaks, in which words, and who stands in."""

    voice: str
    engine: str
    text: str
    notes: list[str]
    fallback: str | None = None  # voice of the other engine, if there is one
    refusal: str | None = None  # what to say when the fallback is missing and the engine fails


def _plan(checked: CheckedText, voice: str, engine: str) -> _Plan:
    notes = list(checked.notes)
    chosen = describe(voice)
    if engine not in ("auto", chosen.engine):
        other = stand_in(voice, engine)
        if other is None:
            raise SpeechError(
                f"The engine '{engine}' has no voice like {voice}. Choose one from the list of voices."
            )
        notes.append(f"{voice} belongs to another engine; {other.name} speaks instead.")
        chosen = other
    if chosen.engine == "edge":
        return _online_plan(checked, chosen, engine, notes)
    return _offline_plan(checked, chosen, engine, notes)


def _online_plan(checked: CheckedText, chosen: Voice, engine: str, notes: list[str]) -> _Plan:
    english = checked.language == "en"
    name = LANGUAGE_NAMES.get(checked.language, checked.language)
    if checked.language != chosen.language[:2] and "Multilingual" not in chosen.name:
        if checked.foreign_share > 0.5:
            other_voice = stand_in(chosen.name, "edge", checked.language)
            speaker = other_voice.name if other_voice else "en-US-AvaMultilingualNeural"
            notes.append(f"The text is in {name}, which {chosen.name} cannot read; {speaker} speaks instead.")
            chosen = describe(speaker)
        else:
            notes.append(f"The text looks like {name}; {chosen.name} may read it with an accent.")
    other = stand_in(chosen.name, "kokoro", "en") if engine == "auto" and english else None
    refusal = None
    if engine == "auto" and not english:
        refusal = f"The offline voices speak English only, so none can stand in for {chosen.name}."
    return _Plan(chosen.name, "edge", checked.text, notes, other.name if other else None, refusal)


def _offline_plan(checked: CheckedText, chosen: Voice, engine: str, notes: list[str]) -> _Plan:
    """An offline voice knows English; other languages go online where that is allowed."""
    text, language = checked.text, checked.language
    name = LANGUAGE_NAMES.get(language, language)
    if language == "en" and checked.foreign_share > 0.0:
        text = without_foreign_letters(text)
        if checked.foreign_share > _FEW_FOREIGN:
            language, name = "mixed", "more than one language"
        else:
            notes.append(f"{chosen.name} reads Latin letters only; the others are left out.")
    if language == "en":
        other = stand_in(chosen.name, "edge") if engine == "auto" else None
        return _Plan(chosen.name, "kokoro", text, notes, other.name if other else None)
    latin = checked.foreign_share <= _FEW_FOREIGN
    if engine == "kokoro":
        if latin:
            notes.append(f"The text looks like {name}; {chosen.name} reads it as if it were English.")
            return _Plan(chosen.name, "kokoro", text, notes)
        raise SpeechError(
            f"The text is in {name}; the offline voice {chosen.name} speaks English only. {_ELSE}"
        )
    other = stand_in(chosen.name, "edge", None if language == "mixed" else language)
    speaker = "en-US-AvaMultilingualNeural" if other is None or language == "mixed" else other.name
    notes.append(f"The text is in {name}; {chosen.name} speaks English only, so {speaker} speaks.")
    return _Plan(
        speaker,
        "edge",
        checked.text,
        notes,
        chosen.name if latin else None,
        f"The text is in {name}; the offline voice {chosen.name} speaks English only. {_ELSE}",
    )


_ELSE = "Choose an online voice of that language (they need a network), or write the text in English."


def _engine(name: str) -> SpeechEngine:
    makers: dict[str, Callable[[], SpeechEngine]] = {"kokoro": KokoroEngine, "edge": EdgeEngine}
    return makers[name]()


def _with_notes(plan: _Plan, checked: CheckedText, speed: float) -> Iterator[Speech]:
    """Run the plan; the first piece carries the notes, and so does the first after a change of voice."""
    notes = plan.notes
    said = 0
    try:
        for part in _engine(plan.engine).stream(plan.text, plan.voice, speed):
            yield replace(part, notes=notes)
            notes, said = [], said + 1
        return
    except EngineUnavailable as error:
        if plan.fallback is None:
            message = f"{error} {plan.refusal}" if plan.refusal else str(error)
            raise type(error)(message) from error
        reason = str(error)
    log.warning("%s Falling back to %s.", reason, plan.fallback)
    other = describe(plan.fallback)
    rest = " ".join(_groups(split_sentences(plan.text))[said:])
    # What the plan said about its speaker no longer holds.
    notes = [] if said else list(checked.notes)
    notes.append(f"{reason} The voice {other.label} speaks instead.")
    if other.engine == "kokoro" and checked.language != "en":
        name = LANGUAGE_NAMES.get(checked.language, checked.language)
        notes.append(f"It reads the {name} text as if it were English.")
    try:
        for part in _engine(other.engine).stream(rest, other.name, speed):
            yield replace(part, notes=notes)
            notes = []
    except EngineUnavailable as error:
        raise EngineUnavailable(f"{reason} The stand-in fails too: {error}") from error


def _groups(sentences: list[str]) -> list[str]:
    """The first sentence by itself, so that sound comes early; the rest in larger requests."""
    groups = sentences[:1]
    for sentence in sentences[1:]:
        if len(groups) > 1 and len(groups[-1]) + len(sentence) < _ONLINE_GROUP:
            groups[-1] += " " + sentence
        else:
            groups.append(sentence)
    return groups
