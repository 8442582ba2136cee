"""The seam is opened where the jaws differ, softly, and nowhere else."""

import numpy as np
import pytest

from synctalk.portrait.seam import COVERING, FAINT, GRAIN, GRID, heal, seam_hole

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


@pytest.mark.parametrize(("source", "rendered"), [(232, 216), (216, 232)])
def test_a_chin_out_of_place_opens_the_seam_around_it_in_both_directions(source, rendered):
    found = hole(source, rendered)
    assert found is not None
    whole = 255 if source > rendered else 255 * COVERING
    assert found[224, 128] > whole - 5  # between the two chins
    assert found[238, 128] > 50  # and below them
    assert found[:140].max() == 0  # never above the mouth
    assert found[252, 128] <= FAINT


def test_the_hole_comes_in_gradually_as_the_chin_moves():
    strength = [0 if (found := hole(chin, 216)) is None else int(found.max()) for chin in range(216, 230)]
    assert strength[0] == 0 and strength[-1] == 255
    assert np.diff(strength).min() >= 0
    assert np.diff(strength).max() < 130


def test_hair_is_never_made_up():
    hair = np.zeros((SIZE, SIZE), np.uint8)
    hair[:, :128] = 255
    found = hole(232, 216, hair)
    assert found is not None and found[:, :128].max() == 0 and found.max() > 200


class Grey:
    """Makes everything mid grey and keeps what it was given."""

    def fill(self, face, alpha, background, widened):
        self.shape, self.widened, self.background = alpha.shape, widened, background
        return np.full_like(face, 0.5)


def test_the_restorer_gets_a_tight_crop_on_its_grid_and_mixes_nothing_itself():
    opened = np.zeros((SIZE, SIZE), np.uint8)
    opened[200:210, 100:150] = 255
    opened[210, 100:150] = FAINT
    picture = np.random.default_rng(0).random((SIZE, SIZE, 3), np.float32)
    restorer = Grey()
    healed = heal(restorer, picture, 0 * picture, 0 * picture[..., 0], opened, 15)
    assert healed is not None
    (x0, y0, x1, y1), made, soft = healed
    assert x0 <= 85 and y0 <= 185 and x1 >= 165 and y1 >= 225
    assert (x1 - x0) % GRID == 0 and (y1 - y0) % GRID == 0 and (x1 - x0) < 80 + GRID
    assert restorer.shape == soft.shape == made.shape[:2] == (y1 - y0, x1 - x0)
    assert soft.max() == 1 and soft[210 - y0].max() == 0
    assert ((soft > 0) == (restorer.widened > 0)).all()
    np.testing.assert_array_equal(restorer.background, picture[y0:y1, x0:x1])
    asked = heal(
        restorer,
        lambda box: picture[: box[3] - box[1], : box[2] - box[0]],
        picture,
        0 * picture[..., 0],
        opened,
        15,
    )
    assert asked is not None and asked[0] == (x0, y0, x1, y1)


def test_what_is_made_up_gets_the_grain_of_the_source_but_not_its_edges():
    opened = np.full((64, 64), 255, np.uint8)
    behind = np.full((64, 64, 3), 0.5, np.float32)
    behind[32:] = 0.9
    behind += np.random.default_rng(0).normal(0, 0.004, behind.shape).astype(np.float32)
    cover = np.zeros((64, 64), np.float32)
    cover[:, 40:] = 1
    healed = heal(Grey(), behind, 0 * behind, cover, opened, 4)
    assert healed is not None
    made = healed[1] - 0.5
    assert made[10:20, :40].std() > 0.002
    assert np.abs(made).max() <= GRAIN + 1e-6  # the step of 0.4 is gone
    assert not made[:, 40:].any()  # the rendered face keeps its own


def test_an_empty_or_faint_hole_asks_for_nothing():
    faint = np.full((64, 64), FAINT, np.uint8)
    nothing = np.zeros((64, 64, 3), np.float32)
    assert heal(Grey(), nothing, nothing, nothing[..., 0], faint, 15) is None


def test_a_hole_at_the_picture_s_edge_stays_inside_it():
    opened = np.zeros((70, 50), np.uint8)
    opened[60:, 40:] = 255
    nothing = np.zeros((70, 50, 3), np.float32)
    healed = heal(Grey(), nothing, nothing, nothing[..., 0], opened, 4)
    assert healed is not None
    x0, y0, x1, y1 = healed[0]
    assert 0 <= x0 <= 36 and 0 <= y0 <= 56 and (x1, y1) == (50, 70)
