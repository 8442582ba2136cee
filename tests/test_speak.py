import itertools
import json
import shutil
import sys
import threading
import time
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import synctalk
from synctalk.cli import main
from synctalk.editing import Look
from synctalk.errors import AudioError, AvatarError, SpeechError, VideoError
from synctalk.provenance import verify
from synctalk.speak import Stopped, preview, speak, stream
from synctalk.speaking.device import render_all, seconds_needed
from synctalk.speaking.expression import Expression
from synctalk.speaking.painter import Painter

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def painter(tiny_avatar) -> Painter:
    return Painter(tiny_avatar)


@pytest.fixture(scope="module")
def voice(tmp_path_factory) -> Path:
    """Two seconds of a voice-like sound, 44.1 kHz stereo."""
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    time_s = np.arange(2 * 44100 + 321) / 44100
    wave_form = 0.4 * np.sin(2 * np.pi * 150 * time_s) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * time_s))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes((np.stack([wave_form, 0.5 * wave_form], 1) * 32767).astype("<i2").tobytes())
    return path


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_recording_becomes_a_video_of_its_own_length_rate_and_channels(painter, voice, tmp_path):
    video = speak(audio=voice, output=tmp_path / "out.mp4", avatar=painter)
    assert video.frames == 51 and video.fps == 25 and (video.width, video.height) == (256, 256)
    with av.open(str(video.path)) as container:
        sound, picture = container.streams.audio[0], container.streams.video[0]
        assert (sound.rate, sound.channels, sound.codec_context.name) == (44100, 2, "aac")
        assert picture.codec_context.name == "h264" and picture.average_rate == 25
        seconds = sum(frame.samples for frame in container.decode(audio=0)) / 44100
    assert abs(seconds - video.frames / 25) < 0.08 and len(decoded(video.path)) == video.frames


def test_every_video_carries_credentials_and_a_plain_note(painter, voice, tmp_path):
    video = speak(audio=voice, output=tmp_path / "out.mp4", avatar=painter)
    report = verify(video.path)
    assert report.intact and report.generated and report.avatar == "tiny"
    with av.open(str(video.path)) as container:
        assert "AI generated" in container.metadata["comment"]


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(painter, voice):
    def frames(seed: int) -> np.ndarray:
        return np.stack([m.picture for m in stream(audio=voice, avatar=painter, seed=seed)])

    first = frames(1)
    assert np.array_equal(first, frames(1))
    assert not np.array_equal(first, frames(2))


def test_what_is_not_face_is_the_source_footage_bit_for_bit(painter, voice, tiny_avatar):
    moment = next(iter(stream(audio=voice, avatar=painter)))
    away = np.abs(
        np.stack([tiny_avatar.source.frame(i) for i in range(75)]).astype(int) - moment.picture
    )  # [75,H,W,3]
    corners = away[:, -40:, :40].reshape(75, -1).max(axis=1)
    assert corners.min() == 0
    face = away[int(corners.argmin()), 80:170, 90:160]
    assert face.max() > 30


def test_frames_leave_before_the_recording_is_over(painter):
    long = (np.tile(0.3 * np.sin(np.arange(16000) * 0.05), 600).astype(np.float32), 16000)
    began = time.perf_counter()
    moments = stream(audio=long, avatar=painter)
    first = list(itertools.islice(moments, 3))
    moments.close()
    assert [m.index for m in first] == [0, 1, 2]
    assert time.perf_counter() - began < 20  # ten minutes of frames take far longer
    assert not [t for t in threading.enumerate() if t.name == "synctalk-stage"]


def test_the_moments_carry_the_soundtrack_sample_for_sample(painter):
    track = np.random.default_rng(0).uniform(-0.5, 0.5, (22050 + 17, 2)).astype(np.float32)
    moments = list(stream(audio=(track, 22050), avatar=painter))
    assert np.array_equal(np.concatenate([m.track for m in moments]), track)
    assert [m.last for m in moments] == [False] * (len(moments) - 1) + [True]


