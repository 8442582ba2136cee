"""Leaving a part of the method out, for the paper's ablation tables.

These act on a trained avatar, so they tell what the part gives at inference; parts that shape training
(facial attention, initialisation) are compared by training again with another setting.
"""

from collections.abc import Collection
from dataclasses import replace

import torch

from synctalk.avatar import Avatar
from synctalk.errors import TrainingError
from synctalk.evaluation import PARTS
from synctalk.evaluation.reconstruction import Drive
from synctalk.face_sync.blendshapes import CORE_SEVEN, EYE_LOOK, SMILE
from synctalk.head_sync.head_points import PointSettings
from synctalk.head_sync.track import TrackSettings, track_head
from synctalk.training.dataset import Dataset
from synctalk.training.preprocess import avatar_track


def ablated(avatar: Avatar, truth: Dataset, without: Collection[str]) -> Drive:
    """What moves the avatar when parts are left out.

    encoder: the audio features stay at their mean, so the lips do not know the sound.
    expressions: brows, blinks, gaze and smile stay at rest.
    stabilizer: poses from landmarks alone, without head points and bundle adjustment.
    semantic-weighting: head points on brows, eyes and lips count as much as the others, and at all paces.
    portrait: see `measure(portrait_sync=False)`.

    Raises:
        TrainingError: an unknown part.
    """
    unknown = sorted(set(without) - set(PARTS))
    if unknown:
        raise TrainingError(f"No part is called {', '.join(unknown)}; there are {', '.join(PARTS)}.")
    drive = Drive.of(truth)
    if "encoder" in without:
        drive = replace(drive, lips=drive.lips.mean(dim=0, keepdim=True).expand_as(drive.lips))
    if "expressions" in without:
        expressions = drive.expressions.clone()
        rest, _ = avatar.expression_limits()
        driven = [*CORE_SEVEN, *EYE_LOOK, *SMILE]
        expressions[:, driven] = rest[driven]
        drive = replace(drive, expressions=expressions)
    if "stabilizer" in without or "semantic-weighting" in without:
        drive = replace(drive, viewmats=_other_poses(avatar, truth, without))
    return drive


def _other_poses(avatar: Avatar, truth: Dataset, without: Collection[str]) -> torch.Tensor:
    """Poses [T,4,4] of the truth by a lesser tracker, in the avatar's frame."""
    settings = TrackSettings(
        points=PointSettings(semantic_weighting="semantic-weighting" not in without),
        stable_points="stabilizer" not in without,
    )
    if "semantic-weighting" in without:
        settings = replace(settings, slips=None)
    like = avatar_track(avatar)
    if "semantic-weighting" in without:
        # The stored keypoints were chosen with the weighting; without them new ones are found.
        like = replace(like, keypoints=None)
    track = track_head(
        lambda start: (truth.frames[i] for i in range(start, len(truth))), truth.landmarks478, like, settings
    )
    return torch.as_tensor(track.viewmats, dtype=torch.float32)
