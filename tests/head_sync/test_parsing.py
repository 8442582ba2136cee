from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from synctalk.errors import VideoError
from synctalk.head_sync.parsing import (
    _OVAL,
    LABELS,
    Parser,
    ParserSettings,
    face_region,
    intersection_over_union,
    keep_one_person,
)
from synctalk.video import read_frames

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return list(read_frames(DATA / "ben_3s.mp4", stop=24))


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    with np.load(DATA / "ben_3s_truth.npz") as file:
        return {name: file[name] for name in ("labels", "label_frames", "label_names")}


@pytest.fixture(scope="module")
def mattes(frames: list[np.ndarray]) -> list[np.ndarray]:
    parser = Parser(threads=1)
    return [parser.mattes(frame) for frame in frames]


def test_labels_are_the_five_of_the_truth_in_its_order(truth: dict[str, np.ndarray]) -> None:
    assert tuple(truth["label_names"]) == LABELS


def test_mattes_are_shares_of_each_pixel(mattes: list[np.ndarray]) -> None:
    for matte in mattes:
        assert matte.shape == (5, 512, 512) and matte.dtype == np.float32
        assert matte.min() >= 0 and matte.max() <= 1
        np.testing.assert_allclose(matte.sum(0), 1, atol=1e-5)


def test_every_label_overlaps_the_truth_in_key_frames_and_between(
    mattes: list[np.ndarray], truth: dict[str, np.ndarray]
) -> None:
    for index, labels in zip(truth["label_frames"], truth["labels"], strict=True):
        if index >= len(mattes):
            continue
        overlap = dict(zip(LABELS, intersection_over_union(mattes[index].argmax(0), labels), strict=True))
        assert overlap["background"] > 0.99 and overlap["clothes"] > 0.99
        assert overlap["face"] > 0.93 and overlap["hair"] > 0.88 and overlap["neck"] > 0.75


def test_mattes_move_no_more_than_the_picture_does(mattes: list[np.ndarray]) -> None:
    steps = [np.abs(after - before).mean() for before, after in pairwise(mattes)]
    assert max(steps) < 0.005


def test_a_cut_is_parsed_anew(frames: list[np.ndarray]) -> None:
    moved = np.roll(frames[0][:, ::-1], 100, axis=1)
    parser, fresh = Parser(threads=1), Parser(threads=1)
    parser.mattes(frames[0])
    np.testing.assert_array_equal(parser.mattes(moved), fresh.mattes(moved))


@pytest.mark.parametrize("shape", [(90, 160), (160, 90), (33, 47), (1, 1)])
def test_any_frame_size_is_parsed_also_when_it_changes_on_the_way(
    frames: list[np.ndarray], shape: tuple[int, int]
) -> None:
    parser = Parser(threads=1)
    parser.mattes(frames[0])
    matte = parser.mattes(cv2.resize(frames[1], shape[::-1], interpolation=cv2.INTER_AREA))
    assert matte.shape == (5, *shape)
    np.testing.assert_allclose(matte.sum(0), 1, atol=1e-5)


def test_a_black_frame_is_background(frames: list[np.ndarray]) -> None:
    parser = Parser(threads=1)
    parser.mattes(frames[0])
    assert parser.mattes(np.zeros((512, 512, 3), np.uint8))[0].mean() > 0.9


@pytest.mark.parametrize(
    "frame", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)]
)
def test_what_is_not_a_picture_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(VideoError, match="uint8 RGB"):
        Parser(threads=1).mattes(frame)


def test_without_steadiness_a_key_frame_is_the_networks_own_answer(frames: list[np.ndarray]) -> None:
    each = Parser(threads=1, settings=ParserSettings(every=1, steadiness=0))
    each.mattes(frames[0])
    alone = Parser(threads=1)
    np.testing.assert_allclose(each.mattes(frames[5]), alone.mattes(frames[5]), atol=1e-6)


def test_a_stray_blob_becomes_background() -> None:
    mattes = np.zeros((64, 64, 5), np.float32)
    mattes[..., 0] = 1
    mattes[10:50, 10:30] = (0, 0, 1, 0, 0)
    mattes[20:28, 50:58] = (0, 0, 1, 0, 0)
    kept = keep_one_person(mattes)
    assert kept[20:28, 50:58, 0].min() == 1
    np.testing.assert_array_equal(kept[10:50, 10:30], mattes[10:50, 10:30])


def test_the_face_region_is_the_inside_of_the_meshs_outline() -> None:
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    landmarks = np.full((478, 2), 50.0)
    landmarks[list(_OVAL)] = 50 + 30 * np.stack([np.sin(angles), -np.cos(angles)], 1)
    region = face_region(landmarks, 100, 100)
    assert region[50, 50] == 1 and region[5, 5] == 0
    assert region.sum() == pytest.approx(18 * 30**2 * np.sin(2 * np.pi / 36), rel=0.06)
    assert face_region(np.full((478, 3), np.nan), 20, 20).sum() == 0


def test_overlap_counts_each_label_and_leaves_out_absent_ones() -> None:
    overlap = intersection_over_union(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]))
    np.testing.assert_allclose(overlap, [0.5, 0.5, 1, np.nan, np.nan])
