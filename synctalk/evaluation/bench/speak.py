"""The whole road: sound in hand to a signed MP4 on disk, and how long a visitor waits."""

import itertools
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synctalk.avatar import Avatar
from synctalk.errors import AvatarError, SpeechError
from synctalk.speak import Video, speak, stream
from synctalk.speaking.painter import Painter
from synctalk.speech.text_to_speech import shared_kokoro

_RATE = 24000
_SENTENCE = "The quick brown fox jumps over the lazy dog, and nobody in the village is surprised any more."
_LOAD = """
import sys, time
import synctalk  # loads nothing yet, but tells torch's idle workers to sleep
import torch
began = time.perf_counter()
from synctalk.speaking.painter import Painter
Painter(synctalk.Avatar.from_pretrained(sys.argv[1]))
print(time.perf_counter() - began)
"""


def run(seconds: float = 20.0, avatar: str | None = None, rounds: int = 3) -> dict[str, Any]:
    """Frames per second from end to end, seconds to the first frame, seconds to load, ms per stage.

    `split_ms` is how long each stage was busy per frame; frames are painted side by side, so "render" and
    "blend" count once per painter. `cpu_ms` is processor time per frame of all threads together, which other
    work on the machine changes little: two idle cores give about 2000 / cpu_ms frames per second.

    Args:
        seconds: of speech to render in each round.
        avatar: name or folder; None takes the first bundled one.
        rounds: the best one counts, because other work on the machine only ever slows it.

    Raises:
        AvatarError: there is no avatar.
    """
    name = avatar or next(iter(Avatar.available()), None)
    if name is None:
        raise AvatarError(
            "There is no avatar to measure. Put one into assets/avatars or give --avatar FOLDER."
        )
    painter = Painter(Avatar.from_pretrained(name))
    sound = (speech_like(seconds), _RATE)
    made: list[Video] = []
    first: list[float] = []
    spent: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        speak(audio=(speech_like(1.0), _RATE), output=Path(folder) / "warm.mp4", avatar=painter)
        for _ in range(rounds):
            began = time.process_time()
            made.append(speak(audio=sound, output=Path(folder) / "out.mp4", avatar=painter))
            spent.append(1000 * (time.process_time() - began) / made[-1].frames)
            first.append(first_frame(painter, sound))
    best = min(made, key=lambda video: video.seconds)
    return {
        "avatar": painter.avatar.name,
        "size": list(painter.frame_size),
        "frames": best.frames,
        "cpu_ms": round(min(spent), 2),
        "fps_end_to_end": round(best.frames / best.seconds, 1),
        "first_frame_s": round(min(first), 3),
        "load_s": round(min(load_time(str(name)) for _ in range(2)), 3),
        "split_ms": best.split_ms,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "voice_rtf": voice_rtf(),
    }


def table(result: dict[str, Any]) -> str:
    """The result as lines of text."""
    width, height = result["size"]
    lines = [
        f"{result['avatar']}, {width}x{height}, {result['frames']} frames, sound to signed MP4",
        f"  {result['fps_end_to_end']:.1f} frames per second from end to end",
        f"  {result['first_frame_s']:.2f} s to the first frame",
        f"  {result['load_s']:.2f} s to load, torch apart",
        f"  {result['cpu_ms']:.1f} ms of processor time per frame, {result['peak_mb']} MB at most",
        f"  {result['voice_rtf']:.2f} s to make a second of voice from text (Kokoro)"
        if result["voice_rtf"] is not None
        else "  voice from text was not measured: Kokoro is not installed",
        "  ms per frame by stage (stages overlap):",
    ]
    lines += [f"    {stage:<12}{ms:7.2f}" for stage, ms in result["split_ms"].items()]
    return "\n".join(lines)


def first_frame(painter: Painter, sound: tuple[NDArray[np.float32], int]) -> float:
    """Seconds from the call to the first frame."""
    began = time.perf_counter()
    moments = stream(audio=sound, avatar=painter)
    list(itertools.islice(moments, 1))
    spent = time.perf_counter() - began
    moments.close()
    return spent


def voice_rtf(rounds: int = 2) -> float | None:
    """Seconds Kokoro takes per second of voice, the best of some rounds; None where it is not installed."""
    try:
        kokoro = shared_kokoro()
        kokoro.speak("Warm up.")
        ratios = []
        for _ in range(rounds):
            began = time.perf_counter()
            speech = kokoro.speak(_SENTENCE)
            ratios.append((time.perf_counter() - began) * speech.rate / len(speech.samples))
    except SpeechError:
        return None
    return round(min(ratios), 3)


def load_time(avatar: str) -> float:
    """Seconds from `import synctalk` to an avatar ready to render, in a fresh process, torch apart."""
    done = subprocess.run([sys.executable, "-c", _LOAD, avatar], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def speech_like(seconds: float) -> NDArray[np.float32]:
    """A voice-like sound, float32 [n] at 24 kHz: harmonics with syllables and pauses. Not speech, but as
    much work."""
    time_s = np.arange(round(seconds * _RATE)) / _RATE
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.4 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch) / _RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 4 * time_s), 0, 1) * (np.sin(2 * np.pi * 0.3 * time_s) > -0.8)
    return (0.15 * voice * syllables).astype(np.float32)
