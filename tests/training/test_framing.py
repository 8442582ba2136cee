from pathlib import Path

import numpy as np
import pytest

from synctalk.errors import TrainingError
from synctalk.training.framing import choose_crop, cut_out, head_angles, lip_gap, scan_face
from synctalk.video import VideoInfo, VideoWriter

CLIP = Path(__file__).parents[1] / "data" / "ben_3s.mp4"


def info(width: int, height: int) -> VideoInfo:
    return VideoInfo(width, height, 25.0, 100, 4.0, True, 0, "h264")


def face_at(x: float, y: float, height: float = 200) -> np.ndarray:
    generator = np.random.default_rng(0)
    points = generator.uniform(-0.4, 0.4, (10, 478, 3)) * height + [x, y, 0]
    points[:, 10, :2], points[:, 152, :2] = [x, y - height / 2], [x, y + height / 2]
    return points


def test_a_square_video_is_used_whole() -> None:
    assert choose_crop(face_at(300, 200), info(512, 512)) == (0, 0, 512, 512)


def test_the_crop_is_a_square_around_the_face_inside_the_frame() -> None:
    x0, y0, x1, y1 = choose_crop(face_at(1400, 400), info(1920, 1080))
    assert x1 - x0 == y1 - y0 and 0 <= x0 < x1 <= 1920 and 0 <= y0 < y1 <= 1080
    assert abs((x0 + x1) / 2 - 1400) < 20 and x1 - x0 >= 2.3 * 200


def test_a_face_at_the_edge_moves_the_crop_not_out_of_the_frame() -> None:
    x0, y0, x1, y1 = choose_crop(face_at(1900, 50), info(1920, 1080))
    assert x1 == 1920 and y0 == 0 and x0 >= 0 and y1 <= 1080


def test_cutting_out_scales_to_the_size_and_keeps_pixels_where_it_fits() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    assert np.array_equal(cut_out(frame, (10, 5, 42, 37), 32), frame[5:37, 10:42])
    assert cut_out(frame, (0, 0, 60, 60), 32).shape == (32, 32, 3)


def test_the_scan_sees_the_lips_move_on_the_clip() -> None:
    scan = scan_face(CLIP, 5)
    assert scan.frames == 75 and len(scan.landmarks478) == 15 and not scan.missing.any()
    gap = lip_gap(scan.landmarks478)
    assert gap.min() >= 0 and np.ptp(gap) > 0.05
    assert head_angles(scan.landmarks478).shape == (15, 2)


def test_a_video_without_a_face_is_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "grey.mp4", 128, 128) as video:
        for _ in range(5):
            video.write(np.full((128, 128, 3), 90, np.uint8))
    with pytest.raises(TrainingError, match="face is visible in only 0 %"):
        scan_face(tmp_path / "grey.mp4", 1)
