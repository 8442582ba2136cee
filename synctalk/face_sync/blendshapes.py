"""The 52 facial coefficients (ARKit names), the groups the method uses, and the 478 -> 68 landmark map."""

import numpy as np
from numpy.typing import NDArray

# The capturer's network speaks these in its own (alphabetical) order; it has no tongue, so tongueOut stays 0.
# fmt: off
BLENDSHAPE_NAMES: tuple[str, ...] = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight",
    "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft",
    "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight",
    "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight",
    "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
    "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)
# fmt: on


def blendshape_indices(*names: str) -> tuple[int, ...]:
    """Column numbers of named coefficients, in the order given.

    Raises:
        ValueError: a name is not one of `BLENDSHAPE_NAMES`.
    """
    return tuple(BLENDSHAPE_NAMES.index(name) for name in names)


# Eq. 5: brows and blinks, the coefficients that do not depend on the lips.
CORE_SEVEN = blendshape_indices(
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
)
EYE_LOOK = tuple(i for i, name in enumerate(BLENDSHAPE_NAMES) if name.startswith("eyeLook"))
BLINK = blendshape_indices("eyeBlinkLeft", "eyeBlinkRight")
EYES_SHUT = 0.5  # a mean blink coefficient beyond this counts as shut
SMILE = blendshape_indices("mouthSmileLeft", "mouthSmileRight")
MOUTH = tuple(i for i, name in enumerate(BLENDSHAPE_NAMES) if name.startswith(("jaw", "mouth", "tongue")))

# One mesh point for each of the 68 points of the usual scheme (jaw line 0-16, brows 17-26, nose 27-35,
# eyes 36-47, outer lips 48-59, inner lips 60-67; 'first' is the subject's right side).
LANDMARKS_68: tuple[int, ...] = (
    *(127, 234, 132, 58, 172, 150, 149, 148, 152, 377, 378, 379, 397, 288, 361, 454, 356),
    *(70, 63, 105, 66, 107),
    *(336, 296, 334, 293, 300),
    *(168, 197, 5, 4),
    *(98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144),
    *(362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
# Points whose distance is the inter-ocular distance: outer corners of the right and left eye.
EYE_CORNERS = (33, 263)


def landmarks_68(landmarks478: NDArray[np.float32]) -> NDArray[np.float32]:
    """The 68 points read from the mesh: [..., 478, 2 or 3] px -> [..., 68, 2] px."""
    return landmarks478[..., list(LANDMARKS_68), :2]
