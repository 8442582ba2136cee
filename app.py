"""The app: widgets wired to synctalk. The same file runs on a laptop, on a CPU Space and on ZeroGPU.

python app.py [--avatars FOLDER_OR_NAME ...] [--host 127.0.0.1] [--port 7860]
python app.py --make-examples      # makes the videos in examples/videos again
"""

import argparse
import importlib.util
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

try:
    import spaces  # before anything that starts CUDA
except ImportError:  # only a Space on ZeroGPU needs it
    spaces = None

import gradio as gr

from synctalk.errors import SyncTalkError
from synctalk.interface import handlers, jobs, panels, style
from synctalk.interface.avatar_tab import make_avatar_tab
from synctalk.interface.examples import EXAMPLES, Example, Film, make_films, ready_films
from synctalk.interface.handlers import Handlers
from synctalk.interface.studio import Studio
from synctalk.logs import set_up_logging
from synctalk.speaking import device
from synctalk.speaking.expression import PRESETS
from synctalk.speech.text_to_speech import voices

KEEP_FILES_S = 3600
QUEUE_LENGTH = 40
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
AT_ONCE: dict[str, Any] = {**QUIET, "queue": False}
EXAMPLE_VIDEOS = Path(__file__).resolve().parent / "examples" / "videos"
# The finished file goes on where the visitor is watching the pieces.
LEAVE_LIVE = """(made) => {
  const live = document.querySelector('#live video');
  window.watched = { at: live?.currentTime ?? 0, playing: !!live && !live.paused && !live.ended };
  live?.pause();
  return [made];
}"""
PAUSE_LIVE = "() => { document.querySelector('#live video')?.pause(); return []; }"
ENTER_FILM = """() => {
  const { at, playing } = window.watched ?? { at: 0, playing: false };
  const enter = (tries) => {
    const film = document.querySelector('#film video');
    if (!film || film.readyState < 1) { if (tries) setTimeout(() => enter(tries - 1), 50); return; }
    if (playing) { film.currentTime = Math.min(at, film.duration); film.play().catch(() => {}); }
  };
  enter(100);
}"""

PLAY_FILM = f"""() => {{ window.watched = {{ at: 0, playing: true }}; ({ENTER_FILM})(); }}"""
TITLE = "<h1>SyncTalk++</h1><p>Write or record something, and an avatar says it.</p>"
NOTE = (
    "The people shown here do not exist; they are rendered. Every video carries content credentials "
    "(C2PA) that say it was generated. Files are deleted after an hour."
)


def build(studio: Studio, examples: Sequence[Example] = EXAMPLES, videos: Path = EXAMPLE_VIDEOS) -> gr.Blocks:
    """The whole page.

    Args:
        studio: the avatars on offer.
        examples: to click on.
        videos: where the videos made of them beforehand lie.

    Raises:
        SyncTalkError: there is no avatar to show.
    """
    cards = studio.cards()
    if not cards:
        raise SyncTalkError("There is no avatar to show. Put one into assets/avatars or give --avatars.")
    keep = (KEEP_FILES_S // 2, KEEP_FILES_S)
    with gr.Blocks(title="SyncTalk++", analytics_enabled=False, delete_cache=keep) as page:
        gr.HTML(TITLE, elem_id="title")
        with gr.Tab("Speak"):
            speak_tab(Handlers(studio, cards), examples, ready_films(videos, studio.places, examples))
        with gr.Tab("Make an avatar"):
            make_avatar_tab()
    return page


def speak_tab(do: Handlers, examples: Sequence[Example], ready: dict[Example, Film]) -> None:
    """The main tab: what is said on the left, who says it on the right; `ready` examples play at once."""
    cards = do.cards
    made = gr.State(None, time_to_live=KEEP_FILES_S, delete_callback=lambda kept: kept and kept.remove())
    # What the status says once a job is broken off: news of it may still come after the click that ended it.
    last_word = gr.State("")
    avatar = gr.Textbox(cards[0].name, visible=False, label="Avatar")
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=5, min_width=320):
            gallery = panels.avatar_gallery(cards)
            said = panels.voice_panel([(voice.label, voice.name) for voice in voices()], cards[0].voice)
            with gr.Row():
                go = gr.Button("Make the video", variant="primary", elem_id="go", scale=3)
                stop = gr.Button("Stop", interactive=False, elem_id="stop", scale=1, min_width=90)
            waiting = [example for example in examples if example not in ready]
            watch, render = (
                panels.example_row([example.label for example in some], ready=some is not waiting)
                for some in (list(ready), waiting)
            )
            face = panels.expression_panel()
            frame = panels.picture_panel()
        with gr.Column(scale=6, min_width=320, elem_id="stage"):
            stage = panels.stage_panel()
    gr.Markdown(NOTE, elem_id="note")

    def job(trigger: Any) -> Any:
        """Wire one way of starting; returns the event to cancel."""
        shown = [go, stop, stage.tabs, stage.live, stage.film, stage.status, *stage.saves, made, last_word]
        started = trigger(lambda old: handlers.begin(len(stage.saves), old), made, shown, **AT_ONCE)
        making = started.then(
            do.make,
            [said.kind, said.text, said.audio, avatar, said.voice, frame.seed, *face.values, *frame.values],
            [stage.live, stage.status, *stage.saves, made],
            concurrency_id="video",
            concurrency_limit=1,
            **QUIET,
        )
        over = [go, stop, stage.status, stage.tabs]
        making.failure(handlers.failed, last_word, over, **AT_ONCE)
        finished = making.success(handlers.finished, last_word, over, **AT_ONCE)
        finished.then(handlers.hand_over, made, [stage.live, stage.film], js=LEAVE_LIVE, **AT_ONCE).then(
            None, js=ENTER_FILM, **AT_ONCE
        )
        return making

    filled = [avatar, gallery, said.kind, said.tabs, said.text, said.voice, face.preset, *face.values]
    rendering = render.click(lambda place: do.fill(waiting[place]), render, filled, **AT_ONCE)
    jobs_running = [job(go.click), job(rendering.then)]
    shown = [go, stop, stage.tabs, stage.live, stage.film, stage.status, *stage.saves, made, last_word]
    films = list(ready.items())
    watch.click(lambda place: do.fill(films[place][0]), watch, filled, **AT_ONCE)
    # The tab is opened first: what is put into a tab that is not there yet is lost.
    room = watch.click(
        lambda place, old: handlers.begin(len(stage.saves), old, handlers.line_of(films[place][1])),
        [watch, made],
        shown,
        cancels=jobs_running,
        **AT_ONCE,
    )
    room.then(lambda place: handlers.watch(films[place][1]), watch, shown[:-1], **AT_ONCE).then(
        None, js=PLAY_FILM, **AT_ONCE
    )
    shown = [go, stop, stage.status, stage.tabs, last_word]
    stop.click(handlers.stopped, None, shown, js=PAUSE_LIVE, cancels=jobs_running, **AT_ONCE)
    wire_voice(do, said)
    wire_face(do, face, frame, avatar, stage)
    gallery.select(do.choose, None, [avatar, said.voice], **AT_ONCE)
    frame.background.change(
        lambda kind: [gr.ColorPicker(visible=kind == "Colour"), gr.Image(visible=kind == "Picture")],
        frame.background,
        [frame.colour, frame.picture],
        **AT_ONCE,
    )
    wire_api(do, said, avatar, face, frame, stage)


