"""Reading and writing video."""

import struct
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from synctalk.errors import VideoError
from synctalk.video import VideoReader, VideoWriter, probe, read_frames

CLIP = Path(__file__).parents[1] / "data" / "ben_3s.mp4"


def counting_frame(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A grey frame whose brightness says its number, with one bright corner (top left)."""
    frame = np.full((height, width, 3), 40 + 3 * index, np.uint8)
    frame[: height // 4, : width // 4] = 250
    return frame


def number_of(frame: np.ndarray) -> int:
    return round((float(frame[frame.shape[0] // 2, frame.shape[1] // 2].mean()) - 40) / 3)


def write_counting(path: Path, frames: int = 50, fps: float = 25, **options: object) -> Path:
    with VideoWriter(path, 64, 48, fps, crf=1, **options) as writer:  # type: ignore[arg-type]
        for index in range(frames):
            writer.write(counting_frame(index))
    return path


def ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-y", "-loglevel", "error", *map(str, arguments)], check=True)


def test_every_written_frame_comes_back_in_order(tmp_path):
    path = write_counting(tmp_path / "a.mp4")
    assert [number_of(f) for f in read_frames(path)] == list(range(50))


def test_a_range_is_the_same_as_cutting_the_whole(tmp_path):
    path = write_counting(tmp_path / "a.mp4", frames=70, keyframe_every=25)
    assert [number_of(f) for f in read_frames(path, start=40, stop=53)] == list(range(40, 53))


@pytest.mark.parametrize("source_fps", [15, 30, 50, 60])
def test_other_rates_become_25_frames_per_second_nearest_in_time(tmp_path, source_fps):
    path = write_counting(tmp_path / "a.mp4", frames=round(source_fps), fps=source_fps)
    numbers = [number_of(f) for f in read_frames(path)]
    assert abs(len(numbers) - 25) <= 1
    errors = [abs(n / source_fps - i / 25) for i, n in enumerate(numbers)]
    assert max(errors) <= 0.5 / source_fps + 1e-6


def test_variable_frame_rate_is_resampled_by_time_stamps(tmp_path):
    path = write_counting(tmp_path / "a.mp4", frames=50)
    variable = tmp_path / "variable.mp4"
    ffmpeg("-i", path, "-vf", "select='not(mod(n,2))+lt(n,20)'", "-fps_mode", "vfr", "-crf", 4, variable)
    numbers = [number_of(f) for f in read_frames(variable)]
    assert numbers[:20] == list(range(20))
    assert abs(len(numbers) - 50) <= 1
    assert all(abs(n - i) <= 1 for i, n in enumerate(numbers))


def turn_clockwise(path: Path) -> None:
    """Write a quarter turn clockwise into the display matrix of an MP4's only track, as phones do."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    quarter_turn = (0, 65536, 0, -65536, 0, 0, 48 * 65536, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", *quarter_turn)
    path.write_bytes(data)


def test_rotation_is_honoured(tmp_path):
    path = write_counting(tmp_path / "a.mp4")
    turn_clockwise(path)
    info = probe(path)
    assert (info.width, info.height, info.rotation) == (48, 64, 270)
    frame = next(read_frames(path))
    assert frame.shape == (64, 48, 3)
    # The bright top-left corner of the stored picture is shown at the top right.
    assert frame[4, -4].mean() > 200 > frame[4, 4].mean()


@pytest.mark.parametrize(
    ("suffix", "codec"), [("webm", "libvpx-vp9"), ("mov", "libx264"), ("mp4", "libx265")]
)
def test_usual_containers_and_codecs_are_read(tmp_path, suffix, codec):
    path = write_counting(tmp_path / "a.mp4", frames=10)
    other = tmp_path / f"b.{suffix}"
    ffmpeg("-i", path, "-c:v", codec, "-crf", 10, other)
    assert len(list(read_frames(other))) == 10


def test_colours_survive_writing_and_reading(tmp_path):
    colour = np.zeros((32, 32, 3), np.uint8)
    colour[:] = (200, 40, 90)
    with VideoWriter(tmp_path / "c.mp4", 32, 32, crf=1) as writer:
        writer.write(colour)
    assert np.abs(next(read_frames(tmp_path / "c.mp4")).astype(int) - colour).max() <= 3


def test_sound_and_picture_have_the_same_length_and_the_sound_keeps_its_rate(tmp_path):
    rate = 44100
    time = np.arange(2 * rate) / rate
    stereo = np.stack([np.sin(2 * np.pi * 440 * time), 0 * time], 1).astype(np.float32)
    write_counting(tmp_path / "a.mp4", audio=(0.5 * stereo, rate))
    with av.open(str(tmp_path / "a.mp4")) as container:
        sound, picture = container.streams.audio[0], container.streams.video[0]
        assert (sound.rate, sound.channels, picture.frames) == (44100, 2, 50)
        assert abs(float(sound.duration * sound.time_base) - 2.0) < 1e-3
        assert float(picture.duration * picture.time_base) == pytest.approx(2.0)


def test_a_click_in_the_sound_stays_at_its_sample(tmp_path):
    rate = 16000
    samples = np.zeros(2 * rate, np.float32)
    samples[rate : rate + 8] = 0.9
    write_counting(tmp_path / "a.mp4", audio=(samples, rate))
    with av.open(str(tmp_path / "a.mp4")) as container:
        decoded = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
        first = container.streams.audio[0].start_time or 0
    # Decoders hand out the encoder's 1024 priming samples before time 0 where they do not trim them.
    lead = max(len(decoded) - 2 * rate, 0) if first < 0 else 0
    assert abs(int(np.abs(decoded).argmax()) - lead - rate) <= 1024
    assert np.abs(decoded).max() > 0.2


def test_sound_given_in_pieces_equals_sound_given_whole(tmp_path):
    samples = np.sin(np.arange(32000) / 20).astype(np.float32) * 0.5
    with VideoWriter(tmp_path / "a.mp4", 64, 48, audio=(None, 16000)) as writer:
        for index in range(50):
            writer.write(counting_frame(index))
            writer.write_audio(samples[index * 640 : (index + 1) * 640])
    with av.open(str(tmp_path / "a.mp4")) as container:
        sound = container.streams.audio[0]
        assert abs(float(sound.duration * sound.time_base) - 2.0) < 1e-3


def test_planes_handed_over_directly_give_the_same_picture(tmp_path):
    frame = counting_frame(30)
    planes = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
        format="yuv420p", dst_colorspace="ITU709"
    )
    stacked = planes.to_ndarray()
    y, u, v = stacked[:48], stacked[48:60].reshape(24, 32), stacked[60:72].reshape(24, 32)
    with VideoWriter(tmp_path / "a.mp4", 64, 48, crf=4) as writer:
        writer.write_yuv(y, u, v)
    with VideoWriter(tmp_path / "b.mp4", 64, 48, crf=4) as writer:
        writer.write(frame)
    first, second = next(read_frames(tmp_path / "a.mp4")), next(read_frames(tmp_path / "b.mp4"))
    assert np.abs(first.astype(int) - second).max() <= 1


