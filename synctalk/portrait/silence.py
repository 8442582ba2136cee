"""When the closed-mouth code takes over."""

import torch
from torch import Tensor

# A mouth opens up to three frames before its sound and closes as late after it.
RAMP_FRAMES = 3


def silence_weights(silence: Tensor) -> Tensor:
    """How far each frame is inside a silence: bool [T] -> float32 [T] in [0,1].

    0 at a frame next to speech, 1 from four frames away; beyond both ends of the clip counts as silence.
    """
    silent = silence.bool()
    weights = torch.zeros(len(silent))
    for distance in range(1, RAMP_FRAMES + 2):
        inside = silent.clone()
        for shift in range(1, distance):
            inside[shift:] &= silent[:-shift]
            inside[:-shift] &= silent[shift:]
        weights = torch.where(inside.cpu(), torch.tensor((distance - 1) / RAMP_FRAMES), weights)
    return weights.to(silence.device)
