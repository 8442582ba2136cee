"""The main road: text or sound -> lips, expressions, poses -> frames -> video.

    voice      text to speech sentence by sentence, or the user's recording      speaking/sound.py
    lips       mel -> audio-visual encoder, in overlapping chunks                speaking/chunks.py
    motion     which source frame is shown when                                  speaking/motion.py
    expression the source's own (or generated) coefficients, then the sliders    speaking/expression.py
    picture    deform, splat, blend into the source frame                        speaking/painter.py
    video      background, captions, mark; encode; sign                          editing.py, provenance.py

Each stage runs in its own thread with a short queue behind it, so speech starts early, frames leave as
they are made, and memory does not grow with length.
"""

import contextlib
import functools
import itertools
import sys
import threading
import time
import types
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from synctalk.avatar import Avatar
from synctalk.editing import Look, Stage
from synctalk.errors import SpeechError, SyncTalkError
from synctalk.expression.generator import ExpressionGenerator
from synctalk.expression.voice import voice_features
from synctalk.face_sync.audio_visual_encoder import AudioVisualEncoder
from synctalk.portrait.splat import rgb_to_yuv420
from synctalk.provenance import Credentials, can_sign, sign_video
from synctalk.speaking.background import in_background
from synctalk.speaking.chunks import ATTENTION_REACH, Chunk, Heard, chunks, listen
from synctalk.speaking.clock import Clock
from synctalk.speaking.expression import DRIVEN, Expression, ExpressionControl
from synctalk.speaking.generated import GeneratedExpression, learnt_style
from synctalk.speaking.motion import HeadMotion
from synctalk.speaking.painter import Painter, Shot
from synctalk.speaking.sound import FPS, MAX_SECONDS, Piece, Recording, from_text
from synctalk.speaking.subtitles import Subtitles
from synctalk.speaking.transparent import TransparentWriter
from synctalk.speech.captions import to_srt
from synctalk.speech.mel import mel_spectrogram
from synctalk.speech.voice_activity import speech_mask
from synctalk.speech.words import Word
from synctalk.video import Planes, VideoWriter

Sound = str | Path | tuple[NDArray[np.float32], int]
Who = str | Path | Avatar | Painter


@dataclass(frozen=True)
class Moment:
    """One frame with the sound heard while it is shown.

    Args:
        index: frame number; it shows time index / 25 s.
        shown: the frame as it was made: planes for a video encoder, or, dressed with captions and the
            like, uint8 RGB [H,W,3] (RGBA [H,W,4] for a transparent background). See `picture`, `planes`.
        track: float32 [n,channels], the soundtrack from this frame's start to the next one's.
        rate: of the soundtrack, Hz.
        words: words that became known with this frame.
        notes: what a person should be told, for example that another voice engine stepped in.
        last: nothing follows.
    """

    index: int
    shown: Planes | NDArray[np.uint8]
    track: NDArray[np.float32]
    rate: int
    words: list[Word] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    last: bool = False

    @functools.cached_property
    def picture(self) -> NDArray[np.uint8]:
        """uint8 RGB [H,W,3] (or RGBA [H,W,4] for a transparent background)."""
        return self.shown.rgb() if isinstance(self.shown, Planes) else self.shown

    @functools.cached_property
    def planes(self) -> Planes:
        """The picture as a video encoder takes it (a transparent background is lost)."""
        if isinstance(self.shown, Planes):
            return self.shown
        return Planes.from_planes(*rgb_to_yuv420(np.ascontiguousarray(self.shown[..., :3]), threads=1))

    @property
    def transparent(self) -> bool:
        """Whether the picture has a clear background (RGBA)."""
        return not isinstance(self.shown, Planes) and self.shown.shape[2] == 4

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        if isinstance(self.shown, Planes):
            return self.shown.width, self.shown.height
        return self.shown.shape[1], self.shown.shape[0]


@dataclass(frozen=True)
class Progress:
    """Where the work stands: frames done, in all (None while unknown), seconds spent and left."""

    done: int
    total: int | None
    seconds: float
    seconds_left: float | None


@dataclass(frozen=True)
class Video:
    """What `speak` made."""

    path: Path
    frames: int
    fps: int
    width: int
    height: int
    words: list[Word]
    first_frame_s: float
    seconds: float
    """Time it took, from the call to the finished file."""
    split_ms: dict[str, float]
    """Milliseconds per frame each stage was busy; stages overlap in time."""
    notes: list[str] = field(default_factory=list)
    """What a person should be told, for example that another voice engine stepped in."""

    @property
    def duration_s(self) -> float:
        """Length of the video."""
        return self.frames / self.fps

    def srt(self) -> str:
        """Captions in SRT form; empty when the words are not known (speech from a recording)."""
        return to_srt(self.words) if self.words else ""


