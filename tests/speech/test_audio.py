"""Reading sound: every format, every error."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest
from sound_files import burst, onset_s, write_sound, write_video

from synctalk.errors import AudioError
from synctalk.speech import audio

CLIP = Path(__file__).parents[1] / "data" / "ben_3s.mp4"


def _wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "sample_format", "rate", "channels"),
    [
        ("a.wav", "pcm_s16le", "s16", 8000, 1),
        ("a.wav", "pcm_u8", "u8", 16000, 1),
        ("a.wav", "pcm_s32le", "s32", 44100, 2),
        ("a.wav", "pcm_f32le", "flt", 48000, 8),
        ("a.wav", "pcm_s16le", "s16", 96000, 1),
        ("a.mp3", "libmp3lame", "fltp", 44100, 2),
        ("a.mp3", "libmp3lame", "fltp", 16000, 1),
        ("a.m4a", "aac", "fltp", 48000, 2),
        ("a.ogg", "vorbis", "fltp", 44100, 1),
        ("a.opus", "libopus", "flt", 48000, 1),
        ("a.flac", "flac", "s16", 96000, 2),
        ("a.webm", "libopus", "flt", 48000, 2),
    ],
)
def test_every_format_keeps_its_pitch_its_length_and_the_moment_it_starts(
    tmp_path, name, codec, sample_format, rate, channels
):
    path = write_sound(tmp_path / name, burst(rate, channels), rate, codec, sample_format)
    samples = audio.load_audio(path)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(16000, abs=1300)  # lossy codecs may add a block at the end
    assert onset_s(samples, 16000) == pytest.approx(0.4, abs=0.006)
    tone = samples[8000:14000] * np.hanning(6000)
    assert np.argmax(np.abs(np.fft.rfft(tone))) * 16000 / 6000 == pytest.approx(440.0, abs=3.0)
    assert np.abs(samples[8000:14000]).max() == pytest.approx(0.5, abs=0.06)


def test_the_sound_of_a_video_is_read_and_lasts_as_long_as_its_pictures():
    samples = audio.load_audio(CLIP)
    assert audio.frame_count(samples) == pytest.approx(75, abs=2)
    assert 0.01 < np.abs(samples).max() <= 1.0


def test_sound_that_starts_later_than_the_picture_is_preceded_by_silence(tmp_path):
    whole = audio.load_audio(write_video(tmp_path / "a.mp4", burst(48000), 48000))
    late = audio.load_audio(write_video(tmp_path / "b.mkv", burst(48000), 48000, sound_starts_s=0.3))
    assert onset_s(late, 16000) - onset_s(whole, 16000) == pytest.approx(0.3, abs=0.03)


def test_streamed_pieces_join_to_the_same_sound(tmp_path):
    path = write_sound(tmp_path / "a.flac", burst(44100, 2), 44100, "flac", "s16")
    pieces = list(audio.stream_audio(path))
    assert len(pieces) > 3
    np.testing.assert_array_equal(np.concatenate(pieces), audio.load_audio(path))


def test_the_sound_track_keeps_the_users_own_samples_and_rate(tmp_path):
    given = burst(44100, 2)
    path = write_sound(tmp_path / "a.wav", given, 44100, "pcm_f32le", "flt")
    samples, rate = audio.load_soundtrack(path)
    assert rate == 44100
    np.testing.assert_array_equal(samples, given)


def test_a_file_object_is_read_like_a_file(tmp_path):
    path = _wav(tmp_path / "a.wav", burst(16000)[:, 0], 16000)
    np.testing.assert_array_equal(audio.load_audio(io.BytesIO(path.read_bytes())), audio.load_audio(path))


def test_resampling_is_exact_for_a_tone_inside_the_band():
    t48, t16 = np.arange(48000) / 48000, np.arange(16000) / 16000
    out = audio.resample(0.5 * np.sin(2 * np.pi * 1000 * t48).astype(np.float32), 48000, 16000)
    assert len(out) == 16000
    np.testing.assert_allclose(out[800:-800], 0.5 * np.sin(2 * np.pi * 1000 * t16)[800:-800], atol=2e-3)


def test_samples_in_memory_become_mono_float_at_16_khz():
    stereo = (burst(48000, 2) * 32767).astype(np.int16)
    out = audio.from_samples(stereo, 48000)
    assert out.dtype == np.float32
    assert len(out) == 16000
    assert np.abs(out).max() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros((2, 2, 2)), 16000, "shape"),
        (np.zeros(0), 16000, "no samples"),
        (np.zeros(16000), 16000, "silent"),
        (np.full(16000, np.nan), 16000, "NaN"),
        (np.ones(16000) * 20000.0, 16000, "between -1 and 1"),
        (np.ones(16000), 3, "rate"),
        (np.ones(16000, dtype=bool), 16000, "not sound"),
    ],
)
def test_samples_that_are_no_sound_are_refused_with_the_reason(samples, rate, message):
    with pytest.raises(AudioError, match=message):
        audio.from_samples(samples, rate)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"no file .*gone\.wav"):
        audio.load_audio(tmp_path / "gone.wav")


@pytest.mark.parametrize("content", [b"", b"RIFF\x00\x00\x00\x00WAVEjunk", b"not sound at all" * 100])
def test_a_corrupt_header_is_told_plainly(tmp_path, content):
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"broken\.wav"):
        audio.load_audio(path)


def test_a_file_without_samples_is_refused(tmp_path):
    with pytest.raises(AudioError, match="no samples"):
        audio.load_audio(_wav(tmp_path / "empty.wav", np.zeros(0), 16000))


def test_silence_from_end_to_end_is_refused(tmp_path):
    with pytest.raises(AudioError, match="silent from end to end"):
        audio.load_audio(_wav(tmp_path / "quiet.wav", np.zeros(16000), 16000))


def test_nan_samples_in_a_file_are_refused(tmp_path):
    samples = burst(16000)
    samples[5000] = np.nan
    path = write_sound(tmp_path / "nan.wav", samples, 16000, "pcm_f32le", "flt")
    with pytest.raises(AudioError, match="NaN"):
        audio.load_audio(path)


def test_sound_longer_than_the_limit_is_refused_before_it_is_decoded(tmp_path):
    path = _wav(tmp_path / "long.wav", burst(8000, seconds=70.0)[:, 0], 8000)
    with pytest.raises(AudioError, match=r"lasts 1:10 or more; the limit is 0:30"):
        audio.load_audio(path, max_seconds=30.0)
    # A stream that does not state its length is caught while it is read.
    with pytest.raises(AudioError, match=r"the limit is 0:30"):
        list(
            audio.stream_audio(
                write_sound(tmp_path / "a.ts", burst(48000, seconds=32.0), 48000, "aac", "fltp"),
                max_seconds=30.0,
            )
        )


def test_a_truncated_file_gives_what_is_whole(tmp_path):
    path = write_sound(tmp_path / "a.mp3", burst(44100, seconds=4.0), 44100, "libmp3lame", "fltp")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 1.5 < len(audio.load_audio(path)) / 16000 < 2.6


def test_a_video_without_sound_says_so(tmp_path):
    import av

    path = tmp_path / "mute.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no sound in it"):
        audio.load_audio(path)


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (1, 1), (640, 1), (641, 2), (16000, 25), (16001, 26)]
)
def test_frames_cover_the_whole_sound(samples, frames):
    assert audio.frame_count(samples) == frames
    assert audio.frame_count(np.zeros(samples)) == frames


def test_loudness_of_the_standards_reference_tone_is_right():
    # BS.1770: a 997 Hz sine at full scale in one channel reads -3.01 LUFS.
    tone = np.sin(2 * np.pi * 997 * np.arange(48000 * 3) / 48000)
    assert audio.loudness(tone, 48000) == pytest.approx(-3.01, abs=0.02)


def test_loudness_is_brought_to_the_target_without_clipping(tmp_path):
    path = _wav(tmp_path / "a.wav", burst(16000)[:, 0] * 0.1, 16000)
    samples = audio.load_audio(path, loudness_lufs=-23.0)
    assert audio.loudness(samples) == pytest.approx(-23.0, abs=0.1)
    assert np.abs(audio.load_audio(path, loudness_lufs=10.0)).max() == pytest.approx(0.99, abs=0.001)
