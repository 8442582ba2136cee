from pathlib import Path

import av
import numpy as np
import pytest

from synctalk.errors import VideoError
from synctalk.video import Planes, VideoReader, VideoWriter

CLIP = Path(__file__).parents[1] / "data" / "ben_3s.mp4"


def smooth(height: int = 32, width: int = 48) -> Planes:
    """Planes without edges, so that ways of scaling colour up agree."""
    y, x = np.mgrid[:height, :width]
    return Planes.from_planes(
        (40 + 3 * x + y).astype(np.uint8),
        (100 + x[::2, ::2] // 2).astype(np.uint8),
        (140 - y[::2, ::2] // 2).astype(np.uint8),
    )


def test_planes_lie_one_after_the_other_and_a_copy_is_independent():
    planes = smooth()
    assert planes.data.shape == (32 * 48 * 3 // 2,)
    other = planes.copy()
    other.y[:] = 0
    other.v[:] = 0
    assert planes.y.min() == 40
    assert planes.v.max() == 140
    assert (other.u == planes.u).all()


def test_planes_written_and_read_are_the_decoder_s_own_bytes(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 48, 32, crf=1, keyframe_every=5) as video:
        for _ in range(10):
            video.write_planes(smooth())
    reader = VideoReader(tmp_path / "a.mp4", "yuv420p")
    with av.open(str(tmp_path / "a.mp4")) as container:
        for index, frame in enumerate(container.decode(video=0)):
            i420 = frame.to_ndarray(format="yuv420p")
            assert (reader.planes(index).data == i420.reshape(-1)).all()
            assert (reader.frame(index) == frame.to_ndarray(format="rgb24")).all()
    assert np.abs(reader.planes(7).y.astype(int) - smooth().y).max() <= 2


def test_a_part_as_rgb_agrees_with_the_whole_to_the_codec_s_rounding():
    planes = smooth()
    part = planes.rgb_of((3, 5, 40, 30))
    assert part.shape == (25, 37, 3)
    assert np.abs(255 * part - planes.rgb()[5:30, 3:40]).max() < 4


def test_full_range_and_bt601_sources_are_converted():
    rgb = np.full((16, 16, 3), (200, 120, 40), np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format="yuvj420p", dst_colorspace="ITU601", dst_color_range="JPEG"
    )
    assert np.abs(Planes.from_frame(frame).rgb().astype(int) - rgb).max() <= 4


def test_grey_frames_have_the_full_range():
    grey = VideoReader(CLIP, "gray").frame(3)
    expected = VideoReader(CLIP, "yuv420p").planes(3).y
    assert grey.shape == expected.shape
    assert grey[expected <= 16].max(initial=0) == 0
    assert np.abs(grey - np.clip((expected - 16.0) * 255 / 219, 0, 255)).max() <= 0.5


def test_planes_of_another_size_are_refused(tmp_path):
    with pytest.raises(VideoError, match="48x32"), VideoWriter(tmp_path / "a.mp4", 64, 64) as video:
        video.write_planes(smooth())
