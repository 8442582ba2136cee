"""Where the voice comes from: text or a recording, as pieces of whole frames.

Each piece holds the same moments twice: the soundtrack as the user gave it (their samples, their rate),
and mono at 16 kHz for the networks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synctalk.errors import AudioError
from synctalk.speech import audio as speech_audio
from synctalk.speech.text_to_speech import DEFAULT_VOICE, Speech, synthesize_sentences
from synctalk.speech.words import Word

RATE = speech_audio.RATE
FPS = 25
SAMPLES_PER_FRAME = RATE // FPS
PIECE_S = 2
MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class Piece:
    """Some whole frames of voice.

    Args:
        track: float32 [n,channels], the soundtrack at `rate`.
        rate: Hz.
        voice: float32 [frames * 640], mono at 16 kHz.
        words: the words spoken in it; times in seconds from the start of the whole speech.
        notes: what a person should be told, for example that another voice engine stepped in.
    """

    track: NDArray[np.float32]
    rate: int
    voice: NDArray[np.float32]
    words: list[Word] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Frames at 25 fps."""
        return len(self.voice) // SAMPLES_PER_FRAME


def from_text(text: str, voice: str | None = None, engine: str = "auto") -> Iterator[Piece]:
    """Speak a text, sentence by sentence, each as soon as it is ready; the checks are done at once.

    Raises:
        SpeechError: the text cannot be spoken, or there is no such voice.
    """
    return _pieces(synthesize_sentences(text, voice or DEFAULT_VOICE, engine))


def _pieces(speeches: Iterable[Speech]) -> Iterator[Piece]:
    start = 0
    for speech in speeches:
        piece = whole_frames(speech)
        at = start / FPS
        words = [replace(w, start_s=w.start_s + at, end_s=w.end_s + at) for w in speech.words]
        yield replace(piece, words=words, notes=list(speech.notes))
        start += piece.frames


def whole_frames(speech: Speech) -> Piece:
    """A sentence, with silence added up to a whole number of frames."""
    samples = np.asarray(speech.samples, np.float32).reshape(len(speech.samples), -1)
    frames = -(-len(samples) * FPS // speech.rate)
    padding = -(-frames * speech.rate // FPS) - len(samples)
    track = np.pad(samples, ((0, padding), (0, 0)))
    voice = speech_audio.resample(track.mean(axis=1, dtype=np.float32), speech.rate, RATE)
    return Piece(track, speech.rate, _fit(voice, frames * SAMPLES_PER_FRAME))


class Recording:
    """The user's own sound: a file of any kind, or samples.

    A file is decoded piece by piece; an hour of it is never in memory at once.

    Args:
        source: a path, or (samples float [n] or [n,c] in [-1,1], rate in Hz).
        max_seconds: longest sound accepted.

    Raises:
        AudioError: no such file, no sound in it, corrupt, silent from end to end, or too long.
    """

    def __init__(
        self, source: str | Path | tuple[NDArray[np.float32], int], max_seconds: float = MAX_SECONDS
    ) -> None:
        self.source = source
        self.max_seconds = max_seconds
        samples, peak = 0, 0.0
        for block in self._voice():  # one quick pass: the length for the progress bar, and the checks
            samples += len(block)
            peak = max(peak, float(np.abs(block).max(initial=0)))
        if samples == 0:
            raise AudioError(f"{self.name} holds no sound. Give a recording with a voice in it.")
        speech_audio.check_samples(np.array([peak], np.float32), self.name)  # silent from end to end?
        self.frames = speech_audio.frame_count(samples)

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return "The sound" if isinstance(self.source, tuple) else Path(self.source).name

    def _voice(self) -> Iterator[NDArray[np.float32]]:
        if not isinstance(self.source, tuple):
            return speech_audio.stream_audio(self.source, RATE, self.max_seconds)
        samples, rate = self.source
        return iter([speech_audio.from_samples(samples, rate, RATE)])

    def _track(self) -> Iterator[tuple[NDArray[np.float32], int]]:
        if not isinstance(self.source, tuple):
            return speech_audio.stream_soundtrack(self.source, self.max_seconds)
        samples, rate = self.source
        samples = np.asarray(samples, np.float32)
        return iter([(samples.reshape(len(samples), -1), rate)])

    def __iter__(self) -> Iterator[Piece]:
        """Pieces of two seconds; the last one may be shorter, its soundtrack is not padded."""
        voice = _blocks(((block, RATE) for block in self._voice()), PIECE_S)
        track = _blocks(self._track(), PIECE_S)
        for (mono, _), (own, rate) in zip(voice, track, strict=False):
            frames = -(-len(mono) // SAMPLES_PER_FRAME)
            yield Piece(own, rate, _fit(mono, frames * SAMPLES_PER_FRAME))


def _blocks(
    chunks: Iterator[tuple[NDArray[np.float32], int]], seconds: int
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """The same sound cut into blocks of exactly `seconds`, the last one shorter."""
    held: list[NDArray[np.float32]] = []
    count, rate = 0, 0
    for chunk, rate in chunks:
        held.append(chunk)
        count += len(chunk)
        size = seconds * rate
        if count < size:
            continue
        joined = np.concatenate(held)
        for start in range(0, count - count % size, size):
            yield joined[start : start + size], rate
        held, count = [joined[count - count % size :]], count % size
    if count:
        yield np.concatenate(held), rate


def _fit(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Cut, or filled with silence, to `length`."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
