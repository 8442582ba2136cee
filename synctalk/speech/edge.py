"""The online voices: Microsoft Edge's read-aloud service through edge-tts, made safe to call.

The service is unofficial and sometimes refuses, hangs or breaks off. Every call runs in its own thread
with its own event loop and a deadline, is tried again where that helps, and is kept on disk, so that
the same sentence is asked for once.
"""

import asyncio
import hashlib
import io
import json
import os
import re
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synctalk.errors import AudioError, SpeechError
from synctalk.logs import get_logger
from synctalk.speech.audio import load_soundtrack
from synctalk.speech.kokoro_files import cache_folder
from synctalk.speech.words import EngineUnavailable, Word

_TICKS_PER_S = 10_000_000
_CACHE_FILES = 2000
_CACHE_VERSION = 1
log = get_logger(__name__)


class EdgeUnavailable(EngineUnavailable):
    """The service cannot be used now: no network, refused, hung, broke off."""


@dataclass(frozen=True)
class EdgeSpeech:
    """What the service said."""

    samples: np.ndarray  # float32 [n]
    rate: int
    words: list[Word]


def is_edge_voice(name: str) -> bool:
    """Whether a name has the form of the service's voices: 'en-US-AriaNeural'."""
    return re.fullmatch(r"[a-z]{2,3}-[A-Z][A-Za-z]+(?:-[A-Za-z]+)*-\w+Neural", name) is not None


def speak_online(
    text: str,
    voice: str,
    rate: str = "+0%",
    pitch: str = "+0Hz",
    timeout_s: float = 15.0,
    tries: int = 2,
    cache: Path | None = None,
) -> EdgeSpeech:
    """Have the service speak a text.

    Args:
        text: plain text, already checked; up to some thousand characters.
        voice: for example 'en-US-AriaNeural'.
        rate, pitch: changes such as '+10%' and '-5Hz'.
        timeout_s: longest wait for a connection or for the next piece of sound.
        tries: how often a broken or hanging connection is tried.
        cache: folder of what was spoken before; by default in ~/.cache/synctalk.

    Raises:
        EdgeUnavailable: no network, refused, no answer in time, or broken off.
        SpeechError: wrong voice, rate or pitch; or the voice found nothing to say in the text.
    """
    folder = cache if cache is not None else cache_folder() / "edge"
    key = hashlib.sha256(json.dumps([_CACHE_VERSION, text, voice, rate, pitch]).encode()).hexdigest()
    kept = _read_cache(folder, key)
    if kept is not None:
        return _decoded(*kept, text)
    for attempt in range(1, tries + 1):
        try:
            data, boundaries = _in_thread(text, voice, rate, pitch, timeout_s)
            speech = _decoded(data, boundaries, text)
            break
        except _Broken as error:
            log.info("Online voice, try %d of %d: %s", attempt, tries, error)
            if attempt == tries:
                raise EdgeUnavailable(str(error)) from error
            time.sleep(0.4 * attempt)
    _write_cache(folder, key, data, boundaries)
    return speech


class _Broken(Exception):
    """A failure that another try may cure."""


Boundary = tuple[float, float, str]  # start s, end s, text


def _in_thread(
    text: str, voice: str, rate: str, pitch: str, timeout_s: float
) -> tuple[bytes, list[Boundary]]:
    """Run the coroutine to its end in a thread of its own: callers may already be inside an event loop."""
    outcome: dict[str, Any] = {}
    # Long texts may take long as a whole; what must not happen is that nothing arrives.
    deadline_s = 2.0 * timeout_s + len(text) / 25.0

    def work() -> None:
        try:
            outcome["value"] = asyncio.run(
                asyncio.wait_for(_fetch(text, voice, rate, pitch, timeout_s), deadline_s)
            )
        except BaseException as error:  # handed to the caller's thread below
            outcome["error"] = error

    thread = threading.Thread(target=work, name="edge-tts", daemon=True)
    thread.start()
    thread.join(deadline_s + 5.0)
    if thread.is_alive():
        raise _Broken(_no_answer(timeout_s))
    if "error" in outcome:
        raise _told(outcome["error"], voice, timeout_s) from outcome["error"]
    return outcome["value"]


async def _fetch(
    text: str, voice: str, rate: str, pitch: str, timeout_s: float
) -> tuple[bytes, list[Boundary]]:
    import edge_tts  # brings aiohttp, 0.3 s to import

    seconds = max(1, round(timeout_s))
    try:
        communicate = edge_tts.Communicate(
            text,
            voice,
            rate=rate,
            pitch=pitch,
            boundary="WordBoundary",
            connect_timeout=seconds,
            receive_timeout=seconds,
        )
    except ValueError as error:
        raise SpeechError(f"The online voice cannot be asked for that: {error}") from error
    sound = bytearray()
    boundaries: list[Boundary] = []
    stream = communicate.stream().__aiter__()
    while True:
        try:
            # The library's own receive timeout does not see a server that only keeps the line open.
            message = await asyncio.wait_for(stream.__anext__(), timeout_s)
        except StopAsyncIteration:
            break
        if message["type"] == "audio":
            sound += message["data"]
        elif message["type"] == "WordBoundary":
            start = message["offset"] / _TICKS_PER_S
            boundaries.append((start, start + message["duration"] / _TICKS_PER_S, message["text"]))
    # The library counts sound that no 'end of turn' has confirmed; a line cut midway leaves some.
    if communicate.state["chunk_audio_bytes"]:
        raise _Broken("The online voice broke off in the middle. Try again, or use an offline voice.")
    return bytes(sound), boundaries


