"""A rigid bowl of points, some of which slip; poses by the trusted ones alone, then settled."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from synctalk.head_sync.bundle_adjustment import Bundle, BundleSettings, solve_poses
from synctalk.head_sync.geometry import camera_matrix, project, rotation_from_vector, transform, viewmats_from
from synctalk.head_sync.pose_error import PoseError, pose_error
from synctalk.head_sync.slips import settle

K = camera_matrix(1400, 512, 512)
FRAMES, POINTS, TRUSTED = 120, 90, 30
NOISE = 0.15  # px


@dataclass(frozen=True)
class Scene:
    """True poses, tracks [T, N, 2] px, and the bundle that rests on the first 30 points."""

    viewmats: np.ndarray
    points: np.ndarray
    tracks: np.ndarray
    bundle: Bundle

    def error_of(self, bundle: Bundle) -> PoseError:
        own = viewmats_from(bundle.rotations, bundle.translations)
        return pose_error(own, K, self.viewmats, K, self.points[0])


def solved(tracks: np.ndarray, points: np.ndarray, rotations: np.ndarray, translations: np.ndarray) -> Bundle:
    weights = np.where(np.arange(POINTS) < TRUSTED, 1.0, 0.02)
    return solve_poses(
        tracks, weights, points, np.full(POINTS, 0.25), K, rotations, translations, BundleSettings()
    )


@pytest.fixture(scope="module")
def scene() -> Scene:
    random = np.random.default_rng(5)
    points = random.uniform(-0.8, 0.8, (POINTS, 3))
    points[:, 2] = 0.8 - 0.5 * (points[:, 0] ** 2 + points[:, 1] ** 2)
    t = np.arange(FRAMES) / 25
    turns = np.stack([0.1 * np.sin(3 * t), 0.15 * np.cos(2 * t), 0.05 * np.sin(4 * t)], 1)
    rotations = np.diag([1.0, -1.0, -1.0]) @ rotation_from_vector(turns)
    translations = np.stack([0.1 * np.sin(2 * t), 0.1 * np.cos(t), 11 + 0.2 * np.sin(t)], 1)
    tracks = project(transform(rotations, translations, points), K)
    tracks += random.normal(0, NOISE, tracks.shape)
    # All untrusted points slip together, half a pixel in two seconds.
    tracks[:, TRUSTED:] += (0.5 * np.sin(np.pi * t))[:, None, None]
    tracks = tracks.astype(np.float32)
    return Scene(
        viewmats_from(rotations, translations),
        points,
        tracks,
        solved(tracks, points, rotations, translations),
    )


def test_all_points_together_make_the_head_steadier_than_the_trusted_ones_alone(scene: Scene) -> None:
    before, after = scene.error_of(scene.bundle), scene.error_of(settle(scene.bundle, scene.tracks, K))
    assert after.tremble_px < 0.8 * before.tremble_px


def test_slow_slips_of_untrusted_points_do_not_turn_the_head(scene: Scene) -> None:
    settled = scene.error_of(settle(scene.bundle, scene.tracks, K))
    alike = solve_poses(
        scene.tracks, np.ones(POINTS), scene.points, np.full(POINTS, 0.25), K, scene.bundle.rotations,
        scene.bundle.translations, BundleSettings(),
    )  # fmt: skip
    assert np.median(settled.sideways_mm) < 0.5 * np.median(scene.error_of(alike).sideways_mm)
    assert np.median(settled.rotation_deg) < 1.3 * np.median(scene.error_of(scene.bundle).rotation_deg)


def test_where_no_point_is_seen_the_pose_stays(scene: Scene) -> None:
    tracks = scene.tracks.copy()
    tracks[50:60] = np.nan
    bundle = replace(scene.bundle, inliers=np.where(np.isfinite(tracks[:, 0, 0]), scene.bundle.inliers, 0.0))
    settled = settle(bundle, tracks, K)
    np.testing.assert_array_equal(settled.rotations[50:60], bundle.rotations[50:60])
    np.testing.assert_array_equal(settled.information[50:60], bundle.information[50:60])
    assert np.isfinite(settled.rotations).all()


def test_a_slip_ends_at_a_cut(scene: Scene) -> None:
    tracks = scene.tracks.copy()
    tracks[60:, TRUSTED:] += 1.5
    whole = scene.error_of(settle(scene.bundle, tracks, K))
    parted = scene.error_of(settle(scene.bundle, tracks, K, cuts=np.array([60])))
    assert parted.sideways_mm[57:63].max() < whole.sideways_mm[57:63].max()


def test_a_shot_of_a_few_frames_stays_as_it_is(scene: Scene) -> None:
    settled = settle(scene.bundle, scene.tracks, K, cuts=np.array([5]))
    np.testing.assert_array_equal(settled.translations[:5], scene.bundle.translations[:5])
    assert not np.array_equal(settled.translations[5:], scene.bundle.translations[5:])
