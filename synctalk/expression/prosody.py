"""How something is said, frame by frame: the course of pitch and energy, and time since the last pause."""

import torch
import torch.nn.functional as F
from torch import Tensor

from synctalk.expression.voice import ENERGY, PITCH, VOICED

PROSODY = 12  # numbers per frame
LONGEST = 100  # frames; a pause longer ago counts as this long
_PAUSE = 10  # frames without voice that make a pause
SPAN = LONGEST + _PAUSE  # frames of the past that can influence a frame


def _recent(x: Tensor, frames: int) -> Tensor:
    """Mean over the last `frames` frames: [B,T] -> [B,T]; before the start is 0."""
    return F.avg_pool1d(F.pad(x[:, None], (frames - 1, 0)), frames, stride=1)[:, 0]


def _highest(x: Tensor, frames: int) -> Tensor:
    """Maximum over the last `frames` frames: [B,T] -> [B,T]."""
    return F.max_pool1d(F.pad(x[:, None], (frames - 1, 0)), frames, stride=1)[:, 0]


def since_pause(voiced: Tensor) -> Tensor:
    """Frames of speech since the last pause, at most `LONGEST`: voiced [B,T] 0/1 -> float [B,T].

    0 while nothing is said.
    """
    silent = _highest(voiced, _PAUSE) == 0
    times = torch.arange(voiced.shape[1], device=voiced.device)
    last = torch.cummax(torch.where(silent, times, -1), dim=1).values
    return (times - last).clamp(0, LONGEST).to(voiced.dtype)


def prosody(features: Tensor) -> Tensor:
    """Where pitch and energy come from and go to; looks back only.

    Args:
        features: [B,T,163], normalised by `RunningVoice`.

    Returns:
        [B,T,12]: mean pitch of the voiced frames among the last 4, 10 and 25; how much the first differs from
        the others; energy of the last 4 and 10 frames, their difference, the highest pitch and energy of the
        last second, the voiced share of the last 2 seconds, and the time since the last pause.
    """
    pitch, voiced, energy = features[..., PITCH], features[..., VOICED], features[..., ENERGY]
    course = [_recent(pitch, n) / _recent(voiced, n).clamp_min(0.5 / n) for n in (4, 10, 25)]
    loud = [_recent(energy, n) for n in (4, 10)]
    return torch.stack(
        [
            *course,
            course[0] - course[1],
            course[0] - course[2],
            *loud,
            loud[0] - loud[1],
            _highest(pitch, 25),
            _highest(energy, 25),
            _recent(voiced, 50),
            since_pause(voiced) / LONGEST,
        ],
        -1,
    )