class Stopped(SyncTalkError):
    """The user stopped it."""


def stream(
    text: str | None = None,
    audio: Sound | None = None,
    *,
    avatar: Who = "ben",
    voice: str | None = None,
    engine: str = "auto",
    expression: Expression | None = None,
    look: Look | None = None,
    seed: int = 0,
    clock: Clock | None = None,
) -> Generator[Moment, None, None]:
    """Speak, and yield each frame with its sound as soon as it is made. Close the iterator to stop.

    Args:
        text: what to say, or
        audio: what to lip-sync to: a path, or (samples [n] or [n,c] float in [-1,1], rate in Hz).
        avatar: who speaks: a name, folder or hub id, a loaded avatar, or a `Painter` kept from before.
        voice: for text; None takes the avatar's own voice.
        engine: 'auto', 'edge' or 'kokoro'.
        expression: sliders, emotion and head motion; None leaves the avatar's natural ones.
        look: aspect, background, captions, visible mark.
        seed: the same seed gives the same video.
        clock: measures the stages.

    Raises:
        SpeechError: neither or both of text and audio, text that cannot be spoken, no such voice.
        AudioError: sound that cannot be used.
        AvatarError: no such avatar, or a damaged one.
    """
    painter = _painter(avatar, clock)
    pieces = open_voice(text, audio, voice or painter.avatar.voice, engine)
    return _moments(pieces, painter, expression or Expression(), look or Look(), seed)


def _painter(avatar: Who, clock: Clock | None = None) -> Painter:
    """The avatar's painter, ready, with this work's clock."""
    if isinstance(avatar, Painter):
        painter = avatar
    else:
        painter = Painter(avatar if isinstance(avatar, Avatar) else Avatar.from_pretrained(avatar))
    painter.clock = clock or Clock()
    return painter


def open_voice(
    text: str | None,
    audio: Sound | None,
    voice: str | None = None,
    engine: str = "auto",
    max_seconds: float = MAX_SECONDS,
) -> Iterable[Piece]:
    """The voice to speak with; for a recording the checks are done here, before anything is rendered.

    Raises:
        SpeechError: neither or both of text and audio were given.
        AudioError: the recording cannot be used.
    """
    if (text is None) == (audio is None):
        raise SpeechError("Give either a text or a recording" + (", not both." if text is not None else "."))
    if audio is not None:
        return Recording(audio, max_seconds)
    assert text is not None
    return from_text(text, voice, engine)


@functools.cache
def shared_encoder() -> AudioVisualEncoder:
    """The audio-visual encoder, loaded at first use and shared; it keeps nothing between calls."""
    return AudioVisualEncoder.from_pretrained().in_half_precision()


@functools.cache
def shared_generator() -> ExpressionGenerator:
    """The expression generator, loaded at first use and shared."""
    return ExpressionGenerator.load()


def _moments(
    pieces: Iterable[Piece], painter: Painter, expression: Expression, look: Look, seed: int
) -> Generator[Moment, None, None]:
    """The stages, one after the other."""
    clock = painter.clock
    hear = functools.partial(_hear, clock, expression.source == "voice")
    stage = Stage(look, *painter.frame_size, centre_x=painter.centre_x)
    spoken = in_background(clock.timed("voice", pieces), depth=4)
    ready = in_background(chunks(listen(spoken, hear)), depth=3)
    pictures = in_background(painter.pictures(plan(ready, painter, expression, seed)), depth=8)
    subtitles = Subtitles()
    with contextlib.closing(pictures):
        for shot, picture in pictures:
            moment = _moment(shot.chunk, shot.place, picture)
            if stage.active:
                with clock.measure("dress"):
                    subtitles.add(moment.words if look.captions else [])
                    caption = subtitles.at(moment.index / FPS)
                    person = shot.person() if stage.needs_person else None
                    dressed = stage.dress(moment.picture, person, moment.index, caption)
                moment = replace(moment, shown=dressed)
            yield moment


def _hear(clock: Clock, with_manner: bool, voice: NDArray[np.float32], first: int, count: int) -> Heard:
    """What is read from frames `first` to `first + count` of the voice, mono 16 kHz [n]."""
    with clock.measure("lips"):
        lips = shared_encoder().encode_mel(mel_spectrogram(voice), count, first)
    with clock.measure("manner"):
        rows = slice(first, first + count)
        silence = ~speech_mask(voice)[rows]
        manner = voice_features(voice)[rows] if with_manner else np.zeros((len(lips), 0), np.float32)
    return Heard(lips, silence, manner)


