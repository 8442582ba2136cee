"""The app without a browser: handlers, limits, and the road for programs."""

import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

gr = pytest.importorskip("gradio", reason="the app is an extra")
from gradio_client import Client, handle_file  # noqa: E402

import app  # noqa: E402
from synctalk.editing import Look  # noqa: E402
from synctalk.errors import AudioError, SpeechError, SyncTalkError  # noqa: E402
from synctalk.interface import handlers, jobs, panels, style  # noqa: E402
from synctalk.interface.studio import Studio  # noqa: E402
from synctalk.provenance import verify  # noqa: E402
from synctalk.speaking.expression import PRESETS, Expression  # noqa: E402

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
    assert panels.read_expression(panels.show_expression(Expression())) == Expression()


def test_the_look_is_read_from_the_widgets():
    assert panels.read_look(["source", "Original", "#000000", None, False, False], True) == Look()
    look = panels.read_look(["9:16", "Colour", "rgba(18, 52, 86, 1)", None, True, True], with_words=False)
    assert look == Look("9:16", "#123456", captions=False, mark=True)
    with pytest.raises(SyncTalkError, match="background"):
        panels.read_look(["source", "Picture", "#000000", None, False, False], True)


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


def test_programs_find_three_named_calls(client):
    named = set(client.view_api(return_format="dict")["named_endpoints"])
    assert {"/speak", "/preview_voice", "/list_avatars"} <= named
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
    files = [record(tmp_path / f"{i}.wav", seconds) for i, seconds in enumerate(lengths)]

    def visit(file: Path) -> float:
        visitor = Client(server, verbose=False, analytics_enabled=False, httpx_kwargs=PATIENT)
        video, _, _ = visitor.predict(
            text="", audio=handle_file(str(file)), avatar="tiny", voice=None, api_name="/speak"
        )
        with av.open(video) as container:
            return sum(1 for _ in container.decode(video=0)) / 25

    with ThreadPoolExecutor(20) as pool:
        durations = list(pool.map(visit, files))
    assert np.abs(np.array(durations) - lengths).max() <= 0.04
