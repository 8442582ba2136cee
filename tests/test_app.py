"""The app without a browser: handlers, limits, and the road for programs."""

import json
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

gr = pytest.importorskip("gradio", reason="the app is an extra")
from gradio_client import Client, handle_file  # noqa: E402

import app  # noqa: E402
from synctalk.avatar import Avatar  # noqa: E402
from synctalk.editing import Look  # noqa: E402
from synctalk.errors import AudioError, SpeechError, SyncTalkError  # noqa: E402
from synctalk.interface import examples, handlers, jobs, panels, style  # noqa: E402
from synctalk.interface.examples import Example  # noqa: E402
from synctalk.interface.studio import Studio  # noqa: E402
from synctalk.provenance import verify  # noqa: E402
from synctalk.speaking.expression import PRESETS, Expression  # noqa: E402
from synctalk.video import probe  # noqa: E402

PATIENT = {"timeout": 120}  # twenty visitors on two cores wait for each other


@pytest.fixture(scope="module")
def studio(tiny_folder: Path) -> Studio:
    return Studio([str(tiny_folder)])


@pytest.fixture(scope="module")
def server(studio: Studio) -> Any:
    page = app.build(studio)
    _, url, _ = app.launch(page, "127.0.0.1", prevent_thread_lock=True, quiet=True)
    yield url
    page.close()


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False, analytics_enabled=False, httpx_kwargs=PATIENT)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("sound") / "hum.wav", 1.0)


def record(path: Path, seconds: float, pitch: float = 0.06) -> Path:
    samples = (0.3 * np.sin(np.arange(round(16000 * seconds)) * pitch) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    return path


def ask(**changes: Any) -> jobs.Request:
    return jobs.Request(**{"text": "Hello.", "audio": None, "avatar": "tiny", **changes})


def test_widgets_and_expressions_translate_into_each_other():
    for expression in PRESETS.values():
        assert panels.read_expression(panels.show_expression(expression)) == expression
    for expression in (Expression(), Expression(blinks_per_minute=0, source="footage", head_motion="lively")):
        assert panels.read_expression(panels.show_expression(expression)) == expression


def test_the_look_is_read_from_the_widgets():
    assert panels.read_look(["source", "Original", "#000000", None, False, False], True) == Look()
    look = panels.read_look(["9:16", "Colour", "rgba(18, 52, 86, 1)", None, True, True], with_words=False)
    assert look == Look("9:16", "#123456", captions=False, mark=True)
    with pytest.raises(SyncTalkError, match="background"):
        panels.read_look(["source", "Picture", "#000000", None, False, False], True)
    assert panels.read_look(["source", "Picture", "#0", None, False, False], True, unfinished=True) == Look()


def test_the_still_shows_what_the_widgets_ask_for(studio):
    do = handlers.Handlers(studio, studio.cards())
    face = panels.show_expression(Expression())
    plain = do.still("tiny", *face, "source", "Original", "#000000", None, False, False)
    red = do.still("tiny", *face, "source", "Colour", "#ff0000", None, False, False)
    clear = do.still("tiny", *face, "9:16", "Transparent", "#000000", None, False, False)
    assert plain.shape == red.shape and clear.shape[0] > clear.shape[1] and clear.shape[2] == 3
    assert np.abs(red[:8, :8].astype(int) - [255, 0, 0]).max() <= 8
    assert set(np.unique(clear[:8, :8])) <= {206, 236}


def test_a_chosen_avatar_brings_its_own_voice(studio):
    do = handlers.Handlers(studio, [replace(studio.cards()[0], voice="bf_emma")])
    assert do.choose(SimpleNamespace(index=0)) == ["tiny", "bf_emma"]
    assert do.list_avatars() == ["tiny"]
    assert {"am_michael", "bf_emma"} <= {voice["name"] for voice in do.list_voices()}


def test_an_example_made_beforehand_is_shown_only_while_it_is_up_to_date(tiny_folder, tmp_path):
    example, places = Example("Short", "tiny", "Hello."), {"tiny": str(tiny_folder)}
    examples.make_films(tmp_path / "films", places, [example])
    film = examples.ready_films(tmp_path / "films", places, [example])[example]
    made = film.copy()
    assert verify(made.video).intact and "Hello." in made.srt.read_text()
    with wave.open(str(made.wav)) as file, av.open(str(made.video)) as container:
        frames = sum(1 for _ in container.decode(video=0))
        assert abs(file.getnframes() / file.getframerate() - frames / 25) <= 0.04
    *_, saved = handlers.watch(film)
    assert saved.folder != made.folder  # files of this visitor's own
    assert not examples.ready_films(tmp_path / "films", {}, [example])
    changed = replace(example, preset="Warm")
    assert not examples.ready_films(tmp_path / "films", places, [changed])
    made.remove()


def test_every_shipped_example_has_a_bundled_avatar_and_a_preset():
    for example in examples.EXAMPLES:
        assert example.avatar in Avatar.available() and example.preset in PRESETS
        entry = json.loads((app.EXAMPLE_VIDEOS / examples.LIST).read_text())[example.label]
        assert abs(probe(app.EXAMPLE_VIDEOS / example.file_name).duration_s - entry["seconds"]) < 0.09
        assert verify(app.EXAMPLE_VIDEOS / example.file_name).intact


def test_an_example_fills_in_everything_it_was_made_with(studio):
    do = handlers.Handlers(studio, studio.cards())
    avatar, _, kind, _, text, voice, preset, *face = do.fill(examples.EXAMPLES[1])
    assert (avatar, kind, text, preset) == ("tiny", "text", examples.EXAMPLES[1].text, "Warm")
    assert voice == studio.cards()[0].voice and panels.read_expression(face) == PRESETS["Warm"]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"text": "   "}, SpeechError, "Write what"),
        ({"text": "a" * (jobs.MAX_TEXT + 1)}, SpeechError, str(jobs.MAX_TEXT)),
        ({"text": None}, AudioError, "Add a recording"),
    ],
)
def test_requests_beyond_the_limits_are_told_at_once(changes, error, said):
    with pytest.raises(error, match=said):
        ask(**changes).check()


