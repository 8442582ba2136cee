import numpy as np
import pytest

from synctalk.head_sync.face_model import REGIONS, FaceModel
from synctalk.head_sync.geometry import project, rotation_from_vector, transform
from synctalk.head_sync.head_points import (
    Keyframes,
    PointFollower,
    PointSettings,
    choose_keyframes,
    fine_detail,
    head_box,
    prepare_keyframes,
    to_grey,
)
from synctalk.head_sync.motion_tracker import HeadMotion, track_motion
from synctalk.head_sync.optical_flow import DenseFlow, flow_change

Prepared = tuple[HeadMotion, Keyframes]


@pytest.fixture(scope="module")
def prepared(clip, model: FaceModel) -> Prepared:
    motion = track_motion(clip.landmarks, (512, 512), model, K=clip.K)
    settings = PointSettings()
    partners = {int(k): [10, 40, 70] for k in choose_keyframes(motion, settings)}
    return motion, prepare_keyframes(dict(enumerate(clip.frames)), partners, motion, model, settings)


def texture(seed: int = 0) -> np.ndarray:
    import cv2

    noise = np.random.default_rng(seed).uniform(0, 255, (128, 128)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 2.5).clip(0, 255).astype(np.uint8)


def test_dense_flow_finds_a_shift() -> None:
    picture = texture()
    flow = DenseFlow("medium")(picture, np.roll(picture, (2, 3), (0, 1)))
    np.testing.assert_allclose(np.median(flow[20:-20, 20:-20], (0, 1)), [3, 2], atol=0.2)


def test_an_unknown_flow_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="ultrafast, fast, medium"):
        DenseFlow("best")


def test_the_laplacian_ignores_rigid_motion_and_marks_what_moves_alone() -> None:
    y, x = np.mgrid[:64, :64].astype(np.float32)
    rigid = np.stack([0.02 * x - 0.01 * y + 3, 0.01 * x + 0.02 * y], -1)
    alone = rigid.copy()
    alone[20:28, 20:28] += 2
    assert flow_change(rigid)[16:-16, 16:-16].max() < 1e-3  # away from the edge of the picture
    change = flow_change(alone)
    assert change[20, 20] > 10 * change[50, 50] + 0.05


def test_fine_detail_forgets_shading_but_keeps_texture() -> None:
    picture = texture().astype(np.float32) * 0.5
    shaded = picture + np.linspace(0, 90, 128)[None]
    a, b = fine_detail(picture.astype(np.uint8), 3), fine_detail(shaded.astype(np.uint8), 3)
    assert np.abs(a[10:-10, 10:-10].astype(int) - b[10:-10, 10:-10]).mean() < 4
    assert a.std() > 5


def test_the_head_box_stays_inside_the_frame() -> None:
    box = head_box(np.array([[-30.0, 40], [700, 500]]), (640, 480))
    assert box == (0, 0, 640, 480)


def test_points_spread_over_the_head_and_keep_off_lips_and_jaw(prepared: Prepared, model: FaceModel) -> None:
    motion, keys = prepared
    assert 120 < len(keys.group) < 500
    quarters = (keys.pixels > np.median(keys.pixels, 0)) @ [1, 2]
    assert np.bincount(quarters, minlength=4).min() > 0.1 * len(keys.group)
    vertices = model.vertices(motion.identity)
    nearest = np.linalg.norm(keys.anchors[:, None] - vertices[None], axis=2).argmin(1)
    regions = model.region[nearest]
    off = np.isin(regions, [REGIONS.index(name) for name in ("lips", "jaw", "mouth", "eyeballs")])
    assert off.mean() < 0.1
    nose, brows = (keys.weights[regions == REGIONS.index(name)].mean() for name in ("nose", "brows"))
    assert nose > 0.8 and brows < nose


def test_anchors_project_onto_their_pixels(prepared: Prepared) -> None:
    motion, keys = prepared
    seen = transform(keys.rotations[:1], keys.translations[:1], keys.anchors[keys.group == 0])
    np.testing.assert_allclose(project(seen, motion.K)[0], keys.pixels[keys.group == 0], atol=0.05)


def test_a_keyframe_finds_its_own_points_where_they_are(prepared: Prepared, clip) -> None:
    motion, keys = prepared
    k = int(keys.index[0])
    follower = PointFollower(keys, motion.K, PointSettings())
    found = follower(to_grey(clip.frames[k]), motion.rotations[k], motion.translations[k], nearest=1)
    mine = keys.group == 0
    assert np.isfinite(found[mine, 0]).mean() > 0.9
    assert np.nanmedian(np.linalg.norm(found[mine] - keys.pixels[mine], axis=1)) < 0.05


@pytest.mark.parametrize("follow", ["klt", "dis"])
def test_points_are_found_although_the_rough_pose_is_off(prepared: Prepared, clip, follow: str) -> None:
    motion, keys = prepared
    k = int(keys.index[0])
    follower = PointFollower(keys, motion.K, PointSettings(follow=follow))
    off = rotation_from_vector(np.radians([0.7, -0.7, 0.4])) @ motion.rotations[k]
    found = follower(to_grey(clip.frames[k]), off, motion.translations[k] + [0.01, 0.01, 0], nearest=1)
    mine = keys.group == 0
    assert np.isfinite(found[mine, 0]).mean() > 0.5
    assert np.nanmedian(np.linalg.norm(found[mine] - keys.pixels[mine], axis=1)) < 0.3


def test_points_follow_the_true_head(prepared: Prepared, clip) -> None:
    motion, keys = prepared
    first, other = int(keys.index[0]), 60
    follower = PointFollower(keys, motion.K, PointSettings())
    found = follower(to_grey(clip.frames[other]), motion.rotations[other], motion.translations[other], 1)
    mine = (keys.group == 0) & (keys.weights > 0.3)
    # Carried by the true poses from keyframe to frame; the anchors' depth is good to a few millimetres.
    gauge = clip.viewmats[other] @ np.linalg.inv(clip.viewmats[first])
    camera = keys.anchors[mine] @ keys.rotations[0].T + keys.translations[0]
    camera *= clip.viewmats[first][2, 3] / keys.translations[0][2]
    expected = project(camera @ gauge[:3, :3].T + gauge[:3, 3], clip.K)
    assert np.nanmedian(np.linalg.norm(found[mine] - expected, axis=1)) < 0.7


def test_most_bending_points_can_be_chosen_instead_and_weighting_left_out(
    clip, model: FaceModel, prepared
) -> None:
    motion, usual = prepared
    frames = dict(enumerate(clip.frames))
    partners = {int(usual.index[0]): [10, 70]}
    most = prepare_keyframes(frames, partners, motion, model, PointSettings(selection="most"))
    alike = prepare_keyframes(frames, partners, motion, model, PointSettings(semantic_weighting=False))
    assert not np.array_equal(most.pixels[:20], usual.pixels[:20])
    assert (alike.weights == 1).all()