def plan(ready: Iterable[Chunk], painter: Painter, expression: Expression, seed: int) -> Iterator[Shot]:
    """For each frame: the source frame under it, and what drives the face."""
    avatar = painter.avatar
    motion = iter(HeadMotion(painter.source_motion(), expression.head_motion, seed))
    own = avatar.blendshapes.numpy()
    generated = generator_for(expression, avatar, seed)
    control = _control(expression, avatar, generated is not None, seed)
    shown: list[int] = []  # source frames of the chunk and its context
    coefficients = np.zeros((0, own.shape[1]), np.float32)
    for chunk in ready:
        more = list(itertools.islice(motion, len(chunk.lips) - len(shown)))
        shown += more
        natural = own[more]
        if generated is not None:
            natural = generated.push(chunk.manner[len(chunk.lips) - len(more) :], natural)
        coefficients = np.concatenate([coefficients, control.apply(natural)])
        conditions = painter.conditions(chunk.lips, coefficients, chunk.silence)
        for place in range(chunk.frames):
            row = chunk.before + place
            yield Shot(chunk, place, shown[row], conditions[row])
        kept = min(ATTENTION_REACH, chunk.before + chunk.frames) + chunk.after
        shown, coefficients = shown[-kept:], coefficients[-kept:]


def generator_for(expression: Expression, avatar: Avatar, seed: int) -> GeneratedExpression | None:
    """What makes brows, smile and blinks fit the voice; None where the footage's own are wanted."""
    if expression.source != "voice":
        return None
    return GeneratedExpression(
        avatar.blendshapes.numpy(),
        shared_generator(),
        avatar.expression,
        None if expression.emotion == "natural" else learnt_style(expression.emotion),
        expression.strength,
        expression.blinks_per_minute,
        seed,
    )


def _control(expression: Expression, avatar: Avatar, generated: bool, seed: int = 0) -> ExpressionControl:
    rest, top = (limit.numpy() for limit in avatar.expression_limits())
    return ExpressionControl(expression, avatar.blendshapes.numpy(), rest, top, generated, seed)


def _moment(chunk: Chunk, i: int, picture: Planes) -> Moment:
    """Frame `i` of a chunk with its part of the soundtrack."""
    base = round(chunk.start * chunk.rate / FPS)
    first, end = (round((chunk.start + k) * chunk.rate / FPS) - base for k in (i, i + 1))
    last = chunk.last and i == chunk.frames - 1
    track = chunk.track[first : len(chunk.track) if last else end]
    words, notes = (chunk.words, chunk.notes) if i == 0 else ([], [])
    return Moment(chunk.start + i, picture, track, chunk.rate, words, notes, last)


def preview(
    avatar: Who = "ben",
    expression: Expression | None = None,
    frame: int | None = None,
    look: Look | None = None,
) -> NDArray[np.uint8]:
    """A still of the avatar at rest, mouth shut, with an expression: what a slider does, at once.

    Args:
        avatar: who; a `Painter` kept from before saves loading.
        expression: sliders and emotion.
        frame: source frame to show; None takes a still one.
        look: aspect, background and mark.

    Returns:
        uint8 RGB [H,W,3], or RGBA for a transparent background.
    """
    painter = _painter(avatar)
    who = painter.avatar
    if frame is None:
        frame = next(iter(HeadMotion(painter.source_motion(), "calm")))
    expression = replace(expression or Expression(), blinks_per_minute=None)
    rest = who.expression_limits()[0].numpy()
    natural = who.blendshapes[frame : frame + 1].numpy().copy()
    natural[:, list(DRIVEN)] = rest[list(DRIVEN)]
    coefficients = _control(expression, who, generated=False).apply(natural)
    quiet = 2 * ATTENTION_REACH + 1
    silence, manner = np.ones(quiet, bool), np.zeros((quiet, 0), np.float32)
    still = Chunk(0, torch.zeros(quiet, 512), silence, manner, ATTENTION_REACH, ATTENTION_REACH)
    conditions = painter.conditions(still.lips, np.repeat(coefficients, quiet, axis=0), still.silence)
    shot = next(painter.fetch([Shot(still, 0, frame, conditions[ATTENTION_REACH])]))
    stage = Stage(look or Look(), *painter.frame_size, centre_x=painter.centre_x)
    return stage.dress(painter.paint(shot).rgb(), shot.person(), 0)


