"""The seam is opened where the jaws differ, softly, and nowhere else."""

import numpy as np

from synctalk.portrait.seam import FAINT, GRAIN, GRID, cut, heal, seam_hole

SIZE, WIDEN, SLACK = 256, 15, 3


def face(chin: int) -> np.ndarray:
    """A face matte, uint8 [256,256]: an ellipse from row 30 to the chin's row."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    lower = np.hypot((rows - 130) / (chin - 130), (columns - 128) / 70) <= 1
    upper = np.hypot((rows - 130) / 100, (columns - 128) / 70) <= 1
    return np.where(np.where(rows > 130, lower, upper), 255, 0).astype(np.uint8)


def hole(source_chin: int, rendered_chin: int, hair: np.ndarray | None = None) -> np.ndarray | None:
    region = np.full((SIZE, SIZE), 255, np.uint8)
    cover = face(rendered_chin).astype(np.float32) / 255
    return seam_hole(
        face(source_chin), np.zeros_like(region) if hair is None else hair, region, cover, WIDEN, SLACK
    )


def test_jaws_that_agree_up_to_the_slack_are_left_alone():
    assert hole(220, 220) is None
    assert hole(220, 222) is None


def test_a_source_s_chin_that_would_show_opens_the_seam_around_it():
    found = hole(232, 216)
    assert found is not None
    assert found[224, 128] > 250  # between the two chins
    assert found[238, 128] > 50  # and below them
    assert found[:140].max() == 0  # never above the mouth
    assert found[252, 128] <= FAINT


def test_a_rendered_chin_over_the_neck_leaves_the_true_neck():
    assert hole(216, 232) is None


def test_the_hole_comes_in_gradually_as_the_chin_moves():
    strength = [0 if (found := hole(chin, 216)) is None else int(found.max()) for chin in range(216, 230)]
    assert strength[0] == 0 and strength[-1] == 255
    assert np.diff(strength).min() >= 0
    assert np.diff(strength).max() < 130


def test_hair_is_never_made_up():
    hair = np.zeros((SIZE, SIZE), np.uint8)
    hair[:, :128] = 255
    found = hole(232, 216, hair)
    assert found is not None
    assert found[:, :128].max() == 0 and found.max() > 200


class Grey:
    """Makes everything mid grey and keeps what it was given."""

    shape = None

    def fill(self, face, alpha, background, widened):
        self.shape, self.widened, self.background = alpha.shape, widened, background
        return np.full_like(face, 0.5)


def healed(picture, opened, cover=None, corner=(0, 0), restorer=None):
    """`heal` where the maps begin at `corner` of `picture`, float32 [h,w,3]."""
    height, width = opened.shape
    x, y = corner
    cover = np.zeros(opened.shape, np.float32) if cover is None else cover
    return heal(
        restorer or Grey(),
        lambda box: picture[box[1] : box[3], box[0] : box[2]],
        lambda box: cut(0.25 * np.repeat(cover[..., None], 3, 2), (x, y, x + width, y + height), box),
        cover,
        opened,
        np.full(opened.shape, 255, np.uint8),
        (x, y, x + width, y + height),
        (picture.shape[1], picture.shape[0]),
        15,
    )


def test_the_restorer_gets_a_tight_crop_on_the_picture_s_grid_and_mixes_nothing_itself():
    opened = np.zeros((100, 120), np.uint8)
    opened[50:60, 40:90] = 255
    opened[60, 40:90] = FAINT
    picture = np.random.default_rng(0).random((SIZE, SIZE, 3), np.float32)
    restorer = Grey()
    found = healed(picture, opened, corner=(60, 150), restorer=restorer)
    assert found is not None
    (x0, y0, x1, y1), made, soft = found
    assert x0 % GRID == y0 % GRID == x1 % GRID == y1 % GRID == 0
    assert 85 - GRID < x0 <= 85 and 185 - GRID < y0 <= 185 and 165 <= x1 < 165 + GRID and y1 >= 225
    assert restorer.shape == soft.shape == made.shape[:2] == (y1 - y0, x1 - x0)
    assert soft[200 - y0, 100 - x0] == 1 and not soft[210 - y0].any() and not soft[:, : 100 - x0].any()
    np.testing.assert_array_equal(restorer.background, picture[y0:y1, x0:x1])
    outside = np.ones((y1 - y0, x1 - x0), bool)
    outside[max(150 - y0, 0) : 250 - y0, max(60 - x0, 0) : 180 - x0] = False
    assert not soft[outside].any() and not restorer.widened[outside].any()
    assert restorer.widened[~outside].all()  # all that may change, whatever part of it is shown


def test_the_crop_stays_where_it_is_while_the_face_moves_a_little():
    picture = np.zeros((SIZE, SIZE, 3), np.float32)
    opened = np.zeros((100, 100), np.uint8)
    opened[40:60, 40:60] = 255
    boxes = [healed(picture, opened, corner=(80 + shift, 80))[0] for shift in (0, 1, 2, 3)]
    assert len(set(boxes)) == 1


def grainy() -> np.ndarray:
    """A grey picture with a step in it and film grain over it."""
    picture = np.full((64, 64, 3), 0.5, np.float32)
    picture[32:] = 0.9
    return picture + np.random.default_rng(0).normal(0, 0.004, picture.shape).astype(np.float32)


def test_what_is_made_up_gets_the_grain_of_the_source_but_not_its_edges():
    found = healed(grainy(), np.full((64, 64), 255, np.uint8))
    assert found is not None
    made = found[1] - 0.5
    assert made[10:20].std() > 0.002
    assert np.abs(made).max() <= GRAIN + 1e-6  # the step of 0.4 is gone


def test_an_empty_or_faint_hole_asks_for_nothing():
    assert healed(np.zeros((64, 64, 3), np.float32), np.full((64, 64), FAINT, np.uint8)) is None


def test_a_hole_at_the_picture_s_edge_stays_inside_it():
    opened = np.zeros((70, 50), np.uint8)
    opened[60:, 40:] = 255
    found = healed(np.zeros((70, 50, 3), np.float32), opened)
    assert found is not None
    x0, y0, x1, y1 = found[0]
    assert 0 <= x0 <= 25 and 0 <= y0 <= 45 and (x1, y1) == (50, 70)
    assert found[2][65 - y0, 45 - x0] == 1
