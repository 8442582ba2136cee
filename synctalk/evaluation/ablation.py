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
from synctalk.head_sync.track import track_head
from synctalk.training.dataset import Dataset


def ablated(avatar: Avatar, truth: Dataset, without: Collection[str]) -> Drive:
    """What moves the avatar when parts are left out.

    encoder: the audio features stay at their mean, so the lips do not know the sound.
    expressions: brows, blinks, gaze and smile stay at rest.
    stabilizer: poses from landmarks alone, without head points and bundle adjustment.
    semantic-weighting: head points on brows, eyes and lips count as much as the others.
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
    """Poses [T,4,4] of the truth by a lesser tracker."""
    track = track_head(
        truth.frames,
        truth.landmarks478,
        like={name: value.numpy() for name, value in avatar.gauge.items()},
        stabilize="stabilizer" not in without,
        semantic_weighting="semantic-weighting" not in without,
    )
    return torch.as_tensor(track.viewmats, dtype=torch.float32)
