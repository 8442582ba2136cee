import numpy as np
import pytest

from synctalk.head_sync.bundle_adjustment import BundleSettings, adjust_bundle, find_points, solve_poses
from synctalk.head_sync.geometry import (
    camera_matrix,
    project,
    rotation_from_vector,
    transform,
    vector_from_rotation,
)
from synctalk.head_sync.pose_error import pose_error

K = camera_matrix(1400, 512, 512)


@pytest.fixture(scope="module")
def scene() -> dict[str, np.ndarray]:
    """80 points on a bowl seen in 60 poses, tracks with noise, rough poses a degree off, shaky anchors."""
    random = np.random.default_rng(3)
    points = random.uniform(-0.8, 0.8, (80, 3))
    points[:, 2] = 0.8 - 0.5 * (points[:, 0] ** 2 + points[:, 1] ** 2)
    t = np.linspace(0, 4 * np.pi, 60)
    turns = np.stack([0.1 * np.sin(t), 0.2 * np.cos(0.7 * t), 0.05 * np.sin(1.3 * t)], 1)
    rotations = np.diag([1.0, -1.0, -1.0]) @ rotation_from_vector(turns)
    translations = np.stack([0.1 * np.sin(t), 0.1 * np.cos(t), 11 + 0.2 * np.sin(0.5 * t)], 1)
    tracks = project(transform(rotations, translations, points), K) + random.normal(0, 0.1, (60, 80, 2))
    return {
        "points": points,
        "rotations": rotations,
        "translations": translations,
        "tracks": tracks.astype(np.float32),
        "rough_rotations": rotation_from_vector(random.normal(0, 0.015, (60, 3))) @ rotations,
        "rough_translations": translations + random.normal(0, 0.02, (60, 3)),
        "anchors": points + random.normal(0, 0.05, points.shape),
    }


def turned_by(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.linalg.norm(vector_from_rotation(a @ np.swapaxes(b, 1, 2)), axis=1))


def adjust(scene: dict[str, np.ndarray], tracks: np.ndarray, **settings: object):  # type: ignore[no-untyped-def]
    return adjust_bundle(
        tracks, np.ones(tracks.shape[1]), scene["anchors"], K, scene["rough_rotations"],
        scene["rough_translations"], BundleSettings(**settings),  # type: ignore[arg-type]
    )  # fmt: skip


def error_of(scene: dict[str, np.ndarray], rotations: np.ndarray, translations: np.ndarray):  # type: ignore[no-untyped-def]
    from synctalk.head_sync.geometry import viewmats_from

    truth = viewmats_from(scene["rotations"], scene["translations"])
    return pose_error(viewmats_from(rotations, translations), K, truth, K, scene["points"][0])


def test_stage_one_finds_the_points_from_nothing_when_poses_are_right(scene) -> None:
    points = find_points(
        scene["tracks"].astype(np.float64), np.zeros((80, 3)), K, scene["rotations"], scene["translations"],
        BundleSettings(anchor_spread=100.0), iterations=15,
    )  # fmt: skip
    assert np.median(np.linalg.norm(points - scene["points"], axis=1)) < 0.02


def test_both_stages_make_rough_poses_ten_times_better(scene) -> None:
    bundle = adjust(scene, scene["tracks"])
    before = error_of(scene, scene["rough_rotations"], scene["rough_translations"])
    after = error_of(scene, bundle.rotations, bundle.translations)
    assert np.median(after.rotation_deg) < 0.1 * np.median(before.rotation_deg)
    assert after.tremble_px < 0.1 * before.tremble_px


def test_points_that_move_on_their_own_are_left_out_of_the_poses(scene) -> None:
    tracks = scene["tracks"].copy()
    tracks[:, ::5] += (8 * np.sin(np.arange(60) * 0.9))[:, None, None].astype(np.float32)
    calm = error_of(scene, *poses_of(adjust(scene, scene["tracks"])))
    disturbed = error_of(scene, *poses_of(adjust(scene, tracks)))
    assert np.median(disturbed.rotation_deg) < 2 * np.median(calm.rotation_deg) + 0.02


def poses_of(bundle) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    return bundle.rotations, bundle.translations


def test_weight_zero_means_a_point_is_not_heard(scene) -> None:
    tracks = scene["tracks"].copy()
    tracks[:, :20] += 6
    weights = np.ones(80)
    weights[:20] = 0
    noise = np.full(80, 0.3)
    rough = scene["rough_rotations"], scene["rough_translations"]
    heard = solve_poses(tracks, weights, scene["points"], noise, K, *rough, BundleSettings())
    alone = solve_poses(
        tracks[:, 20:], weights[20:], scene["points"][20:], noise[20:], K, *rough, BundleSettings()
    )
    np.testing.assert_allclose(heard.translations, alone.translations, atol=1e-9)


def test_frames_without_points_keep_their_rough_pose_and_say_so(scene) -> None:
    tracks = scene["tracks"].copy()
    tracks[7] = np.nan
    bundle = adjust(scene, tracks)
    assert bundle.inliers[7] == 0
    assert np.isnan(bundle.residual_px[7])
    np.testing.assert_allclose(bundle.rotations[7], scene["rough_rotations"][7], atol=1e-9)


def test_no_point_anywhere_returns_the_rough_poses(scene) -> None:
    bundle = adjust(scene, np.full_like(scene["tracks"], np.nan))
    np.testing.assert_allclose(bundle.translations, scene["rough_translations"])


def test_fewer_frames_for_the_points_cost_little(scene) -> None:
    all_frames = error_of(scene, *poses_of(adjust(scene, scene["tracks"])))
    half = error_of(scene, *poses_of(adjust(scene, scene["tracks"], frames=30)))
    assert np.median(half.rotation_deg) < 1.6 * np.median(all_frames.rotation_deg) + 0.01