def test_a_job_gives_pieces_to_play_before_it_gives_the_files(studio, recording):
    made = jobs.Made()
    updates = list(jobs.run(ask(text=None, audio=str(recording)), studio, made))
    pieces = [update.segment for update in updates if update.segment]
    assert len(pieces) == 2 and updates[-1].video is not None
    frames = 0
    for piece in pieces:
        with av.open(str(piece)) as container:
            frames += sum(1 for _ in container.decode(video=0))
    assert frames == updates[-1].video.frames == 25
    assert made.video.is_file() and made.wav.is_file() and made.srt is None
    with wave.open(str(made.wav)) as file:
        assert (file.getframerate(), file.getnframes()) == (16000, 16000)
    made.remove()
    assert not made.folder.exists()


@pytest.mark.parametrize("in_picture", [False, True])
def test_words_are_shown_once(studio, in_picture):
    made = jobs.Made()
    list(jobs.run(ask(look=Look(captions=in_picture)), studio, made, segments=False))
    assert made.srt.is_file() and (made.vtt is None) == in_picture
    _, film = handlers.hand_over(made)
    assert bool(film.subtitles) != in_picture
    made.remove()


def test_no_files_stay_behind(studio, recording, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    do = handlers.Handlers(studio, studio.cards())
    widgets = [*panels.show_expression(Expression()), "source", "Original", "#000000", None, False, False]

    def make(audio: Path) -> Any:
        return do.make("audio", "", str(audio), "tiny", None, 0, *widgets)

    stopped = make(recording)
    next(stopped)
    next(stopped)
    stopped.close()
    (tmp_path / "notes.wav").write_text("these are notes")
    with pytest.raises(gr.Error):
        list(make(tmp_path / "notes.wav"))
    assert not list(tmp_path.glob("synctalk-*"))
    *_, (*_, made) = make(recording)
    assert made.video.is_file() and list(tmp_path.glob("synctalk-*")) == [made.folder]
    handlers.begin(3, made)  # the next job
    assert not list(tmp_path.glob("synctalk-*"))


def test_what_a_program_asked_for_is_deleted_once_it_is_copied(studio, recording, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(jobs, "COPIED_AFTER_S", 0.2)
    video, _, _ = handlers.Handlers(studio, studio.cards()).speak("", str(recording), "tiny", None)
    assert Path(video).is_file()
    for _ in range(50):
        time.sleep(0.1)
        if not list(tmp_path.glob("synctalk-*")):
            return
    pytest.fail("The files are still there.")


def test_an_unknown_avatar_is_not_looked_for_elsewhere(studio, recording):
    with pytest.raises(SyncTalkError, match="Choose one of: tiny"):
        list(jobs.run(ask(text=None, audio=str(recording), avatar="../../etc"), studio, jobs.Made()))


def test_closing_a_job_frees_the_avatar_for_the_next(studio, recording):
    made = jobs.Made()
    updates = jobs.run(ask(text=None, audio=str(recording)), studio, made)
    while next(updates).segment is None:
        pass
    updates.close()
    assert not list(made.folder.glob("*.mp4")) or not (made.folder / "tiny.mp4").exists()
    assert list(jobs.run(ask(text=None, audio=str(recording)), studio, jobs.Made()))[-1].video is not None


def test_plain_errors_reach_the_page_as_one_sentence():
    with pytest.raises(gr.Error) as raised, handlers.plain_errors():
        raise SpeechError("Write what the avatar should say.")
    assert raised.value.message == "Write what the avatar should say." and not raised.value.print_exception


def test_the_progress_line_tells_step_share_and_seconds_and_escapes_what_it_shows():
    line = style.status("Rendering <frame>", 0.5, 7.2)
    assert "width:50%" in line and "about 7 s left" in line and "&lt;frame&gt;" in line
    assert style.status() == ""


def test_programs_find_four_named_calls(client):
    named = set(client.view_api(return_format="dict")["named_endpoints"])
    assert {"/speak", "/preview_voice", "/list_avatars", "/list_voices"} <= named
    assert client.predict(api_name="/list_avatars") == ["tiny"]


def test_a_program_gets_a_signed_video_and_its_sound(client, recording):
    video, captions, sound = client.predict(
        text="", audio=handle_file(str(recording)), avatar="tiny", voice=None, api_name="/speak"
    )
    assert verify(video).intact and captions is None and Path(sound).stat().st_size > 30_000


def test_a_program_is_told_mistakes_plainly(client, tmp_path):
    (tmp_path / "notes.wav").write_text("no sound")
    with pytest.raises(Exception, match="Write what the avatar should say"):
        client.predict(text="", audio=None, avatar="tiny", voice=None, api_name="/speak")
    with pytest.raises(Exception, match=r"notes\.wav"):
        client.predict(
            text="",
            audio=handle_file(str(tmp_path / "notes.wav")),
            avatar="tiny",
            voice=None,
            api_name="/speak",
        )
    with pytest.raises(Exception, match="Choose one of: tiny"):
        client.predict(text="Hello.", audio=None, avatar="zoe", voice=None, api_name="/speak")


def test_twenty_visitors_at_once_each_get_their_own_video(server, tmp_path):
    lengths = [0.4 + 0.04 * i for i in range(20)]
    files = [record(tmp_path / f"{i}.wav", seconds, 0.03 + 0.003 * i) for i, seconds in enumerate(lengths)]

    def visit(file: Path) -> tuple[float, bool]:
        visitor = Client(server, verbose=False, analytics_enabled=False, httpx_kwargs=PATIENT)
        video, _, sound = visitor.predict(
            text="", audio=handle_file(str(file)), avatar="tiny", voice=None, api_name="/speak"
        )
        with av.open(video) as container:
            duration = sum(1 for _ in container.decode(video=0)) / 25
        return duration, np.array_equal(heard(Path(sound)), heard(file))

    def heard(file: Path) -> np.ndarray:
        with wave.open(str(file)) as sound:
            return np.frombuffer(sound.readframes(sound.getnframes()), "<i2")

    with ThreadPoolExecutor(20) as pool:
        durations, own = zip(*pool.map(visit, files), strict=True)
    assert np.abs(np.array(durations) - lengths).max() <= 0.04
    assert all(own)  # each got its own recording back, sample for sample
