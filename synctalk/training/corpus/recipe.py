"""Synthesis of the corpus: many voices and blends of voices, resumable, shard by shard."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from synctalk.errors import TrainingError
from synctalk.logs import get_logger
from synctalk.speech.audio import resample
from synctalk.training.corpus.shards import RATE, Utterance, read_shard, write_shard
from synctalk.training.corpus.texts import utterances

UNSEEN_VOICES = ("bm_george", "bf_emma", "af_sarah", "am_puck", "bm_lewis")
"""Voices that train nothing: the unseen voices of every report."""

_VOICE_RATE = 24000
_PER_SHARD = 24
_log = get_logger(__name__)


class Speaker(Protocol):
    """What the recipe needs of the voice model (`synctalk.speech.kokoro.Kokoro` has it)."""

    voices: list[str]

    def symbols_of(self, text: str, british: bool) -> str:
        """Kokoro's characters of a text."""

    def style(self, voice: str) -> np.ndarray:
        """float32 [rows, 1, 256]."""

    def raw(self, symbols: str, style: np.ndarray, speed: float) -> tuple[np.ndarray, np.ndarray]:
        """Samples at 24 kHz and the durations [len(symbols) + 2] in frames of 25 ms."""


@dataclass(frozen=True)
class Delivery:
    """Who says an utterance, and how fast: shares of one or two voices that sum to 1."""

    shares: tuple[tuple[str, float], ...]
    speed: float

    def __str__(self) -> str:
        return "+".join(f"{voice}:{share}" for voice, share in self.shares)


def delivery(index: int, english: Sequence[str], other: Sequence[str], pure: bool = False) -> Delivery:
    """The voice of utterance `index`: each English voice in turn, 45 % pure, 35 % blended with another
    English
    voice, 20 % with a voice of another language (which speaks English too); speed 0.85-1.2.
    """
    chance = random.Random(f"voice {index}")
    speed = round(random.Random(f"speed {index}").uniform(0.85, 1.2), 2)
    first = english[index % len(english)]
    if pure:
        return Delivery(((first, 1.0),), speed)
    kind = chance.random()
    if kind < 0.45:
        return Delivery(((first, 1.0),), speed)
    pool = [v for v in (english if kind < 0.8 or not other else other) if v != first]
    if not pool:
        return Delivery(((first, 1.0),), speed)
    second = chance.choice(pool)
    share = round(chance.uniform(0.35, 0.65), 2)
    return Delivery(((first, round(1 - share, 2)), (second, share)), speed)


def say(speaker: Speaker, text: str, how: Delivery) -> Utterance:
    """One utterance by the voice model."""
    symbols = speaker.symbols_of(text, british=how.shares[0][0].startswith("b"))
    styles = []
    for voice, share in how.shares:
        rows = speaker.style(voice)
        styles.append(np.float32(share) * rows[min(len(symbols), len(rows) - 1)].reshape(1, 256))
    samples, durations = speaker.raw(symbols, np.sum(styles, axis=0), how.speed)
    sound = resample(np.asarray(samples, np.float32), _VOICE_RATE, RATE)
    sound = np.clip(np.round(sound * 32767), -32768, 32767).astype(np.int16)
    return Utterance(sound, symbols, np.asarray(durations, np.int16), str(how), how.speed, text)


def training_voices(speaker: Speaker) -> tuple[list[str], list[str]]:
    """English voices that may be trained on, and those of other languages.

    Raises TrainingError when there are fewer than 20 English ones.
    """
    english = [v for v in sorted(speaker.voices) if v[0] in "ab" and v not in UNSEEN_VOICES]
    if len(english) < 20:
        raise TrainingError(
            f"Only {len(english)} English voices were found; the corpus needs 20. Unpack the npm package "
            "'kokoro-js' (npm pack kokoro-js) and give its folder 'voices'."
        )
    return english, [v for v in sorted(speaker.voices) if v[0] not in "ab"]


def synthesise(folder: Path, speaker: Speaker, hours: float, unseen: bool = False) -> Iterator[float]:
    """Make shards until the set holds `hours` of speech; finished shards are kept. Yields the hours so far.

    The set is 'train', or with `unseen` 'unseen': other sentences, by the five voices that train nothing.
    """
    if unseen:
        missing = [v for v in UNSEEN_VOICES if v not in speaker.voices]
        if missing:
            raise TrainingError(f"The unseen voices {', '.join(missing)} are not in the voices' folder.")
        english, other = list(UNSEEN_VOICES), list[str]()
    else:
        english, other = training_voices(speaker)
    name, seed, size = ("unseen", 2, 20) if unseen else ("train", 1, _PER_SHARD)
    texts = utterances(seed)
    index, seconds = 0, 0.0
    while seconds < hours * 3600:
        path = folder / f"{name}_{index // size:04d}.npz"
        batch = [next(texts) for _ in range(size)]
        if path.exists():
            spoken = read_shard(path)
        else:
            spoken = [
                say(speaker, text, delivery(index + k, english, other, pure=unseen))
                for k, text in enumerate(batch)
            ]
            write_shard(path, spoken)
            _log.debug("%s written", path)
        index += size
        seconds += sum(u.seconds for u in spoken)
        yield seconds / 3600
