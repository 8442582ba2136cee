"""Which voice should read texts for an avatar: one of the pitch heard in its footage."""

import numpy as np
from numpy.typing import NDArray

from synctalk.expression.voice import pitch
from synctalk.speech.audio import RATE, frame_count
from synctalk.speech.voice_list import OFFLINE

HIGH_VOICE_HZ = 165.0
"""Between the usual pitches of men (85-155 Hz) and women (165-255 Hz) who speak."""
LONGEST_S = 120


def voice_like(samples: NDArray[np.float32]) -> str:
    """The first offline voice of the kind heard, judged by pitch alone; any can be set by hand.

    Args:
        samples: the footage's sound, float32 [n] mono at 16 kHz; its first two minutes are heard.
    """
    heard = samples[: LONGEST_S * RATE]
    octaves, voiced = pitch(heard, frame_count(len(heard)))
    high = bool(voiced.any()) and 150.0 * 2 ** float(np.median(octaves[voiced])) > HIGH_VOICE_HZ
    gender = "female" if high else "male"
    return next(voice.name for voice in OFFLINE if voice.gender == gender)
