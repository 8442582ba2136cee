"""What the widgets call. Nothing here draws; everything is told in plain sentences."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from synctalk.errors import SyncTalkError
from synctalk.interface import jobs, panels, style
from synctalk.interface.examples import Example, Film
from synctalk.interface.studio import SAMPLE, Card, Studio
from synctalk.speaking.expression import PRESETS, Expression
from synctalk.speech.text_to_speech import DEFAULT_VOICE, synthesize, voices


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What goes wrong on purpose reaches the page as one plain sentence."""
    try:
        yield
    except SyncTalkError as problem:
        raise gr.Error(str(problem), print_exception=False, title="That did not work") from problem


@contextlib.contextmanager
def unless_made(made: jobs.Made) -> Iterator[None]:
    """A job that is broken off or goes wrong leaves no files behind."""
    try:
        yield
    finally:
        if made.video is None:
            made.remove()


@dataclass(frozen=True)
class Handlers:
    """The page's actions on one studio, whose avatars stand in the gallery as `cards`."""

    studio: Studio
    cards: list[Card]

    def still(self, avatar: str, *rest: Any) -> Any:
        """A still of the avatar with the expression and the picture the widgets show."""
        face, frame = list(rest[:-6]), list(rest[-6:])
        with plain_errors():
            look = panels.read_look(frame, with_words=False, unfinished=True)
            return self.studio.still(avatar, panels.read_expression(face), look)

    def make(
        self, kind: str, text: str, audio: str | None, avatar: str, voice: str | None, seed: float, *rest: Any
    ) -> Iterator[list[Any]]:
        """Make a video, yielding pieces to play meanwhile: live, status, three files, what was made."""
        face, frame = list(rest[:-6]), list(rest[-6:])
        made = jobs.Made()
        with plain_errors(), unless_made(made):
            request = jobs.Request(
                text=text if kind == "text" else None,
                audio=audio,
                avatar=avatar,
                voice=voice,
                expression=panels.read_expression(face),
                look=panels.read_look(frame, with_words=kind == "text"),
                seed=int(seed or 0),
            )
            with contextlib.closing(jobs.run(request, self.studio, made, can_stream())) as updates:
                for update in updates:
                    yield show(update, made)

    def speak(
        self,
        text: str,
        audio: str | None,
        avatar: str,
        voice: str | None,
        preset: str = "Natural",
        seed: float = 0,
    ) -> tuple[str, str | None, str]:
        """Make a video in which a talking-head avatar says a text, or is lip-synced to a recording.

        Args:
            text: What to say, up to 3000 characters of English. Leave it empty to use the recording.
            audio: A recording to lip-sync to (WAV, MP3, M4A, ...), up to 10 minutes. A text goes before it.
            avatar: Who speaks: a name from list_avatars.
            voice: Which voice reads the text: a name from list_voices. Empty takes the avatar's own voice.
            preset: The expression: Natural, Warm, Newsreader, Astonished or Sleepy.
            seed: A whole number; the same seed gives the same video.

        Returns:
            The video (MP4, signed), captions (SRT; none for a recording) and the sound (WAV).
        """
        made = jobs.Made()
        with plain_errors(), unless_made(made):
            request = jobs.Request(
                text=text or ("" if audio is None else None),
                audio=audio,
                avatar=avatar or self.studio.names[0],
                voice=voice or None,
                expression=PRESETS.get(preset, Expression()),
                seed=int(seed or 0),
            )
            for _ in jobs.run(request, self.studio, made, segments=False):
                pass
        jobs.remove_later(made.folder)
        return str(made.video), None if made.srt is None else str(made.srt), str(made.wav)

    def preview_voice(self, voice: str | None) -> Any:
        """Speak a short sample sentence with a voice, to hear how it sounds.

        Args:
            voice: A name from list_voices.

        Returns:
            The sound of the sample sentence.
        """
        with plain_errors():
            speech = synthesize(SAMPLE, voice or DEFAULT_VOICE)
        return gr.Audio((speech.rate, speech.samples), visible=True)

    def list_avatars(self) -> list[str]:
        """List the names of the avatars that can speak here.

        Returns:
            The names, for the parameter 'avatar' of speak.
        """
        return [card.name for card in self.cards]

    def list_voices(self) -> list[dict[str, str]]:
        """List the voices that can read a text, offline ones first.

        Returns:
            For each voice its name (for the parameter 'voice' of speak), language, gender and a label.
        """
        return [
            {"name": v.name, "language": v.language, "gender": v.gender, "label": v.label} for v in voices()
        ]

    def choose(self, event: gr.SelectData) -> list[str]:
        """The avatar whose picture was chosen, and its own voice."""
        card = self.cards[int(event.index)]
        return [card.name, card.voice]

    def fill(self, example: Example) -> list[Any]:
        """What an example asks for: avatar, gallery, kind, tabs, text, voice, preset, face."""
        names = [card.name for card in self.cards]
        place = names.index(example.avatar) if example.avatar in names else 0
        return [
            names[place],
            gr.Gallery(selected_index=place),
            "text",
            gr.Tabs(selected="text"),
            example.text,
            self.cards[place].voice,
            example.preset,
            *panels.show_expression(PRESETS[example.preset]),
        ]