def test_stopping_leaves_no_file_and_no_thread(painter, voice, tmp_path):
    cancel = threading.Event()
    with pytest.raises(Stopped):
        speak(
            audio=voice,
            output=tmp_path / "out.mp4",
            avatar=painter,
            cancel=cancel,
            progress=lambda state: state.done == 5 and cancel.set(),
        )
    assert list(tmp_path.iterdir()) == []
    assert not [t for t in threading.enumerate() if t.name == "synctalk-stage"]


def test_progress_counts_to_the_end_and_knows_the_total_of_a_recording(painter, voice, tmp_path):
    seen = []
    speak(audio=voice, output=tmp_path / "out.mp4", avatar=painter, progress=seen.append)
    assert [s.done for s in seen] == list(range(1, 52)) and {s.total for s in seen} == {51}
    assert seen[-1].seconds_left == 0


def test_brow_sliders_move_brows_and_leave_the_lips_alone(painter):
    rest = preview(painter, Expression(), frame=10).astype(int)
    brows = preview(painter, Expression(brow_inner_up=1, brow_outer_up_left=1), frame=10).astype(int)
    moved = np.abs(brows - rest).max(axis=2)
    middle = round(painter.frame_size[1] * 0.43)  # the nose tip of this frame
    assert moved[:middle].max() > 8
    assert moved[middle + 25 :].max() == 0


def test_the_smile_moves_the_mouth_and_leaves_the_brows_alone(painter):
    rest = preview(painter, Expression(), frame=10).astype(int)
    moved = np.abs(preview(painter, Expression(smile=1), frame=10).astype(int) - rest).max(axis=2)
    assert moved[110:].max() > 8 and moved[:70].max() == 0


@pytest.mark.parametrize("suffix", [".mov", ".webm"])
def test_a_clear_background_becomes_a_video_with_alpha(painter, voice, tmp_path, suffix):
    look = Look(background="transparent")
    video = speak(audio=voice, output=tmp_path / f"out{suffix}", avatar=painter, look=look)
    with av.open(str(video.path)) as container:
        stream_ = container.streams.video[0]
        if suffix == ".mov":
            assert "yuva" in stream_.codec_context.pix_fmt
            frame = next(container.decode(video=0)).to_ndarray(format="rgba")
            assert frame[5, 5, 3] < 10 and frame[120, 128, 3] > 240
        else:
            assert stream_.metadata.get("alpha_mode") == "1"
    assert video.frames == 51


def test_mp4_cannot_be_transparent_and_says_what_can(painter, voice, tmp_path):
    with pytest.raises(VideoError, match=r"\.mov"):
        speak(audio=voice, output=tmp_path / "a.mp4", avatar=painter, look=Look(background="transparent"))
    assert list(tmp_path.iterdir()) == []


def test_another_shape_and_background_reach_the_file(painter, voice, tmp_path):
    look = Look(aspect="16:9", background="#204060", mark=True)
    video = speak(audio=voice, output=tmp_path / "out.mp4", avatar=painter, look=look)
    assert (video.width, video.height) == (456, 256)
    corner = decoded(video.path)[20][10, 228 - 100]
    assert np.abs(corner.astype(int) - [0x20, 0x40, 0x60]).max() < 12


def test_inputs_that_cannot_be_are_told_before_anything_is_made(painter, tmp_path):
    out = tmp_path / "out.mp4"
    with pytest.raises(SpeechError):
        speak(output=out, avatar=painter)
    with pytest.raises(AudioError, match="silent"):
        speak(audio=(np.zeros(16000, np.float32), 16000), output=out, avatar=painter)
    with pytest.raises(AudioError, match=r"NaN|finite"):
        speak(audio=(np.full(16000, np.nan, np.float32), 16000), output=out, avatar=painter)
    with pytest.raises(AvatarError, match="nobody"):
        speak(audio=(np.ones(16000, np.float32) * 0.1, 16000), output=out, avatar="nobody")
    assert not out.exists()


@pytest.mark.parametrize("text", ["", "   ", "🙂🙂", "\x00\x07"])
def test_text_that_cannot_be_spoken_is_refused(painter, tmp_path, text):
    with pytest.raises(SpeechError):
        speak(text, output=tmp_path / "out.mp4", avatar=painter)
    assert list(tmp_path.iterdir()) == []


