import cv2
import numpy as np

from synctalk.training.torso_motion import torso_motion


def test_shifts_of_the_torso_are_found_to_a_tenth_of_a_pixel() -> None:
    generator = np.random.default_rng(0)
    cloth = cv2.GaussianBlur(generator.integers(0, 256, (128, 128, 3)).astype(np.float32), (0, 0), 2)
    torso = np.zeros((128, 128), np.uint8)
    torso[60:] = 255
    true = np.array([[0, 0], [1.5, -0.5], [-3.25, 2.0]], np.float32)
    pairs = []
    for x, y in true:
        moved = cv2.warpAffine(
            cloth, np.array([[1, 0, x], [0, 1, y]]), (128, 128), borderMode=cv2.BORDER_REFLECT
        )
        pairs.append((moved.astype(np.uint8), torso))
    assert np.abs(torso_motion(pairs) - true).max() < 0.1


def test_a_torso_that_cannot_be_seen_stands_still() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    assert torso_motion([(frame, frame[..., 0])] * 3).tolist() == [[0, 0]] * 3
    assert torso_motion([]).shape == (0, 2)
