import numpy as np

from synctalk.head_sync.geometry import rotation_from_vector, vector_from_rotation
from synctalk.head_sync.steadying import measured_noise, steady


def nodding(frames: int = 120) -> tuple[np.ndarray, np.ndarray]:
    t = np.arange(frames) / 25
    turns = np.stack([0.1 * np.sin(3 * t), 0.15 * np.cos(2 * t), 0.02 * np.sin(5 * t)], 1)
    return rotation_from_vector(turns), np.stack([0.1 * np.sin(2 * t), 0 * t, 12 + 0.1 * np.cos(t)], 1)


def information(frames: int, noise: float) -> np.ndarray:
    return np.tile(np.eye(6) / noise**2, (frames, 1, 1))


def test_sure_poses_stay_as_they_are() -> None:
    rotations, translations = nodding()
    turned, moved = steady(rotations, translations, information(120, 1e-6))
    np.testing.assert_allclose(turned, rotations, atol=1e-4)
    np.testing.assert_allclose(moved, translations, atol=1e-4)


def test_one_unsure_pose_is_filled_in_from_its_neighbours() -> None:
    rotations, translations = nodding()
    wrong = rotations.copy(), translations.copy()
    wrong[0][50] = rotation_from_vector(np.array([0.2, 0, 0])) @ wrong[0][50]
    wrong[1][50] += 0.5
    sure = information(120, 1e-4)
    sure[50] *= 1e-10
    turned, moved = steady(*wrong, sure)
    assert np.abs(moved[50] - translations[50]).max() < 0.01
    assert np.linalg.norm(vector_from_rotation(turned[50] @ rotations[50].T)) < 0.005


def test_noise_that_announces_itself_is_reduced() -> None:
    random = np.random.default_rng(0)
    rotations, translations = nodding()
    noisy = rotation_from_vector(random.normal(0, 0.01, (120, 3))) @ rotations
    turned, _ = steady(noisy, translations, information(120, 0.01))

    def shake(r: np.ndarray) -> float:
        return float(np.linalg.norm(vector_from_rotation(r @ np.swapaxes(rotations, 1, 2)), axis=1).mean())

    assert shake(turned) < 0.7 * shake(noisy)


def test_a_cut_is_not_smoothed_over() -> None:
    rotations, translations = nodding()
    translations[60:] += [0.5, 0.2, 1.0]
    _, moved = steady(rotations, translations, information(120, 0.003), np.array([60]))
    assert np.abs(moved[59:61] - translations[59:61]).max() < 0.01


def test_even_an_unannounced_jump_is_left_standing() -> None:
    rotations, translations = nodding()
    translations[60:] += [0.5, 0.2, 1.0]
    _, moved = steady(rotations, translations, information(120, 0.003))
    assert np.abs(moved[59:61] - translations[59:61]).max() < 0.03


def test_a_very_short_shot_is_left_alone() -> None:
    rotations, translations = nodding(5)
    turned, moved = steady(rotations, translations, information(5, 0.1))
    np.testing.assert_array_equal(turned, rotations)
    np.testing.assert_array_equal(moved, translations)


def shaken(noise: float, claimed: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A nod with noise, smoothed: error per frame (radians) before and after, and how much was claimed."""
    random = np.random.default_rng(1)
    rotations, translations = nodding(300)
    noisy = rotation_from_vector(random.normal(0, noise, (300, 3))) @ rotations
    moved = translations + random.normal(0, noise, (300, 3))
    turned, _ = steady(noisy, moved, information(300, claimed))
    errors = [vector_from_rotation(r @ np.swapaxes(rotations, 1, 2)) for r in (noisy, turned)]
    return errors[0], errors[1], rotations, turned


def test_noise_is_measured_where_a_claim_is_too_low_or_too_high() -> None:
    honest = np.sqrt(np.mean(shaken(0.003, 0.003)[1] ** 2))
    for claimed in (0.002, 0.008):
        before, after, _, _ = shaken(0.003, claimed)
        assert np.sqrt(np.mean(after**2)) < 0.8 * np.sqrt(np.mean(before**2))
        np.testing.assert_allclose(np.sqrt(np.mean(after**2)), honest, rtol=0.1)


def test_a_shaken_camera_that_all_points_saw_is_not_smoothed_away() -> None:
    before, after, _, _ = shaken(0.003, 0.0003)
    assert np.sqrt(np.mean((after - before) ** 2)) < 0.3 * np.sqrt(np.mean(before**2))


def test_measured_noise_is_the_ratio_of_variances_whatever_the_movement() -> None:
    random = np.random.default_rng(2)
    t = np.arange(400) / 25
    path = np.stack([np.sin((1 + k) * t) for k in range(6)], 1) + random.normal(0, 0.02, (400, 6))
    claimed = np.full((400, 6), 0.02**2 / 2.5)
    assert 2.0 < measured_noise(path, claimed, np.ones(400, bool)) < 3.0
