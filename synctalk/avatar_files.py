"""The avatar folder on disk: which files, what `avatar.json` must say, checksums; every fault is named."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from synctalk.avatar_card import avatar_card
from synctalk.errors import AvatarError

FORMAT = 1
DESCRIPTION = "avatar.json"
CARD = "README.md"
REQUIRED_FILES = ("portrait.safetensors", "motion.safetensors", "source.mp4", "mattes.mp4")
OPTIONAL_FILES = ("torso.safetensors", "expression.safetensors", "thumbnail.jpg")
REPORT_FILES = ("report.html", "report/*")
CONSENT_FIELDS = ("who", "how", "when", "statement")


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_grain(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))


def _is_camera(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_number(value.get(key)) for key in ("fx", "fy", "cx", "cy"))


def _is_licence(value: Any) -> bool:
    return isinstance(value, dict) and _is_text(value.get("id")) and isinstance(value.get("text"), str)


def _is_checksums(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(v) and len(v) == 64 for v in value.values())


FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_text, "a name"),
    "fps": (_is_number, "frames per second"),
    "frames": (_is_count, "the number of source frames"),
    "size": (_is_size, "[width, height] in pixels"),
    "camera": (_is_camera, "fx, fy, cx, cy in pixels"),
    "licence": (_is_licence, "an id and a text"),
    "consent": (lambda value: isinstance(value, dict), f"an object with {', '.join(CONSENT_FIELDS)}"),
    "training": (lambda value: isinstance(value, dict), "an object with training figures"),
    "sha256": (_is_checksums, "the checksum of each file"),
}
OPTIONAL_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "grain": (_is_grain, "the footage's noise in grey levels, 0 or more"),
    "voice": (_is_text, "the name of the voice that reads texts for it"),
}


def read_description(folder: Path) -> dict[str, Any]:
    """`avatar.json`, every field checked.

    Raises:
        AvatarError: no such folder or file, not JSON, an unknown format, or a field that does not fit.
    """
    path = folder / DESCRIPTION
    if not folder.is_dir():
        raise AvatarError(f"{folder} is not a folder, so it is no avatar.")
    if not path.is_file():
        raise AvatarError(f"{path} is missing, so {folder} is no avatar.")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as reason:
        raise AvatarError(f"{path} is not JSON: {reason}") from reason
    if not isinstance(description, dict):
        raise AvatarError(f"{path} must hold a JSON object.")
    if description.get("format") != FORMAT:
        raise AvatarError(
            f"{path}: field 'format' is {description.get('format')!r}; this version of synctalk reads format "
            f"{FORMAT}. Update synctalk, or train the avatar again."
        )
    for name, (fits, meaning) in [*FIELDS.items(), *OPTIONAL_FIELDS.items()]:
        if name not in description:
            if name in OPTIONAL_FIELDS:
                continue
            raise AvatarError(f"{path}: field '{name}' is missing ({meaning}).")
        if not fits(description[name]):
            raise AvatarError(f"{path}: field '{name}' is {description[name]!r}, expected {meaning}.")
    for key in CONSENT_FIELDS:
        if not _is_text(description["consent"].get(key)):
            raise AvatarError(
                f"{path}: field 'consent.{key}' is missing: no avatar without a consent record."
            )
    return description


def check_files(folder: Path, description: Mapping[str, Any]) -> None:
    """Every file is there and has the checksum that `avatar.json` states.

    Raises:
        AvatarError: a file is missing, unlisted, or was changed.
    """
    listed = description["sha256"]
    for name in REQUIRED_FILES:
        if name not in listed:
            raise AvatarError(f"{folder / DESCRIPTION}: field 'sha256' does not list {name}.")
    for name, expected in listed.items():
        if name not in REQUIRED_FILES + OPTIONAL_FILES:
            raise AvatarError(f"{folder / DESCRIPTION}: field 'sha256' lists an unknown file, {name!r}.")
        path = folder / name
        if not path.is_file():
            raise AvatarError(f"{path} is missing. Copy or download the avatar again.")
        if sha256(path) != expected:
            raise AvatarError(
                f"{path} does not match its checksum in {DESCRIPTION} (field 'sha256.{name}'): the file is "
                "damaged or was changed. Copy or download the avatar again."
            )
    for name in OPTIONAL_FILES:
        if (folder / name).exists() and name not in listed:
            raise AvatarError(f"{folder / DESCRIPTION}: field 'sha256' does not list {name}, which is there.")


def seal(folder: Path, description: Mapping[str, Any]) -> None:
    """Writes `avatar.json` with the checksums of the files as they are, and the model card.

    Args:
        folder: holds the required files already.
        description: the fields of `avatar.json` except `format` and `sha256`.

    Raises:
        AvatarError: a required file is missing or a field does not fit.
    """
    for name in REQUIRED_FILES:
        if not (folder / name).is_file():
            raise AvatarError(f"{folder / name} is missing.")
    present = [name for name in REQUIRED_FILES + OPTIONAL_FILES if (folder / name).is_file()]
    full = {**description, "format": FORMAT, "sha256": {name: sha256(folder / name) for name in present}}
    (folder / DESCRIPTION).write_text(json.dumps(full, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / CARD).write_text(avatar_card(full), encoding="utf-8")
    read_description(folder)
