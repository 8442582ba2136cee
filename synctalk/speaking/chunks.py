"""Voice to lip features, in chunks that give what the whole recording would give at once.

Every network here looks a little ahead and back: a frame's mel window and transform reach 3 frames, the
audio attention 4 and the silence ramp 4. Chunks therefore overlap and only their inside is used.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synctalk.speaking.sound import RATE, SAMPLES_PER_FRAME, Piece
from synctalk.speech.words import Word

MEL_REACH = 5  # frames; also the step after which mel rows and frames coincide (16 rows)
ATTENTION_REACH = 4
CLOSING = 4  # the mouth is shut over the last frames
FIRST_CHUNK, CHUNK = 15, 50


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames, ready for the portrait.

    Args:
        start: number of the first frame.
        lips: float32 [before + frames + after, 512].
        silence: bool [before + frames + after].
        manner: float32 [before + frames + after, F], pitch, energy and more for the expression generator.
        before, after: context frames that are not shown.
        track: float32 [n,channels], the soundtrack of the frames.
        rate: of the soundtrack, Hz.
        words: words that begin in the pieces of voice that arrived with this chunk.
        notes: what a person should be told about the voice.
        last: nothing follows.
    """

    start: int
    lips: Tensor
    silence: NDArray[np.bool_]
    manner: NDArray[np.float32]
    before: int
    after: int
    track: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 1), np.float32))
    rate: int = RATE
    words: list[Word] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    last: bool = False

    @property
    def frames(self) -> int:
        """Frames to show."""
        return len(self.lips) - self.before - self.after


@dataclass(frozen=True)
class Heard:
    """What is heard in consecutive frames: `lips` [n,512], `silence` [n], `manner` [n,F]."""

    lips: Tensor
    silence: NDArray[np.bool_]
    manner: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.lips)

    def __getitem__(self, rows: slice) -> "Heard":
        return Heard(self.lips[rows], self.silence[rows], self.manner[rows])

    def __add__(self, other: "Heard") -> "Heard":
        return Heard(
            torch.cat([self.lips, other.lips]),
            np.concatenate([self.silence, other.silence]),
            np.concatenate([self.manner, other.manner]),
        )


Listener = Callable[[NDArray[np.float32], int, int], Heard]
"""(sound float32 [n] at 16 kHz, first frame, number of frames) -> what is heard in those frames of it; it may
listen to MEL_REACH frames before and after them."""


def listen(pieces: Iterable[Piece], hear: Listener) -> Iterator[tuple[Heard | None, Piece | None]]:
    """What is heard, as the voice arrives.

    Yields:
        (heard, piece): what is heard lags behind the piece by some frames (None at first), so that the
        last item has no piece.
    """
    past = np.zeros(0, np.float32)
    waiting = np.zeros(0, np.float32)
    margin = MEL_REACH * SAMPLES_PER_FRAME

    def heard(count: int) -> Heard:
        window = np.concatenate([past, waiting[: count * SAMPLES_PER_FRAME + margin]])
        first = len(past) // SAMPLES_PER_FRAME
        return hear(window, first, count)

    for piece in pieces:
        waiting = np.concatenate([waiting, piece.voice])
        count = (len(waiting) - margin) // SAMPLES_PER_FRAME // MEL_REACH * MEL_REACH
        if count <= 0:
            yield None, piece
            continue
        now = heard(count)
        past = np.concatenate([past, waiting[: count * SAMPLES_PER_FRAME]])[-margin:]
        waiting = waiting[count * SAMPLES_PER_FRAME :]
        yield now, piece
    if len(waiting):
        yield heard(len(waiting) // SAMPLES_PER_FRAME), None


def chunks(listened: Iterable[tuple[Heard | None, Piece | None]]) -> Iterator[Chunk]:
    """Cut what is heard into chunks with context; the first is short so that the picture starts early."""
    held: Heard | None = None
    track: list[NDArray[np.float32]] = []
    words: list[Word] = []
    notes: list[str] = []
    rate, start, before = 0, 0, 0

    def cut(all_held: Heard, count: int, last: bool) -> Chunk:
        nonlocal held, track, words, notes, start, before
        after = 0 if last else ATTENTION_REACH
        size = before + count + after
        sound = np.concatenate(track)
        # Frame edges fall on round(i rate / fps): no drift whatever the rate.
        samples = len(sound) if last else round((start + count) * rate / 25) - round(start * rate / 25)
        part = all_held[:size]
        said = (sound[:samples], rate, words, notes, last)
        ready = Chunk(start, part.lips, part.silence, part.manner, before, after, *said)
        kept = min(ATTENTION_REACH, before + count)
        held = all_held[before + count - kept :]
        track, words, notes = [sound[samples:]], [], []
        start, before = start + count, kept
        return ready

    for now, piece in listened:
        if now is not None:
            held = now if held is None else held + now
        if piece is not None:
            track.append(piece.track)
            words += piece.words
            notes += piece.notes
            rate = piece.rate
        # One chunk's worth more is held back, so that the last chunk is never empty.
        while held is not None and len(held) - before - ATTENTION_REACH > (
            wanted := CHUNK if start else FIRST_CHUNK
        ):
            yield cut(held, wanted, last=False)
    if held is not None and len(held) > before:
        held.silence[-CLOSING:] = True
        yield cut(held, len(held) - before, last=True)