def _told(error: BaseException, voice: str, timeout_s: float) -> Exception:
    """The error a person can act on, for one from edge-tts, aiohttp or the system."""
    import aiohttp
    import edge_tts.exceptions as edge

    if isinstance(error, (_Broken, SpeechError)):
        return error
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return _Broken(_no_answer(timeout_s))
    if isinstance(error, edge.NoAudioReceived):
        return SpeechError(
            f"The online voice {voice} sent no sound. It may not exist, or the text holds nothing it can "
            "read: check the voice's language, or pick another voice."
        )
    if isinstance(error, edge.SkewAdjustmentError) or getattr(error, "status", None) in (401, 403):
        return EdgeUnavailable(
            "The online voice service refused the request (403). Check this computer's clock; the service "
            "may also be closed to this network. An offline voice works without it."
        )
    if isinstance(error, aiohttp.ClientResponseError):
        if error.status >= 500 or error.status == 429:
            return _Broken(f"The online voice service is overloaded (HTTP {error.status}). Try again later.")
        return EdgeUnavailable(f"The online voice service refused the request (HTTP {error.status}).")
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError)):
        return EdgeUnavailable(
            "There is no network connection to the online voice service. Check the network, or use an "
            "offline voice."
        )
    # The last three are what the library stumbles over when an answer is not of the known form.
    if isinstance(
        error,
        (edge.EdgeTTSException, aiohttp.ClientError, OSError, ValueError, LookupError, TypeError),
    ):
        return _Broken(
            f"The connection to the online voice service broke ({type(error).__name__}). Try again, or "
            "use an offline voice."
        )
    return error if isinstance(error, Exception) else SpeechError(f"The online voice stopped: {error!r}")


def _no_answer(timeout_s: float) -> str:
    return (
        f"The online voice service did not answer within {timeout_s:.0f} seconds. Try again, or use an "
        "offline voice."
    )


def _decoded(data: bytes, boundaries: list[Boundary], text: str) -> EdgeSpeech:
    try:
        samples, rate = load_soundtrack(io.BytesIO(data))
    except AudioError as error:
        raise _Broken(f"The online voice sent sound that cannot be decoded: {error}") from error
    mono = samples.mean(axis=1, dtype=np.float32)
    length = len(mono) / rate
    if boundaries and boundaries[-1][1] > length + 1.0:
        raise _Broken("The online voice broke off in the middle. Try again, or use an offline voice.")
    return EdgeSpeech(mono, rate, _as_written(boundaries, text, length))


def _as_written(boundaries: list[Boundary], text: str, length: float) -> list[Word]:
    """Words with the punctuation that surrounds them in the text, which the service leaves out."""
    words, cursor = [], 0
    for start, end, spoken in boundaries:
        found = text.find(spoken, cursor)
        if found < 0:
            written = spoken
        else:
            first = max(text.rfind(" ", cursor, found), text.rfind("\n", cursor, found), cursor - 1) + 1
            last = re.compile(r"\s|$").search(text, found + len(spoken))
            cursor = last.start() if last else len(text)
            written = text[first:cursor].strip()
        words.append(Word(written, min(start, length), min(end, length)))
    return words


def _read_cache(folder: Path, key: str) -> tuple[bytes, list[Boundary]] | None:
    try:
        boundaries = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        data = (folder / f"{key}.mp3").read_bytes()
        return data, [(float(s), float(e), str(t)) for s, e, t in boundaries]
    except (OSError, ValueError, TypeError):
        return None  # never asked for, or damaged: ask again


def _write_cache(folder: Path, key: str, data: bytes, boundaries: list[Boundary]) -> None:
    """Keep an answer; a full or read-only disk only costs the cache."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The words come last: their presence says that the sound is whole.
        _write(folder / f"{key}.mp3", data)
        _write(folder / f"{key}.json", json.dumps(boundaries, ensure_ascii=False).encode())
        files = sorted(folder.glob("*.mp3"), key=lambda f: f.stat().st_mtime)
        for old in files[: max(0, len(files) - _CACHE_FILES)]:
            old.with_suffix(".json").unlink(missing_ok=True)
            old.unlink(missing_ok=True)
    except OSError as error:
        log.info("The online voice's answer could not be kept: %s", error)


def _write(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as out:
        out.write(data)
    os.replace(name, path)
