"""The lip-sync judge: how late is the sound of a video, and how sure are we?

The trained expert (paper Eq. 1-2) compares 200 ms of sound with five frames of mouth at every shift. Offset,
confidence and distance are defined as SyncNet's; the figures are called Sync-C and Sync-D because the network
is ours. They are not LSE-C and LSE-D and cannot be compared with published ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from synctalk.errors import SyncTalkError, VideoError
from synctalk.face_sync.mouth_measures import mouth_measures, normalised
from synctalk.face_sync.sync_expert import MOUTH_FRAMES, SyncExpert
from synctalk.speech.mel import mel_spectrogram, mel_windows

FPS = 25
REACH = 15
_SHORTEST = 25


@dataclass(frozen=True)
class SyncScore:
    """What the judge says of one clip.

    offset_frames: positive when the sound is late, in frames of 40 ms. confidence (Sync-C): median over all
    shifts of the distance, less the distance at the best one; near 0 for sound of another speech. distance
    (Sync-D): mean distance of the embeddings at the best shift, 0 (the same) to 1.41. shifts, curve: [2 r +
    1]
    the shifts tried and the mean distance at each. frames: how many windows were compared.
    """

    offset_frames: int
    confidence: float
    distance: float
    shifts: np.ndarray
    curve: np.ndarray
    frames: int

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {
            "offset_frames": self.offset_frames,
            "confidence": round(self.confidence, 4),
            "distance": round(self.distance, 4),
            "frames": self.frames,
        }


@torch.inference_mode()
def distances(
    measures: np.ndarray, samples: np.ndarray, expert: SyncExpert, reach: int = REACH
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each mouth window to the sound at each shift: float32 [T, 2 reach + 1], NaN outside the
    clip.

    measures: [T, 11] of `mouth_measures`, at 25 fps; samples: float [n], 16 kHz mono. Column reach + k
    compares the
    mouth at i with the sound at i + k. Also returns the shifts [2 reach + 1].
    """
    frames = len(measures)
    half = MOUTH_FRAMES // 2
    sound_frames = -(-len(samples) // 640)
    around = np.clip(np.arange(frames)[:, None] + np.arange(-half, half + 1), 0, frames - 1)
    mouth = torch.from_numpy(normalised(measures)[around])
    windows = torch.from_numpy(mel_windows(mel_spectrogram(samples), sound_frames))
    seen = torch.cat([expert.embed_mouth(part) for part in mouth.split(512)])
    heard = torch.cat([expert.embed_audio(part) for part in windows.split(512)])
    seen = torch.nn.functional.normalize(seen, dim=1, eps=1e-6)
    heard = torch.nn.functional.normalize(heard, dim=1, eps=1e-6)
    shifts = np.arange(-reach, reach + 1)
    table = np.full((frames, len(shifts)), np.nan, np.float32)
    for column, shift in enumerate(shifts):
        first, stop = max(half, -shift), min(frames - half, sound_frames - shift)
        if stop > first:
            likeness = (seen[first:stop] * heard[first + shift : stop + shift]).sum(1)
            table[first:stop, column] = (2 - 2 * likeness).clamp_min(0).sqrt().numpy()
    return table, shifts


def judge(
    measures: np.ndarray, samples: np.ndarray, expert: SyncExpert | None = None, reach: int = REACH
) -> SyncScore:
    """Offset, confidence and distance of a clip whose mouth was measured.

    Raises VideoError when there are fewer than 25 frames or the sound ends before the mouth begins.
    """
    if len(measures) < _SHORTEST:
        raise VideoError(
            f"The judge needs at least one second ({_SHORTEST} frames) of face, not {len(measures)}."
        )
    table, shifts = distances(measures, samples, expert or SyncExpert.from_pretrained(), reach)
    counted = np.isfinite(table).sum(0)
    if counted.max() == 0:
        raise VideoError("Sound and picture do not overlap, so they cannot be compared.")
    full = counted >= max(1, counted.max() // 2)  # a shift seen by few windows is left out
    curve = np.full(len(shifts), np.nan, np.float32)
    curve[full] = np.nanmean(table[:, full], axis=0)
    best = int(np.nanargmin(curve))
    return SyncScore(
        offset_frames=int(shifts[best]),
        confidence=float(np.nanmedian(curve) - curve[best]),
        distance=float(curve[best]),
        shifts=shifts,
        curve=curve,
        frames=int(counted[best]),
    )


def judge_video(
    path: str | os.PathLike,
    expert: SyncExpert | None = None,
    reach: int = REACH,
    samples: np.ndarray | None = None,
) -> SyncScore:
    """Judge a video file: faces are found, mouths measured, its own sound (or `samples`, 16 kHz) compared.

    Raises VideoError when it cannot be read or shows no face, AudioError when it has no sound.
    """
    from synctalk.face_sync.capturer import FaceCapturer
    from synctalk.speech.audio import load_audio
    from synctalk.video import read_frames

    sound = load_audio(Path(path)) if samples is None else samples
    track = FaceCapturer().capture(read_frames(Path(path), fps=FPS))
    if len(track) == 0 or bool(np.asarray(track.missing).mean() > 0.5):
        raise VideoError(f"{path}: no face was found in most frames, so lip sync cannot be judged.")
    return judge(mouth_measures(track.filled().landmarks68), sound, expert, reach)


def save_curve(score: SyncScore, path: str | os.PathLike) -> None:
    """A picture of the distance at each shift, the best one marked.

    Raises SyncTalkError when matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SyncTalkError("Curves need matplotlib: pip install matplotlib, or give --no-curve.") from error

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(score.shifts, score.curve, marker="o", markersize=3, color="#2a6f97")
    axes.axvline(score.offset_frames, color="#c1121f", linewidth=1)
    axes.set_xlabel("sound is late by (frames of 40 ms)")
    axes.set_ylabel("distance (Sync-D)")
    axes.set_title(f"offset {score.offset_frames:+d} frames, confidence {score.confidence:.3f} (Sync-C)")
    axes.grid(alpha=0.3)
    figure.savefig(Path(path), dpi=110)
