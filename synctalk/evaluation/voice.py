"""An avatar driven by a voice alone: without a true picture, is the mouth shut and open when it must be?"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from synctalk.avatar import Avatar
from synctalk.evaluation.lips import mouth_opening
from synctalk.evaluation.mouth import MouthShares, mouth_shares, pooled
from synctalk.evaluation.phones import read_phones
from synctalk.face_sync.audio_visual_encoder import AudioVisualEncoder
from synctalk.face_sync.blendshapes import SMILE
from synctalk.face_sync.capturer import FaceCapturer
from synctalk.portrait.portrait_sync import PortraitSync
from synctalk.speech.audio import load_audio
from synctalk.speech.voice_activity import speech_mask


def ping_pong(start: int, stop: int, frames: int) -> NDArray[np.int64]:
    """`frames` source indices that run start ... stop-1 and back."""
    there = np.arange(start, stop)
    loop = np.concatenate([there, there[-2:0:-1]]) if len(there) > 2 else there
    return loop[np.arange(frames) % len(loop)]


def speaking_frames(avatar: Avatar, samples: NDArray[np.float32]) -> Iterator[NDArray[np.uint8]]:
    """The crop of each frame, uint8 RGB [H,W,3], with lips by the voice and all else by the source.

    `samples` float32 [n] at 16 kHz. The smile stays at rest, so that the lips are the sound's alone.
    """
    lips = AudioVisualEncoder.from_pretrained().encode(samples)
    silence = ~torch.as_tensor(np.asarray(speech_mask(samples)))[: len(lips)]
    start, stop = max(avatar.stretches, key=lambda stretch: stretch[1] - stretch[0])
    source = ping_pong(start, stop, len(lips))
    expressions = avatar.blendshapes[source].clone()
    expressions[:, list(SMILE)] = avatar.expression_limits()[0][list(SMILE)]
    renderer = avatar.renderer()
    conditions = renderer.conditions(lips, expressions, silence)
    sync = PortraitSync(avatar.size, avatar.crop, avatar.torso, avatar.grain)
    viewmats = avatar.viewmats
    x, y, width, height = avatar.crop
    for row, index in enumerate(map(int, source)):
        image, alpha = renderer.render(conditions, row, viewmats[index])
        frame = sync(avatar.source.frame(index), image, alpha, avatar.mattes(index), row)
        yield np.ascontiguousarray(frame[y : y + height, x : x + width])


def voice_shares(avatar: Avatar, audio: Sequence[Path | str], phones: Sequence[Path | str]) -> MouthShares:
    """Shares of shut and open mouths (DESIGN's rule) over recordings with known phone times.

    Args:
        avatar: who speaks.
        audio: sound files.
        phones: one file of phone times for each, see `read_phones`.

    Raises:
        AudioError, TrainingError: a file that cannot be used.
    """
    clips = []
    for sound, times in zip(audio, phones, strict=True):
        frames = speaking_frames(avatar, load_audio(sound))
        track = FaceCapturer(smooth=0).capture(frames).filled()
        clips.append(mouth_shares(mouth_opening(track.landmarks478), read_phones(times)))
    return pooled(clips)