def test_random_access_plays_backwards(tmp_path):
    path = write_counting(tmp_path / "a.mp4", frames=60, keyframe_every=25)
    reader = VideoReader(path)
    assert len(reader) == 60
    assert [number_of(reader.frame(i)) for i in reversed(range(60))] == list(reversed(range(60)))
    grey = VideoReader(path, pixel_format="gray").frame(10)
    assert grey.shape == (48, 64)
    with pytest.raises(IndexError, match="0 to 59"):
        reader.frame(60)


def test_a_failed_encode_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mp4", 64, 48) as writer:
        writer.write(counting_frame(0))
        raise RuntimeError("the renderer failed")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_file_survives_a_failed_encode(tmp_path):
    path = write_counting(tmp_path / "a.mp4", frames=5)
    before = path.read_bytes()
    with pytest.raises(VideoError, match="uint8"), VideoWriter(path, 64, 48) as writer:
        writer.write(np.zeros((10, 10, 3), np.uint8))
    assert path.read_bytes() == before


def test_a_full_disk_is_said_plainly(tmp_path):
    with pytest.raises(VideoError, match="written"), VideoWriter("/dev/full/a.mp4", 64, 48) as writer:
        writer.write(counting_frame(0))


def test_a_video_without_frames_and_odd_sizes_are_refused(tmp_path):
    with pytest.raises(VideoError, match="no frame"), VideoWriter(tmp_path / "a.mp4", 64, 48):
        pass
    with pytest.raises(VideoError, match="even"):
        VideoWriter(tmp_path / "a.mp4", 63, 48)


def bad_files(folder: Path) -> dict[str, Path]:
    """One file of each kind of trouble, by the words its error must hold."""
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", folder / "sound.m4a")
    return {
        "no file": folder / "missing.mp4",
        "0 bytes": folder / "empty.mp4",
        "not a video": folder / "noise.mp4",
        "no picture": folder / "sound.m4a",
        "folder": folder,
    }


@pytest.mark.parametrize("words", ["no file", "0 bytes", "not a video", "no picture", "folder"])
def test_unusable_files_are_named_with_the_reason(tmp_path, words):
    path = bad_files(tmp_path)[words]
    with pytest.raises(VideoError, match=words):
        probe(path)
    with pytest.raises(VideoError, match=words):
        next(read_frames(path))


def test_a_truncated_file_gives_what_can_be_shown(tmp_path):
    whole = tmp_path / "whole.mkv"
    ffmpeg("-i", CLIP, "-c", "copy", whole)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 10 < len(list(read_frames(cut))) < 75
