"""Examples that open with one click: videos made beforehand, with what was asked to get them.

`python app.py --make-examples` makes them again. A video is only shown while the avatar, the text and the
settings are still those it was made with; an example without its video is rendered when it is clicked.
"""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synctalk.avatar import Avatar
from synctalk.interface.jobs import Made, write_captions
from synctalk.interface.sound_file import WavFile
from synctalk.logs import get_logger
from synctalk.provenance import sign_video
from synctalk.speak import stream
from synctalk.speaking.expression import PRESETS
from synctalk.speech.audio import stream_soundtrack
from synctalk.speech.words import Word
from synctalk.video import VideoWriter

LIST = "videos.json"
CRF = 24
log = get_logger(__name__)


@dataclass(frozen=True)
class Example:
    """One example: who says what, and how."""

    label: str
    avatar: str
    text: str
    preset: str = "Natural"

    @property
    def file_name(self) -> str:
        """Of its video."""
        return re.sub(r"\W+", "_", self.label.lower()) + ".mp4"

    def key(self, avatar: Avatar) -> str:
        """Changes when the avatar or anything asked for changes."""
        about = [asdict(self), avatar.voice, asdict(PRESETS[self.preset]), avatar.description["sha256"]]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


EXAMPLES = (
    Example(
        "A weather report", "ada", "Good morning. Today will be sunny, with a light breeze from the west."
    ),
    Example("Good news", "ben", "We did it! Nobody thought it could work, and yet here we are.", "Warm"),
    Example(
        "A sober one",
        "kai",
        "The committee met on Tuesday and approved the budget for next year.",
        "Newsreader",
    ),
    Example("A surprise", "ada", "Wait, you walked all the way here? In this weather?", "Astonished"),
)


@dataclass(frozen=True)
class Film:
    """An example's video made beforehand."""

    video: Path
    words: list[Word]
    seconds: float

    def copy(self) -> Made:
        """The video with captions and sound as files of one visitor."""
        made = Made()
        made.video = made.folder / self.video.name
        shutil.copyfile(self.video, made.video)
        write_captions(made, self.words)
        made.wav = made.video.with_suffix(".wav")
        with WavFile(made.wav) as sound:
            for track, rate in stream_soundtrack(made.video):
                sound.write(track, rate)
        return made


def ready_films(
    folder: Path, places: dict[str, str], examples: Iterable[Example] = EXAMPLES
) -> dict[Example, Film]:
    """The examples whose videos are there and up to date.

    Args:
        folder: where they lie.
        places: name and folder (or bundled name) of the avatars on offer.
        examples: the ones to look for.
    """
    try:
        listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    found = {}
    for example in examples:
        entry = listed.get(example.label)
        path = folder / example.file_name
        if entry is None or example.avatar not in places or not path.is_file():
            continue
        avatar = Avatar.from_pretrained(places[example.avatar], verify=False)
        if entry["key"] == example.key(avatar):
            words = [Word(*word) for word in entry["words"]]
            found[example] = Film(path, words, float(entry["seconds"]))
        else:
            log.info("The video of the example '%s' is of an older avatar or text.", example.label)
    return found


def make_films(folder: Path, places: dict[str, str], examples: Iterable[Example] = EXAMPLES) -> None:
    """Make the examples' videos, with the offline voices; the arguments are those of `ready_films`.

    Raises:
        AvatarError: an avatar is missing.
        SpeechError: the offline voice is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for example in examples:
        avatar = Avatar.from_pretrained(places.get(example.avatar, example.avatar))
        entry = _make_film(example, avatar, folder / example.file_name)
        lines.append(f"{json.dumps(example.label)}: {json.dumps(entry, ensure_ascii=False)}")
    (folder / LIST).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _make_film(example: Example, avatar: Avatar, path: Path) -> dict[str, Any]:
    """One video, encoded with more care than there is time for in a live one; returns its entry."""
    moments = stream(example.text, avatar=avatar, engine="kokoro", expression=PRESETS[example.preset])
    words: list[Word] = []
    with contextlib.ExitStack() as files:
        writer: VideoWriter | None = None
        for moment in moments:
            if writer is None:
                height, width = moment.picture.shape[:2]
                writer = files.enter_context(
                    VideoWriter(path, width, height, audio=(None, moment.rate), preset="slow", crf=CRF)
                )
            writer.write(moment.picture)
            writer.write_audio(moment.track)
            words += moment.words
    assert writer is not None
    sign_video(path, avatar)
    seconds = writer.frames / 25
    log.info("%s: %.1f s, %.0f kB", path, seconds, path.stat().st_size / 1000)
    timed = [[word.text, round(word.start_s, 3), round(word.end_s, 3)] for word in words]
    return {"key": example.key(avatar), "seconds": seconds, "words": timed}