def wire_voice(do: Handlers, said: panels.Voice) -> None:
    """Tabs tell which kind of speech is meant; a button lets the voice be heard."""
    said.text_tab.select(lambda: "text", None, said.kind, **AT_ONCE)
    said.audio_tab.select(lambda: "audio", None, said.kind, **AT_ONCE)
    said.hear.click(do.preview_voice, said.voice, said.sample, api_name="preview_voice", concurrency_limit=2)


def wire_face(do: Handlers, face: panels.Face, frame: panels.Frame, avatar: Any, stage: panels.Stage) -> None:
    """Each move of a slider, and each choice about the picture, is seen at once in the still."""
    moves = [w.release for w in face.sliders] + [w.input for w in face.choices] + frame.changes
    shown = [avatar, *face.values, *frame.values]
    look = {**AT_ONCE, "trigger_mode": "always_last"}
    gr.on(moves, do.still, shown, stage.still, **look).then(
        lambda: gr.Tabs(selected="still"), None, stage.tabs, **AT_ONCE
    )
    avatar.change(do.still, shown, stage.still, **look)
    preset = face.preset.change(
        lambda name: panels.show_expression(PRESETS[name]), face.preset, face.values, **AT_ONCE
    )
    reset = face.reset.click(
        lambda: ["Natural", *panels.show_expression(PRESETS["Natural"])],
        None,
        [face.preset, *face.values],
        **AT_ONCE,
    )
    for change in (preset, reset):
        change.then(do.still, shown, stage.still, **look)
    context = gr.context.Context.root_block
    assert context is not None
    context.load(do.still, shown, stage.still, **look)


def wire_api(
    do: Handlers, said: panels.Voice, avatar: Any, face: panels.Face, frame: panels.Frame, stage: panels.Stage
) -> None:
    """The road for programs: /speak, /list_avatars, /list_voices (and /preview_voice on its button)."""
    files = [gr.File(visible=False, label=label) for label in ("Video", "Captions", "Sound")]
    gr.Button(visible=False).click(
        do.speak,
        [said.text, said.audio, avatar, said.voice, face.preset, frame.seed],
        files,
        api_name="speak",
        concurrency_id="video",
        concurrency_limit=1,
    )
    gr.api(do.list_avatars, api_name="list_avatars", queue=False)
    gr.api(do.list_voices, api_name="list_voices", queue=False)


def launch(page: gr.Blocks, host: str | None = None, port: int | None = None, **options: Any) -> Any:
    """Serve the page."""
    page.queue(max_size=QUEUE_LENGTH, default_concurrency_limit=4)
    return page.launch(
        server_name=host,
        server_port=port,
        theme=style.theme(),
        css=style.CSS,
        max_file_size=jobs.MAX_UPLOAD,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        show_error=True,
        mcp_server=importlib.util.find_spec("mcp") is not None,  # the named calls become tools
        **options,
    )


# On ZeroGPU the frames of a video are rendered in one call for which a GPU is lent; voice, lips, blending
# and encoding stay outside. Elsewhere the call is not used.
render_on_gpu = None
if spaces is not None:
    lent = spaces.GPU(duration=device.seconds_needed)(device.render_all)
    render_on_gpu = lent if spaces.config.Config.zero_gpu else None


def main() -> None:
    """Start the app from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--avatars", nargs="+", metavar="AVATAR", help="folders or names (default: bundled)")
    parser.add_argument("--host", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, help="default: 7860")
    parser.add_argument("--make-examples", action="store_true", help="make the examples' videos and stop")
    args = parser.parse_args()
    if args.make_examples:
        set_up_logging()
        make_films(EXAMPLE_VIDEOS, Studio(args.avatars).places)
        return
    studio = Studio(args.avatars, render_on_gpu)
    page = build(studio)
    launch(page, args.host, args.port, prevent_thread_lock=True)
    threading.Thread(target=studio.warm, daemon=True).start()
    page.block_thread()


if __name__ == "__main__":
    main()
