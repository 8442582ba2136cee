"""Frames per second of the Facial Animation Capturer (Eq. 4-5), from a video file to its coefficients."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synctalk.avatar import Avatar
from synctalk.errors import AvatarError
from synctalk.face_sync.capturer import FaceCapturer
from synctalk.video import VideoWriter, read_frames

_SIDE = 512
_CLIP_FRAMES = 150


def run(seconds: float = 20.0, avatar: str | None = None, threads: int = 2) -> dict[str, Any]:
    """Wall-clock frames per second and CPU time per frame, for each way of measuring a face.

    A clip of 512x512 is cut from the source of `avatar` (name or folder; the first bundled one). 'video' is
    the default capturer fed by the decoder, as `synctalk blendshapes` does it; 'two views' and 'one view'
    take frames from memory. Rounds are interleaved and the best of each counts, because other work on the
    machine only ever slows them.

    Raises:
        AvatarError: there is no avatar.
    """
    name = avatar or next(iter(Avatar.available()), None)
    if name is None:
        raise AvatarError("There is no avatar whose video could be measured. Give --avatar FOLDER.")
    source = Avatar.from_pretrained(name).source
    frames = [_square(source.frame(i)) for i in range(min(_CLIP_FRAMES, len(source)))]
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        with VideoWriter(clip, _SIDE, _SIDE) as writer:
            for frame in frames:
                writer.write(frame)
        two, one = FaceCapturer(threads), FaceCapturer(threads, views=1)
        ways = {
            "video": lambda: two.capture(read_frames(clip)),
            "two views": lambda: two.capture(frames),
            "one view": lambda: one.capture(frames),
        }
        best = dict.fromkeys(ways, (np.inf, np.inf))
        began = time.perf_counter()
        while time.perf_counter() - began < seconds or not np.isfinite(best["one view"][0]):
            for way, measure in ways.items():
                wall, cpu = time.perf_counter(), time.process_time()
                count = len(measure())
                spent = ((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count)
                best[way] = (min(best[way][0], spent[0]), min(best[way][1], spent[1]))
    return {
        "size": [_SIDE, _SIDE],
        "frames": len(frames),
        "threads": threads,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "fps": {way: round(1 / wall, 1) for way, (wall, _) in best.items()},
        "cpu_ms": {way: round(1000 * cpu, 2) for way, (_, cpu) in best.items()},
    }


def table(result: dict[str, Any]) -> str:
    """The result as lines of text."""
    width, height = result["size"]
    lines = [
        f"face capturer, {width}x{height}, {result['frames']} frames, {result['threads']} threads "
        f"on {result['cores']} cores",
        f"  {'':<12}{'frames per second':>18}{'CPU ms per frame':>18}",
    ]
    lines += [f"  {way:<12}{fps:18.1f}{result['cpu_ms'][way]:18.2f}" for way, fps in result["fps"].items()]
    return "\n".join(lines)


def _square(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle square of a frame at 512x512."""
    side = min(frame.shape[:2])
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    part = frame[top : top + side, left : left + side]
    if side == _SIDE:
        return part
    return cv2.resize(part, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
