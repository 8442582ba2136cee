"""One press of the button: a video in the making, as events for the page."""

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from synctalk.editing import Look
from synctalk.errors import AudioError, SpeechError
from synctalk.interface.sound_file import WavFile
from synctalk.interface.studio import Studio, over_chequers
from synctalk.speak import Moment, Video, making
from synctalk.speaking.expression import Expression
from synctalk.speaking.subtitles import to_vtt
from synctalk.speech.captions import to_srt
from synctalk.speech.words import Word
from synctalk.video import VideoWriter

MAX_TEXT = 3000
MAX_AUDIO_S = 600
MAX_UPLOAD = "100mb"
FIRST_SEGMENT, SEGMENT = 24, 50  # frames
CHARACTERS_PER_SECOND = 15
SHOW_EVERY_S = 0.2
COPIED_AFTER_S = 60  # the server copies what a handler returns at once


@dataclass(frozen=True)
class Request:
    """What the visitor asked for."""

    text: str | None
    audio: str | None
    avatar: str
    voice: str | None = None
    engine: str = "auto"
    expression: Expression = field(default_factory=Expression)
    look: Look = field(default_factory=Look)
    seed: int = 0

    def check(self) -> None:
        """The app's own limits, before anything is loaded.

        Raises:
            SpeechError: no text or too long a text.
            AudioError: no recording.
        """
        if self.text is None and not self.audio:
            raise AudioError("Add a recording first: choose a file or use the microphone.")
        if self.text is None:
            return
        if not self.text.strip():
            raise SpeechError("Write what the avatar should say.")
        if len(self.text) > MAX_TEXT:
            raise SpeechError(
                f"The text has {len(self.text)} characters; here the limit is {MAX_TEXT}. "
                "Split it, or use `synctalk speak` on your own machine."
            )

    def expected_frames(self) -> int | None:
        """Frames a text will need, roughly; None for a recording, whose length is known."""
        return None if self.text is None else max(25, round(25 * len(self.text) / CHARACTERS_PER_SECOND))


@dataclass(frozen=True)
class Update:
    """News for the page: where it stands, perhaps a piece to play, at the end the video."""

    step: str
    share: float
    seconds_left: float | None = None
    segment: Path | None = None
    video: Video | None = None


@dataclass
class Made:
    """One job's files, in a folder of their own that `remove` deletes."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="synctalk-")))
    video: Path | None = None
    srt: Path | None = None
    vtt: Path | None = None
    wav: Path | None = None

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_later(folder: Path) -> None:
    """Delete a folder once the server has copied what lies there; its copies it deletes after an hour."""
    timer = threading.Timer(COPIED_AFTER_S, shutil.rmtree, (folder,), {"ignore_errors": True})
    timer.daemon = True
    timer.start()


def run(request: Request, studio: Studio, made: Made, segments: bool = True) -> Generator[Update, None, None]:
    """Make the video, telling the page as it goes; the files are entered in `made`. Close it to stop.

    Args:
        request: what to make.
        studio: the avatars.
        made: where the files go.
        segments: also make pieces that play while the rest is made.

    Raises:
        SyncTalkError: anything about the request that cannot be done.
    """
    request.check()
    yield Update("Preparing the voice" if request.text is not None else "Listening to the recording", 0.0)
    name = made.folder / request.avatar
    made.wav = name.with_suffix(".wav")
    slot = studio.painter(request.avatar, "video")
    with slot.lock, WavFile(made.wav) as sound:
        work = making(
            request.text,
            request.audio if request.text is None else None,
            name.with_suffix(".mov" if request.look.transparent else ".mp4"),
            avatar=slot.painter,
            voice=request.voice,
            engine=request.engine,
            expression=request.expression,
            look=request.look,
            seed=request.seed,
            max_seconds=MAX_AUDIO_S,
        )
        with contextlib.closing(work):
            pieces = _Segments(made.folder) if segments else None
            video = yield from _follow(work, request.expected_frames(), pieces, sound)
    made.video = video.path
    write_captions(made, video.words)
    if request.look.captions:
        made.vtt = None  # the words are in the picture; the player would write them a second time
    yield Update("Done", 1.0, 0.0, video=video)


def write_captions(made: Made, words: list[Word]) -> None:
    """Captions beside the video, where the words are known."""
    if made.video is None or not words:
        return
    made.srt, made.vtt = made.video.with_suffix(".srt"), made.video.with_suffix(".vtt")
    made.srt.write_text(to_srt(words), encoding="utf-8")
    made.vtt.write_text(to_vtt(words), encoding="utf-8")


def _follow(
    work: Generator[tuple[Moment, Any], None, Video],
    expected: int | None,
    pieces: "_Segments | None",
    sound: WavFile,
) -> Generator[Update, None, Video]:
    shown = 0.0
    while True:
        try:
            moment, state = next(work)
        except StopIteration as finished:
            return finished.value
        sound.write(moment.track, moment.rate)
        segment = None if pieces is None else pieces.add(moment)
        now = time.monotonic()
        if segment is None and now - shown < SHOW_EVERY_S and not moment.last:
            continue
        shown = now
        total = state.total or max(expected or 0, round(1.1 * state.done))
        left = state.seconds_left
        if left is None:
            left = (total - state.done) * state.seconds / state.done
        step = "Signing" if moment.last else f"Rendering frame {state.done} of {total}"
        yield Update(step, state.done / total, left, segment)


class _Segments:
    """Cuts the moments into little videos that a browser plays one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._waiting: list[Moment] = []

    def add(self, moment: Moment) -> Path | None:
        """A new segment when enough moments have come."""
        self._waiting.append(moment)
        if len(self._waiting) < (SEGMENT if self._count else FIRST_SEGMENT) and not moment.last:
            return None
        path = self._folder / f"part_{self._count:04d}.mp4"
        width, height = moment.size
        track = np.concatenate([m.track for m in self._waiting])
        with VideoWriter(
            path, width, height, audio=(track, moment.rate), preset="ultrafast", crf=21
        ) as writer:
            for waiting in self._waiting:
                if waiting.transparent:
                    waiting = replace(waiting, shown=over_chequers(waiting.picture))
                writer.write_planes(waiting.planes)
        self._count += 1
        self._waiting = []
        return path
