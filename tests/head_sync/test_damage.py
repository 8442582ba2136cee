"""Spoiled footage: the tracker finishes, reports, and stays right outside the damage."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from synctalk.face_sync.capturer import FaceCapturer
from synctalk.head_sync.face_model import FaceModel
from synctalk.head_sync.track import Track, track_head
from synctalk.video import read_frames

FLOOR_DEG = 0.15  # below this a doubling says nothing


def tracked(frames: list[np.ndarray], model: FaceModel) -> Track:
    return track_head(frames, FaceCapturer(threads=1, smooth=0).capture(frames).landmarks478, model=model)


def allowed(clip, track: Track) -> float:  # type: ignore[no-untyped-def]
    return 2 * max(FLOOR_DEG, float(np.median(clip.error_of(track).rotation_deg)))


def squeezed(frames: list[np.ndarray], path: Path, bits_per_second: int) -> Iterator[np.ndarray]:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 512, 512, "yuv420p"
        stream.bit_rate = bits_per_second
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return read_frames(path)


@pytest.mark.parametrize("damage", ["noise", "300 kbit/s"])
def test_noise_and_hard_compression_at_most_double_the_error(
    clip, track: Track, model: FaceModel, tmp_path: Path, damage: str
) -> None:
    random = np.random.default_rng(0)
    if damage == "noise":
        frames = [(f + random.normal(0, 12, f.shape)).clip(0, 255).astype(np.uint8) for f in clip.frames]
    else:
        frames = list(squeezed(clip.frames, tmp_path / "small.mp4", 300_000))
    error = clip.error_of(tracked(frames, model))
    assert np.median(error.rotation_deg) < allowed(clip, track)
    assert np.median(error.depth_mm) < 4


def test_a_hand_before_the_face_costs_confidence_not_the_other_frames(
    clip, track: Track, model: FaceModel
) -> None:
    frames = [frame.copy() for frame in clip.frames]
    covered = np.zeros(75, bool)
    covered[20:35] = True  # a fifth of the frames
    for t in np.flatnonzero(covered):
        x = 180 + 4 * (t - 20)
        frames[t][150:250, x : x + 70] = [190, 140, 120]
    damaged = tracked(frames, model)
    error = clip.error_of(damaged, ~covered)
    assert np.median(error.rotation_deg) < allowed(clip, track)
    assert damaged.confidence[covered].mean() < damaged.confidence[~covered].mean()
    # Even behind the hand the head does not jump.
    assert np.median(clip.error_of(damaged).rotation_deg) < 1.0


def test_dropped_frames_and_a_cut_leave_the_rest_alone(clip, track: Track, model: FaceModel) -> None:
    kept = np.r_[0:25, 37:75]  # half a second is missing
    other_place = [
        np.roll(frame, 60, axis=1)[:, ::-1] if t >= 45 else frame for t, frame in enumerate(clip.frames)
    ]
    damaged = tracked([other_place[t] for t in kept], model)
    first = np.arange(len(kept)) < int((kept < 45).sum())
    assert damaged.cuts.tolist() == [int(first.sum())]
    before = damaged.viewmats[first]
    part = Track(**{**damaged.__dict__, "viewmats": before})
    from synctalk.head_sync.pose_error import pose_error

    error = pose_error(part.viewmats, damaged.K, clip.viewmats[kept][first], clip.K, clip.nose_bridge)
    assert np.median(error.rotation_deg) < allowed(clip, track)
    assert np.median(error.sideways_mm) < 1.5
