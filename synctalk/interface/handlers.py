"""What the widgets call. Nothing here draws; everything is told in plain sentences."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from synctalk.errors import SyncTalkError
from synctalk.interface import jobs, panels, style
from synctalk.interface.studio import SAMPLE, Studio
from synctalk.speaking.expression import PRESETS, Expression
from synctalk.speech.text_to_speech import DEFAULT_VOICE, synthesize


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What goes wrong on purpose reaches the page as one plain sentence."""
    try:
        yield
    except SyncTalkError as problem:
        raise gr.Error(str(problem), print_exception=False, title="That did not work") from problem


@dataclass(frozen=True)
class Handlers:
    """The page's actions on one studio."""

    studio: Studio

    def still(self, avatar: str, *face: Any) -> Any:
        """A still of the avatar with the expression the sliders show."""
        with plain_errors():
            return self.studio.still(avatar, panels.read_expression(list(face)))

    def make(
        self, kind: str, text: str, audio: str | None, avatar: str, voice: str | None, seed: float, *rest: Any
    ) -> Iterator[list[Any]]:
        """Make a video, yielding pieces to play meanwhile: live, status, three files, what was made."""
        face, frame = list(rest[:-6]), list(rest[-6:])
        made = jobs.Made()
        with plain_errors():
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
        """Make an avatar say a text, or lip-sync it to a recording.

        Args:
            text: what to say; leave it empty to use the recording.
            audio: a recording to lip-sync to.
            avatar: who speaks; see /list_avatars.
            voice: a voice name for text.
            preset: Natural, Warm, Newsreader, Astonished or Sleepy.
            seed: the same seed gives the same video.

        Returns:
            The video (MP4), captions (SRT; none for a recording) and the sound (WAV).
        """
        made = jobs.Made()
        with plain_errors():
            request = jobs.Request(
                text=text or ("" if audio is None else None),
                audio=audio,
                avatar=avatar or self.studio.names[0],
                voice=voice,
                expression=PRESETS.get(preset, Expression()),
                seed=int(seed or 0),
            )
            for _ in jobs.run(request, self.studio, made, segments=False):
                pass
        return str(made.video), None if made.srt is None else str(made.srt), str(made.wav)

    def hear(self, voice: str | None) -> Any:
        """Speak a short sample sentence with a voice."""
        with plain_errors():
            speech = synthesize(SAMPLE, voice or DEFAULT_VOICE)
        return gr.Audio((speech.rate, speech.samples), visible=True)

    def list_avatars(self) -> list[str]:
        """Names of the avatars that can speak here."""
        return self.studio.names

    def choose(self, event: gr.SelectData) -> str:
        """The avatar whose picture was chosen."""
        return self.studio.names[int(event.index)]


def begin(saves: int) -> list[Any]:
    """A job starts: go off, stop on, the video tab shown, old files gone."""
    return [
        gr.Button(interactive=False),
        gr.Button(interactive=True),
        gr.Tabs(selected="film"),
        gr.Video(visible=True),
        gr.Video(value=None, visible="hidden"),
        style.status("Waiting for a free place", 0.0),
        *[gr.DownloadButton(interactive=False, value=None) for _ in range(saves)],
    ]


def end() -> list[Any]:
    """A job is over: go on, stop off."""
    return [gr.Button(interactive=True), gr.Button(interactive=False)]


def stopped() -> list[Any]:
    """The visitor stopped it."""
    return [*end(), style.status("Stopped", 0.0), gr.Tabs(selected="still")]


def failed() -> list[Any]:
    """A job went wrong; the message itself is shown by the page."""
    return [*end(), style.status(), gr.Tabs(selected="still")]


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
    files = [
        gr.DownloadButton(value=None if path is None else str(path), interactive=path is not None)
        for path in (made.video, made.srt, made.wav)
    ]
    return [piece, line, *files, made]


def can_stream() -> bool:
    """Pieces can be played while the rest is made (gradio joins them with ffmpeg)."""
    return shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None