def watch(film: Film) -> list[Any]:
    """A video made beforehand: go, stop, tabs, live, film, status, three files, what was made."""
    made = film.copy()
    return [
        *end(),
        gr.Tabs(selected="film"),
        gr.Video(visible="hidden"),
        gr.Video(str(made.video), subtitles=None if made.vtt is None else str(made.vtt), visible=True),
        line_of(film),
        *files_of(made),
        made,
    ]


def line_of(film: Film) -> str:
    """What the status says of a video made beforehand."""
    line = f"{film.seconds:.1f} s of video, made beforehand. 'Make the video' renders it here and now."
    return style.status(line, 1.0)


def begin(saves: int, old: jobs.Made | None, last_word: str = "") -> list[Any]:
    """A job starts: go off, stop on, the video tab shown, old files gone; then what was made, last word."""
    if old is not None:
        old.remove()
    return [
        gr.Button(interactive=False),
        gr.Button(interactive=True),
        gr.Tabs(selected="film"),
        gr.Video(value=None, visible=True),
        gr.Video(value=None, subtitles=None, visible="hidden"),  # captions whose file is gone are an error
        style.status("Waiting for a free place", 0.0),
        *[gr.DownloadButton(interactive=False, value=None) for _ in range(saves)],
        None,
        last_word,
    ]


def end() -> list[Any]:
    """A job is over: go on, stop off."""
    return [gr.Button(interactive=True), gr.Button(interactive=False)]


def stopped() -> list[Any]:
    """The visitor stopped it: go, stop, status, tabs, last word."""
    line = style.status("Stopped", 0.0)
    return [*end(), line, gr.Tabs(selected="still"), line]


def finished(last_word: str) -> list[Any]:
    """A job came to its end, or was broken off with the last word: go, stop, status, tabs."""
    return [*end(), last_word or gr.skip(), gr.skip()]


def failed(last_word: str) -> list[Any]:
    """A job went wrong, which the page says itself, or was broken off: go, stop, status, tabs."""
    return [*end(), last_word, gr.skip() if last_word else gr.Tabs(selected="still")]


def hand_over(made: jobs.Made | None) -> list[Any]:
    """From the pieces to the finished file."""
    if made is None or made.video is None or made.video.suffix != ".mp4":  # browsers play nothing else
        return [gr.skip(), gr.skip()]
    vtt = None if made.vtt is None else str(made.vtt)
    return [gr.Video(visible="hidden"), gr.Video(str(made.video), subtitles=vtt, visible=True)]


def show(update: jobs.Update, made: jobs.Made) -> list[Any]:
    """News for the page: live, status, three files, what was made."""
    piece = gr.skip() if update.segment is None else str(update.segment)
    line = style.status(update.step, update.share, update.seconds_left)
    video = update.video
    if video is None:
        return [piece, line, gr.skip(), gr.skip(), gr.skip(), gr.skip()]
    notes = " ".join(video.notes)
    line = style.status(f"{video.duration_s:.1f} s of video, made in {video.seconds:.1f} s. {notes}", 1.0)
    return [piece, line, *files_of(made), made]


def files_of(made: jobs.Made) -> list[Any]:
    """The download buttons of a finished job."""
    return [
        gr.DownloadButton(value=None if path is None else str(path), interactive=path is not None)
        for path in (made.video, made.srt, made.wav)
    ]


def can_stream() -> bool:
    """Pieces can be played while the rest is made (gradio joins them with ffmpeg)."""
    return shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None
