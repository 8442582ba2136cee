import numpy as np
import pytest
import torch

from synctalk.portrait.portrait_sync import PortraitSync, bounds, lay_over, widened

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
    assert (out[99, 64] == [255, 0, 0]).all()
    assert (out[60, 64] == [0, 255, 0]).all()
    assert (out[~sync.region] == frame[~sync.region]).all()


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
