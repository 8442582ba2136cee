import cv2
import numpy as np
import pytest

from synctalk.editing import Look, Stage, reframe
from synctalk.errors import SyncTalkError, VideoError
from synctalk.video import VideoWriter


def picture(height: int = 128, width: int = 128) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def disc(size: int = 128) -> np.ndarray:
    matte = np.zeros((size, size), np.uint8)
    cv2.circle(matte, (size // 2, size // 2), size // 3, 255, -1)
    return matte


def dress(look: Look, given: np.ndarray, matte: np.ndarray | None = None, **more: object) -> np.ndarray:
    return Stage(look, given.shape[1], given.shape[0]).dress(given, matte, 0, **more)


def test_the_default_look_changes_nothing():
    stage = Stage(Look(), 128, 128)
    assert not stage.active and not stage.needs_person
    assert np.array_equal(stage.dress(picture(), None, 0), picture())


def test_a_colour_stands_behind_the_person_and_the_person_stays():
    out = dress(Look(background="#102030"), picture(), disc())
    assert out[0, 0].tolist() == [0x10, 0x20, 0x30]
    assert np.array_equal(out[64, 64], picture()[64, 64])


def test_a_picture_behind_the_person_fills_the_frame(tmp_path):
    cv2.imwrite(str(tmp_path / "b.png"), np.full((40, 200, 3), (9, 8, 7), np.uint8))
    out = dress(Look(background=tmp_path / "b.png"), picture(), disc())
    assert out[0, 0].tolist() == [7, 8, 9] and out[-1, -1].tolist() == [7, 8, 9]


def test_a_clip_behind_the_person_moves_and_starts_again(tmp_path):
    with VideoWriter(tmp_path / "b.mp4", 128, 128, crf=5) as writer:
        for i in range(10):
            writer.write(np.full((128, 128, 3), 25 * i, np.uint8))
    stage = Stage(Look(background=tmp_path / "b.mp4"), 128, 128)
    corner = [int(stage.dress(picture(), disc(), i)[0, 0, 0]) for i in (0, 5, 10)]
    assert abs(corner[0] - corner[2]) < 6 and corner[1] - corner[0] > 90


def test_transparent_pictures_carry_the_persons_matte():
    out = dress(Look(background="transparent"), picture(), disc())
    assert out.shape == (128, 128, 4) and np.array_equal(out[..., 3], disc())


def test_a_background_needs_a_matte():
    with pytest.raises(SyncTalkError, match="matte"):
        dress(Look(background="white"), picture(), None)


@pytest.mark.parametrize(
    ("aspect", "shape"), [("1:1", (128, 128)), ("9:16", (228, 128)), ("16:9", (128, 228))]
)
def test_shapes_are_met_with_even_sides(aspect, shape):
    out = dress(Look(aspect=aspect), picture())
    assert out.shape[:2] == shape and not any(side % 2 for side in out.shape[:2])


def test_a_wider_shape_keeps_the_whole_picture_in_the_middle():
    out = reframe(picture(), (16, 9))
    assert np.array_equal(out[:, 50 + 40 : 178 - 40], picture()[:, 40:-40])


def test_a_narrower_shape_is_cut_around_the_head():
    given = np.zeros((128, 128, 3), np.uint8)
    given[:, 90:] = 255
    assert reframe(given, (9, 16), centre_x=110).mean() > 120
    assert reframe(given, (9, 16), centre_x=20).mean() < 5


def test_captions_and_the_mark_are_written_low_in_the_picture():
    plain = np.full((256, 256, 3), 90, np.uint8)
    captioned = dress(Look(captions=True), plain, caption="Good morning to you.")
    changed = np.abs(captioned.astype(int) - 90).max(axis=2) > 60
    assert changed.any() and not changed[:128].any()
    assert np.array_equal(dress(Look(captions=True), plain), plain)
    marked = np.abs(dress(Look(mark=True), plain).astype(int) - 90).max(axis=2) > 60
    assert marked[:, 128:].any() and not marked[:220].any()


@pytest.mark.parametrize("wrong", [{"aspect": "4:3"}, {"background": "nowhere.png"}, {"background": "#12"}])
def test_looks_that_cannot_be_are_refused(wrong):
    with pytest.raises(SyncTalkError, match=next(iter(wrong))):
        Look(**wrong)


def test_a_background_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "b.png").write_text("no picture")
    with pytest.raises(VideoError, match=r"b\.png"):
        Stage(Look(background=tmp_path / "b.png"), 128, 128)
