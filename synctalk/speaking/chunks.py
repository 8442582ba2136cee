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


def lip_features(
    pieces: Iterable[Piece],
    encode: Callable[[NDArray[np.float32]], Tensor],
    speech_mask: Callable[[NDArray[np.float32]], NDArray[np.bool_]],
) -> Iterator[tuple[Tensor, NDArray[np.bool_], Piece | None]]:
    """Lip features as the voice arrives.

    Args:
        pieces: the voice.
        encode: float32 [n] at 16 kHz -> [T,512].
        speech_mask: float32 [n] at 16 kHz -> bool [T].

    Yields:
        (lips [n,512], silence [n], piece): `n` may lag behind the piece, so the last item has no piece.
    """
    past = np.zeros(0, np.float32)
    waiting = np.zeros(0, np.float32)
    margin = MEL_REACH * SAMPLES_PER_FRAME

    def features(count: int) -> tuple[Tensor, NDArray[np.bool_]]:
        window = np.concatenate([past, waiting[: count * SAMPLES_PER_FRAME + margin]])
        inside = slice(len(past) // SAMPLES_PER_FRAME, len(past) // SAMPLES_PER_FRAME + count)
        return encode(window)[inside], ~speech_mask(window)[inside]

    for piece in pieces:
        waiting = np.concatenate([waiting, piece.voice])
        count = (len(waiting) - margin) // SAMPLES_PER_FRAME // MEL_REACH * MEL_REACH
        if count <= 0:
            yield torch.zeros(0, 512), np.zeros(0, bool), piece
            continue
        lips, silence = features(count)
        past = np.concatenate([past, waiting[: count * SAMPLES_PER_FRAME]])[-margin:]
        waiting = waiting[count * SAMPLES_PER_FRAME :]
        yield lips, silence, piece
    if len(waiting):
        yield (*features(len(waiting) // SAMPLES_PER_FRAME), None)


def chunks(features: Iterable[tuple[Tensor, NDArray[np.bool_], Piece | None]]) -> Iterator[Chunk]:
    """Cut features into chunks with context; the first is short so that the picture starts early."""
    lips = torch.zeros(0, 512)
    silence = np.zeros(0, bool)
    track: list[NDArray[np.float32]] = []
    words: list[Word] = []
    notes: list[str] = []
    rate, start, before = 0, 0, 0

    def cut(count: int, last: bool) -> Chunk:
        nonlocal lips, silence, track, words, notes, start, before
        after = 0 if last else ATTENTION_REACH
        size = before + count + after
        sound = np.concatenate(track)
        # Frame edges fall on round(i rate / fps): no drift whatever the rate.
        samples = len(sound) if last else round((start + count) * rate / 25) - round(start * rate / 25)
        ready = Chunk(
            start, lips[:size], silence[:size], before, after, sound[:samples], rate, words, notes, last
        )
        kept = min(ATTENTION_REACH, before + count)
        lips, silence = lips[before + count - kept :], silence[before + count - kept :]
        track, words, notes = [sound[samples:]], [], []
        start, before = start + count, kept
        return ready

    for more, quiet, piece in features:
        lips, silence = torch.cat([lips, more]), np.concatenate([silence, quiet])
        if piece is not None:
            track.append(piece.track)
            words += piece.words
            notes += piece.notes
            rate = piece.rate
        # One chunk's worth more is held back, so that the last chunk is never empty.
        while len(lips) - before - ATTENTION_REACH > (wanted := CHUNK if start else FIRST_CHUNK):
            yield cut(wanted, last=False)
    if len(lips) > before:
        silence[-CLOSING:] = True
        yield cut(len(lips) - before, last=True)
