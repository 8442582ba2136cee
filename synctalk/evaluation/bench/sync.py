"""Is what is made in step? Ten sentences by several voices and avatars, judged as anyone could judge them."""

import itertools
import tempfile
from pathlib import Path
from typing import Any

import av

from synctalk.avatar import Avatar
from synctalk.errors import AvatarError
from synctalk.evaluation.sync import judge_video
from synctalk.face_sync.sync_expert import SyncExpert
from synctalk.speak import speak
from synctalk.speaking.painter import Painter
from synctalk.speech.voice_list import OFFLINE

FPS = 25
SENTENCES = (
    "Good morning, and welcome to the weather forecast.",
    "Bob and Pam bought a big map of the park by the bay.",
    "The ferry leaves from platform four at ten past nine.",
    "Mum said we may pick apples before the storm comes.",
    "How many people have you invited to the wedding?",
    "I would rather walk home along the river, if you don't mind.",
    "Please put the blue box back on top of the piano.",
    "Everybody remembers where they were when it happened.",
    "The museum opens on Mondays, but the cafe is closed.",
    "Whatever you choose to do, I will always be proud of you.",
)


def run(avatar: str | None = None) -> dict[str, Any]:
    """Speak ten sentences and judge each video: its lag, and the lengths of its sound and picture.

    Args:
        avatar: name or folder; None takes the bundled ones in turn.

    Raises:
        AvatarError: there is no avatar.
        SpeechError: the offline voices are not installed.
    """
    names = [avatar] if avatar else Avatar.available()
    if not names:
        raise AvatarError("There is no avatar to judge. Put one into assets/avatars or give --avatar FOLDER.")
    painters = itertools.cycle([Painter(Avatar.from_pretrained(name)) for name in names])
    voices = itertools.cycle(voice.name for voice in OFFLINE)
    expert = SyncExpert.from_pretrained()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for text, painter, voice in zip(SENTENCES, painters, voices, strict=False):
            path = Path(folder) / f"{len(rows)}.mp4"
            speak(text, output=path, avatar=painter, voice=voice, engine="kokoro")
            score = judge_video(path, expert)
            picture_s, sound_s = lengths(path)
            rows.append(
                {
                    "avatar": painter.avatar.name,
                    "voice": voice,
                    "text": text,
                    "offset_frames": score.offset_frames,
                    "confidence": round(score.confidence, 3),
                    "picture_s": round(picture_s, 3),
                    "sound_s": round(sound_s, 3),
                }
            )
    return {
        "sentences": rows,
        "in_step": sum(abs(row["offset_frames"]) <= 1 for row in rows),
        "equally_long": sum(abs(row["picture_s"] - row["sound_s"]) <= 1 / FPS for row in rows),
    }


def table(result: dict[str, Any]) -> str:
    """The result as lines of text."""
    rows = result["sentences"]
    lines = [f"{'avatar':<8}{'voice':<12}{'offset':>7}{'sure':>7}{'picture':>10}{'sound':>9}  sentence"]
    for row in rows:
        lines.append(
            f"{row['avatar']:<8}{row['voice']:<12}{row['offset_frames']:>+7d}{row['confidence']:>7.2f}"
            f"{row['picture_s']:>8.2f} s{row['sound_s']:>7.2f} s  {row['text']}"
        )
    lines.append(f"within 1 frame of in step: {result['in_step']} of {len(rows)}")
    lines.append(f"sound and picture equally long within 1 frame: {result['equally_long']} of {len(rows)}")
    return "\n".join(lines)


def lengths(path: Path) -> tuple[float, float]:
    """Seconds of picture and of sound that a video states, which players go by."""
    with av.open(str(path)) as container:
        picture, sound = (
            float((stream.duration or 0) * (stream.time_base or 0))
            for stream in (container.streams.video[0], container.streams.audio[0])
        )
    return picture, sound