def speak(
    text: str | None = None,
    audio: Sound | None = None,
    output: str | Path = "out.mp4",
    *,
    progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
    **options: Any,
) -> Video:
    """Make a video of the avatar saying it.

    Args:
        text, audio: what to say, or what to lip-sync to.
        output: the video to make; it appears under this name only when it is complete.
        progress: called after each frame.
        cancel: set it from another thread to stop.
        options: avatar, voice, engine, expression, look, seed, credentials, as for `making`.

    Raises:
        Stopped: `cancel` was set; no file is left behind.
        SpeechError, AudioError, AvatarError: as for `stream`.
        VideoError: the video cannot be written.
    """
    work = making(text, audio, output, **options)
    with contextlib.closing(work):
        while True:
            try:
                _, state = next(work)
            except StopIteration as finished:
                return cast(Video, finished.value)
            if progress is not None:
                progress(state)
            if cancel is not None and cancel.is_set():
                raise Stopped("Stopped. No video was made.")


def making(
    text: str | None = None,
    audio: Sound | None = None,
    output: str | Path = "out.mp4",
    *,
    avatar: Who = "ben",
    voice: str | None = None,
    engine: str = "auto",
    expression: Expression | None = None,
    look: Look | None = None,
    seed: int = 0,
    credentials: Credentials | None = None,
    max_seconds: float = MAX_SECONDS,
) -> Generator[tuple[Moment, Progress], None, Video]:
    """Make a video and yield each moment as it is written; the generator's value is the `Video`.

    Closing the generator stops the work and leaves no file.

    Args:
        text, audio, avatar, voice, engine, expression, look, seed: as for `stream`.
        output: the video to make.
        credentials: who signs the content credentials; None signs with this installation's own.
        max_seconds: longest recording accepted.

    Raises:
        SpeechError, AudioError, AvatarError: as for `stream`.
        VideoError: the video cannot be written.
    """
    clock, began = Clock(), time.perf_counter()
    look = look or Look()
    painter = _painter(avatar, clock)
    pieces = open_voice(text, audio, voice or painter.avatar.voice, engine, max_seconds)
    total = pieces.frames if isinstance(pieces, Recording) else None
    person = painter.avatar
    words: list[Word] = []
    notes: list[str] = []
    first_frame_s = 0.0
    moments = _moments(pieces, painter, expression or Expression(), look, seed)
    with contextlib.closing(moments), contextlib.ExitStack() as files:
        writer: Any = None
        for moment in moments:
            if writer is None:
                first_frame_s = time.perf_counter() - began
                writer = files.enter_context(_writer(output, moment, person, look))
            with clock.measure("encode"):
                _write(writer, moment)
                writer.write_audio(moment.track)
            words += moment.words
            notes += [note for note in moment.notes if note not in notes]
            done = moment.index + 1
            yield moment, _progress(done, done if moment.last else total, began + first_frame_s)
        if writer is None:
            raise SpeechError("There was nothing to say.")
    if can_sign(output):
        with clock.measure("sign"):
            sign_video(output, person, credentials)
    else:
        notes.append(f"{Path(output).suffix} files cannot carry content credentials; use .mp4 or .mov.")
    seconds = time.perf_counter() - began
    return Video(
        Path(output),
        writer.frames,
        FPS,
        writer.width,
        writer.height,
        words,
        first_frame_s,
        seconds,
        clock.per_frame(writer.frames),
        notes,
    )


def _writer(output: str | Path, moment: Moment, avatar: Avatar, look: Look) -> Any:
    width, height = moment.size
    sound: Any = {"audio": (None, moment.rate), "channels": moment.track.shape[1]}
    tags = {"comment": f"AI generated talking head of the avatar '{avatar.name}', made with SyncTalk++"}
    if look.transparent:
        return TransparentWriter(output, width, height, FPS, metadata=tags, **sound)
    # One thread: the others have frames to paint, and it costs a quarter less in all.
    return VideoWriter(output, width, height, FPS, preset="ultrafast", threads=1, metadata=tags, **sound)


def _write(writer: Any, moment: Moment) -> None:
    if isinstance(writer, VideoWriter):
        writer.write_planes(moment.planes)
    else:
        writer.write(moment.picture)


def _progress(done: int, total: int | None, began: float) -> Progress:
    spent = time.perf_counter() - began
    left = None if total is None else spent / done * (total - done)
    return Progress(done, total, spent, left)


class _Callable(types.ModuleType):
    """Lets `from synctalk import speak; speak(...)` work although this module has the same name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Video:
        return speak(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
