import numpy as np
import pytest

from synctalk.errors import TrainingError
from synctalk.training.framing import choose_crop, cut_out, head_angles, lip_gap
from synctalk.training.preflight_measures import FaceLook, PictureMeasures
from synctalk.training.scan import scan_of
from synctalk.video import VideoInfo


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


def looks(shown: list[bool]) -> PictureMeasures:
    """Close looks with a face that moves 1 px to the right per look, where it is shown."""
    points = [face_at(100 + i, 100)[0] if seen else np.full((478, 3), np.nan) for i, seen in enumerate(shown)]
    faces = [FaceLook(p.astype(np.float32), 1, 100.0, 1.0, 0.5, 0.0) for p in points]
    return PictureMeasures(5 * len(shown), faces, [], np.zeros(len(shown)), [])


def test_looks_without_a_face_are_bridged() -> None:
    scan = scan_of(looks([True, False, False, True]))
    assert scan.frames == 20 and scan.missing.tolist() == [False, True, True, False]
    assert np.allclose(np.diff(scan.landmarks478[:, 10, 0]), 1, atol=1e-3)


def test_footage_with_hardly_a_face_is_refused() -> None:
    with pytest.raises(TrainingError, match="face is visible in only 25 %"):
        scan_of(looks([True, False, False, False]))


def test_openings_and_angles_have_one_row_per_look() -> None:
    points = scan_of(looks([True] * 4)).landmarks478
    assert lip_gap(points).shape == (4,) and (lip_gap(points) >= 0).all()
    assert head_angles(points).shape == (4, 2)
