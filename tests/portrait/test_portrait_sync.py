import cv2
import numpy as np
import pytest
import torch

from synctalk.portrait import portrait_sync
from synctalk.portrait.portrait_sync import PortraitSync, bounds, grown, lay_over, widened
from synctalk.portrait.splat import native, rgb_to_yuv420
from synctalk.video import Planes

SIZE = 128


def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE]
    return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1


def scene(chin: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """A green rendered head whose face ends `chin` px above the source's; image, alpha, mattes."""
    head = ellipse(64, 60, 34, 44)
    face = head & (np.mgrid[:SIZE, :SIZE][0] > 45)
    alpha = torch.from_numpy((head & (np.mgrid[:SIZE, :SIZE][0] < 104 - chin)).astype(np.float32))
    image = alpha[..., None] * torch.tensor([0.0, 1.0, 0.0])
    mattes = np.stack([face, head, np.ones_like(head)]).astype(np.uint8) * 255
    return image, alpha, mattes


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


class Red:
    """A restorer that paints everything red and remembers that it was asked."""

    called = 0

    def fill(self, face, alpha, background, widened):
        self.called += 1
        assert face.shape[:2] == alpha.shape == background.shape[:2] == widened.shape
        return np.broadcast_to(np.float32([1, 0, 0]), (*alpha.shape, 3))


def test_outside_the_region_a_full_hd_frame_is_untouched_bit_for_bit():
    frame, crop = noise(1080, 1920), (700, 200, 512, 512)
    image, alpha, mattes = scene()
    sync = PortraitSync((SIZE, SIZE), crop)
    before = frame.copy()
    out = sync(frame, image, alpha, mattes)
    assert (frame == before).all()
    allowed = np.zeros((1080, 1920), bool)
    allowed[200:712, 700:1212] = np.kron(sync.region, np.ones((4, 4), bool))
    assert (out[~allowed] == frame[~allowed]).all()
    assert (out[200 + 4 * 80, 700 + 4 * 64] == [0, 255, 0]).all()


def test_region_is_source_face_and_rendered_face_widened_by_15_px_at_512():
    image, alpha, mattes = scene()
    sync = PortraitSync((SIZE, SIZE))
    sync(noise(SIZE, SIZE), image, alpha, mattes)
    assert (sync.region == (widened(mattes[0], 4) > 0)).all()


def test_hair_stays_the_source_s():
    frame = noise(SIZE, SIZE)
    image, alpha, mattes = scene()
    out = PortraitSync((SIZE, SIZE))(frame, image, alpha, mattes)
    assert (out[20:38, 60:68] == frame[20:38, 60:68]).all()


def test_the_restorer_is_asked_only_where_the_source_s_chin_shows():
    frame, restorer = noise(SIZE, SIZE), Red()
    sync = PortraitSync((SIZE, SIZE), restorer=restorer)
    sync(frame, *scene(chin=0))
    assert restorer.called == 0
    out = sync(frame, *scene(chin=10))
    assert restorer.called == 1
    assert np.abs(out[99, 64].astype(int) - [255, 0, 0]).max() <= 5  # red, and the source's grain
    assert (out[60, 64] == [0, 255, 0]).all()
    assert (out[~sync.region] == frame[~sync.region]).all()


def test_a_single_pixel_between_the_mattes_does_not_let_the_source_through():
    image, alpha, mattes = scene()
    clean = PortraitSync((SIZE, SIZE))(noise(SIZE, SIZE), image, alpha, mattes)
    mattes = mattes.copy()
    mattes[0, 90, 64] = 0  # neither face nor neck: the parser calls one pixel of the chin hair
    speck = PortraitSync((SIZE, SIZE))(noise(SIZE, SIZE), image, alpha, mattes)
    assert (speck == clean).all()
    mattes[0, 88:92, 62:66] = 0  # as large as this it may well be hair
    assert (PortraitSync((SIZE, SIZE))(noise(SIZE, SIZE), image, alpha, mattes) != clean).any()


def test_a_frame_without_a_face_comes_back_as_it_was():
    frame = noise(SIZE, SIZE)
    empty = np.zeros((3, SIZE, SIZE), np.uint8)
    out = PortraitSync((SIZE, SIZE))(frame, torch.zeros(SIZE, SIZE, 3), torch.zeros(SIZE, SIZE), empty)
    assert (out == frame).all()


def test_lay_over_puts_the_whole_head_over_the_frame():
    image, alpha, _ = scene()
    frame = noise(SIZE, SIZE)
    out = lay_over(frame, image, alpha)
    assert (out[30, 64] == [0, 255, 0]).all()
    assert (out[alpha.numpy() == 0] == frame[alpha.numpy() == 0]).all()


def test_wrong_shapes_are_named():
    image, alpha, mattes = scene()
    sync = PortraitSync((SIZE, SIZE), (0, 0, 256, 256))
    with pytest.raises(ValueError, match="frame"):
        sync(noise(SIZE, SIZE), image, alpha, mattes)
    with pytest.raises(ValueError, match="mattes"):
        PortraitSync((SIZE, SIZE))(noise(SIZE, SIZE), image, alpha, mattes[:2])


def test_widened_grows_a_point_by_exactly_that_many_pixels_along_the_axes():
    mask = np.zeros((41, 41), np.uint8)
    mask[20, 20] = 1
    assert bounds(widened(mask, 7)) == (13, 13, 28, 28)


def planes_of(rgb: np.ndarray) -> Planes:
    return Planes.from_planes(*rgb_to_yuv420(rgb))


def soft_noise(height: int, width: int) -> np.ndarray:
    """A frame whose colours change little between neighbours, as 4:2:0 keeps them."""
    return np.kron(noise(height // 8, width // 8), np.ones((8, 8, 1), np.uint8))


@pytest.mark.parametrize("crop", [None, (37, 21, 256, 256), (10, 8, 128, 128)])
def test_on_planes_shows_what_the_rgb_way_shows(crop):
    frame = soft_noise(320, 320) if crop else soft_noise(SIZE, SIZE)
    image, alpha, mattes = scene(chin=10)
    image *= 0.8
    plain = PortraitSync((SIZE, SIZE), crop, Red())
    fast = PortraitSync((SIZE, SIZE), crop, Red())
    expected = planes_of(plain(frame, image, alpha, mattes))
    made = fast.on_planes(planes_of(frame), image, alpha, mattes)
    assert (fast.region == plain.region).all()
    assert fast.restorer.called == plain.restorer.called
    assert np.abs(made.y.astype(int) - expected.y).mean() < 0.5
    assert np.abs(made.u.astype(int) - expected.u).mean() < 0.5
    assert (np.abs(made.y.astype(int) - expected.y) > 3).mean() < 0.01


def test_outside_the_region_full_hd_planes_are_untouched_bit_for_bit():
    crop = (701, 199, 512, 512)
    frame = planes_of(noise(1080, 1920))
    before = frame.copy()
    image, alpha, mattes = scene(chin=10)
    sync = PortraitSync((SIZE, SIZE), crop, Red())
    made = sync.on_planes(frame, image, alpha, mattes)
    assert (frame.data == before.data).all()
    allowed = np.zeros((1080, 1920), bool)
    allowed[199:711, 701:1213] = np.kron(sync.region, np.ones((4, 4), bool))
    assert (made.y != frame.y).any()
    assert (made.y[~allowed] == frame.y[~allowed]).all()
    whole_cell = allowed.reshape(540, 2, 960, 2).all((1, 3))
    assert (made.u[~whole_cell] == frame.u[~whole_cell]).all()
    assert (made.v[~whole_cell] == frame.v[~whole_cell]).all()


def test_planes_without_a_face_come_back_as_they_were():
    frame = planes_of(noise(SIZE, SIZE))
    empty = np.zeros((3, SIZE, SIZE), np.uint8)
    made = PortraitSync((SIZE, SIZE)).on_planes(
        frame, torch.zeros(SIZE, SIZE, 3), torch.zeros(SIZE, SIZE), empty
    )
    assert (made.data == frame.data).all()


def test_without_the_native_kernel_planes_go_by_way_of_rgb(monkeypatch):
    monkeypatch.setattr(portrait_sync.native, "why_not", lambda: "no compiler")
    made = PortraitSync((SIZE, SIZE)).on_planes(planes_of(soft_noise(SIZE, SIZE)), *scene())
    assert abs(int(made.y[60, 64]) - planes_of(np.full((2, 2, 3), (0, 255, 0), np.uint8)).y[0, 0]) <= 2


@pytest.mark.parametrize("isa", native.module().instruction_sets() if not native.why_not() else [])
def test_every_instruction_set_makes_the_same_maps(isa):
    _, alpha, mattes = scene()
    face, hair = mattes[0], mattes[1] & ~mattes[0]
    maps = [np.zeros((SIZE, SIZE), np.uint8) for _ in range(4)]
    box = native.module().face_maps(alpha.numpy(), mattes[0], mattes[1], 7, 3, *maps, isa)
    drawn = (alpha.numpy() > 0.5).astype(np.uint8) * 255 & ~hair
    assert tuple(box) == grown(bounds(face | drawn), 8, (SIZE, SIZE))
    here = np.s_[box[1] : box[3], box[0] : box[2]]
    region = widened((face | drawn)[here], 7)
    soft = np.asarray(cv2.blur(widened(hair[here], 3), (7, 7)), np.uint8)
    assert (maps[1][here] == region).all()
    assert np.abs(maps[0][here].astype(int) - (region & ~soft)).max() <= 1
    assert (maps[2][here] == face[here]).all()
    assert (maps[3][here] == hair[here]).all()
