import itertools

import numpy as np
import pytest

from synctalk.speaking.motion import (
    POSE_LIMIT_DEG,
    SHIFT_LIMIT,
    TORSO_LIMIT_PX,
    HeadMotion,
    Source,
    pose_difference_deg,
)


def turned(degrees: np.ndarray) -> np.ndarray:
    """Poses that turn about y."""
    angle = np.radians(degrees)
    poses = np.tile(np.eye(4, dtype=np.float32), (len(angle), 1, 1))
    poses[:, 0, 0] = poses[:, 2, 2] = np.cos(angle)
    poses[:, 0, 2], poses[:, 2, 0] = np.sin(angle), -np.sin(angle)
    poses[:, 2, 3] = 10
    return poses


def swaying(frames: int = 1500) -> Source:
    """A head that sways: gently in the first half, strongly in the second."""
    time = np.arange(frames) / 25
    size = np.where(np.arange(frames) < frames / 2, 2.0, 9.0)
    return Source(turned(size * np.sin(2 * np.pi * time / 5)))


def shown(source: Source, style: str = "natural", seed: int = 0, frames: int = 3000) -> np.ndarray:
    return np.array(list(itertools.islice(HeadMotion(source, style, seed), frames)))


def test_angles_between_poses_are_exact_even_when_small():
    poses = turned(np.array([0, 1e-3, 0.5, 90, 179]))
    assert np.allclose(pose_difference_deg(poses, poses[0]), [0, 1e-3, 0.5, 90, 179], atol=1e-4)


def test_the_same_seed_gives_the_same_motion_and_another_seed_another():
    assert np.array_equal(shown(swaying(), seed=3), shown(swaying(), seed=3))
    assert not np.array_equal(shown(swaying(), seed=3), shown(swaying(), seed=4))


@pytest.mark.parametrize("style", ["calm", "natural", "lively"])
def test_motion_is_endless_inside_the_source_and_never_jumps_in_pose(style):
    source = swaying()
    frames = shown(source, style, frames=5000)
    assert frames.min() >= 0 and frames.max() < len(source)
    step = pose_difference_deg(source.viewmats[frames[1:]], source.viewmats[frames[:-1]])
    natural = pose_difference_deg(source.viewmats[1:], source.viewmats[:-1]).max()
    assert step.max() <= POSE_LIMIT_DEG + natural


def test_calm_moves_less_than_lively():
    source = swaying()

    def speed(style: str) -> float:
        frames = shown(source, style)
        return float(pose_difference_deg(source.viewmats[frames[1:]], source.viewmats[frames[:-1]]).mean())

    assert speed("calm") < 0.5 * speed("lively")


def test_joins_keep_pose_place_torso_and_speed():
    frames = 2000
    source = swaying(frames)
    torso = np.random.default_rng(0).uniform(-2, 2, (frames, 2)).astype(np.float32)
    source = Source(source.viewmats, torso)
    motion = HeadMotion(source)
    found = [(a, at, way) for a in range(0, frames, 50) for at, way in motion.joins(a, 1)]
    assert len(found) > 50
    for frame, at, _ in found:
        assert pose_difference_deg(source.viewmats[at], source.viewmats[frame]) < POSE_LIMIT_DEG
        assert np.linalg.norm(source.viewmats[at, :3, 3] - source.viewmats[frame, :3, 3]) < SHIFT_LIMIT
        assert np.linalg.norm(torso[at] - torso[frame]) < TORSO_LIMIT_PX


def test_where_nothing_fits_the_source_plays_forwards_and_backwards():
    source = Source(turned(np.linspace(0, 40, 100)))
    frames = shown(source, frames=500)
    assert set(np.abs(np.diff(frames))) <= {0, 1}
    assert {0, 99} <= set(frames.tolist())


def test_footage_is_not_played_across_a_break():
    poses = turned(np.concatenate([np.linspace(0, 9, 60), np.linspace(30, 39, 60)]))
    source = Source(poses, stretches=np.array([[0, 60], [60, 120]]))
    frames = shown(source, frames=800)
    crossed = (np.minimum(frames[1:], frames[:-1]) < 60) & (np.maximum(frames[1:], frames[:-1]) >= 60)
    assert not crossed.any()


def test_a_single_frame_is_held():
    assert set(shown(Source(turned(np.zeros(1))), frames=20)) == {0}
