"""The corpus on disk: shards of utterances, each with its samples, Kokoro tokens, durations, voice and
text."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synctalk.errors import TrainingError

RATE = 16000
_FIELDS = ("samples", "lengths", "tokens", "durations", "durations_count", "voice", "speed", "text")


@dataclass(frozen=True)
class Utterance:
    """Synthesised speech as Kokoro gave it.

    samples: int16 [n] at 16 kHz; tokens: phoneme characters; durations: int16 [len(tokens) + 2] frames of
    25 ms;
    voice: 'af_heart:1.0' or a blend such as 'af_heart:0.6+ff_siwis:0.4'; speed: as given to Kokoro.
    """

    samples: np.ndarray
    tokens: str
    durations: np.ndarray
    voice: str
    speed: float
    text: str

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE

    @property
    def main_voice(self) -> str:
        """The voice with the largest share."""
        shares = [part.split(":") for part in self.voice.split("+")]
        return max(shares, key=lambda share: float(share[1]))[0]


def write_shard(path: str | os.PathLike, utterances: Sequence[Utterance]) -> None:
    """Write a shard under a temporary name first, so that a broken run leaves no half shard."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".tmp.npz")
    np.savez_compressed(
        unfinished,
        samples=np.concatenate([u.samples for u in utterances]),
        lengths=np.array([len(u.samples) for u in utterances]),
        rate=RATE,
        tokens=np.array([u.tokens for u in utterances]),
        durations=np.concatenate([u.durations for u in utterances]).astype(np.int16),
        durations_count=np.array([len(u.durations) for u in utterances]),
        voice=np.array([u.voice for u in utterances]),
        speed=np.array([u.speed for u in utterances], np.float32),
        text=np.array([u.text for u in utterances]),
    )
    unfinished.replace(target)


def read_shard(path: str | os.PathLike) -> list[Utterance]:
    """The utterances of one shard.

    Raises TrainingError when the file is not a shard.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            fields = {name: data[name] for name in _FIELDS}
    except (KeyError, OSError, ValueError) as error:
        raise TrainingError(
            f"{path} is not a corpus shard ({error}). Delete it and run the recipe again."
        ) from error
    sound = np.split(fields["samples"], np.cumsum(fields["lengths"])[:-1])
    timing = np.split(fields["durations"], np.cumsum(fields["durations_count"])[:-1])
    rows = zip(sound, fields["tokens"], timing, fields["voice"], fields["speed"], fields["text"], strict=True)
    return [Utterance(s, str(k), d, str(v), float(r), str(t)) for s, k, d, v, r, t in rows]


def corpus_folder() -> Path:
    """Where the corpus is kept between runs: SYNCTALK_CACHE or ~/.cache/synctalk, then 'corpus'."""
    return Path(os.environ.get("SYNCTALK_CACHE", "~/.cache/synctalk")).expanduser() / "corpus"


def read_corpus(folder: str | os.PathLike, name: str) -> Iterator[Utterance]:
    """All utterances of the set `name` ('train' or 'unseen'), in order."""
    for path in sorted(Path(folder).glob(f"{name}_[0-9]*.npz")):
        if not path.name.endswith(".tmp.npz"):
            yield from read_shard(path)