def test_text_is_spoken_with_captions_offline(painter, tmp_path):
    video = synctalk.speak(
        "Good morning. It is ten past nine.",
        output=tmp_path / "out.mp4",
        avatar=painter,
        engine="kokoro",
        expression=Expression(emotion="happy", blinks_per_minute=20),
        look=Look(captions=True),
    )
    assert 1.5 < video.duration_s < 6 and video.frames == len(decoded(video.path))
    assert "Good" in video.srt() and "-->" in video.srt()
    assert video.words[-1].end_s <= video.duration_s


def test_a_text_is_read_by_the_avatars_own_voice_unless_another_is_asked_for(
    tiny_folder, tmp_path, monkeypatch
):
    folder = shutil.copytree(tiny_folder, tmp_path / "her")
    description = json.loads((folder / "avatar.json").read_text())
    (folder / "avatar.json").write_text(json.dumps({**description, "voice": "bf_emma"}))
    asked: list[str | None] = []

    def stop(text: str, voice: str | None, engine: str) -> Any:
        asked.append(voice)
        raise SpeechError("far enough")

    monkeypatch.setattr(sys.modules["synctalk.speak"], "from_text", stop)
    for given in (None, "am_michael"):
        with pytest.raises(SpeechError, match="far enough"):
            speak("Hello.", output=tmp_path / "x.mp4", avatar=folder, voice=given)
    assert asked == ["bf_emma", "am_michael"]


def test_the_public_names_are_there_and_cost_nothing_until_used():
    assert callable(synctalk.speak) and synctalk.Expression is Expression
    for name in synctalk.__all__:
        assert getattr(synctalk, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = synctalk.nothing


def test_the_command_makes_a_video_and_says_so_as_json(tiny_folder, voice, tmp_path, capsys):
    out = tmp_path / "out.mp4"
    options = ["--avatar", str(tiny_folder), "--smile", "0.5", "--head-motion", "calm", "--json"]
    assert main(["speak", "--audio", str(voice), "-o", str(out), *options]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["frames"] == 51 and said["output"] == str(out) and out.is_file()
    assert {"voice", "lips", "render", "encode"} <= set(said["split_ms"])


def test_the_command_tells_mistakes_plainly(tiny_folder, voice, tmp_path, capsys):
    out = ["-o", str(tmp_path / "out.mp4"), "--avatar", str(tiny_folder)]
    assert main(["speak", "--audio", "gone.wav", *out]) == 1
    assert "gone.wav" in capsys.readouterr().err
    assert main(["speak", *out]) == 1
    assert "Give either a text or a recording" in capsys.readouterr().err
    assert main(["speak", "--audio", str(voice), "--smile", "3", *out]) == 1
    assert "smile must lie between 0 and 1" in capsys.readouterr().err
    assert main(["speak", "--text-file", "gone.txt", *out]) == 1
    assert "gone.txt" in capsys.readouterr().err
    assert main(["speak", "--audio", str(voice), "--srt", str(tmp_path / "a.srt"), *out]) == 1
    assert "words of a recording" in capsys.readouterr().err


def test_the_voices_are_listed(capsys):
    assert main(["speak", "--list-voices", "--json"]) == 0
    offline = [v for v in json.loads(capsys.readouterr().out) if v["engine"] == "kokoro"]
    assert len(offline) >= 5


def test_frames_rendered_elsewhere_in_one_call_look_the_same(tiny_avatar, painter, voice):
    calls = []

    def elsewhere(*args):
        calls.append(args)
        return render_all(*args)

    other = Painter(tiny_avatar)
    other.elsewhere = elsewhere
    here = np.stack([m.picture for m in stream(audio=voice, avatar=painter)]).astype(int)
    there = np.stack([m.picture for m in stream(audio=voice, avatar=other)]).astype(int)
    assert len(calls) == 1 and seconds_needed(*calls[0]) == 11
    # Pictures travel as bytes there, so that edges may round differently; what is shown must not.
    assert np.percentile(np.abs(here - there), 99.9) <= 6 and np.abs(here - there).mean() < 0.2
    assert np.abs(here - there).max() <= 24
