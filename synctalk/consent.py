"""Consent of the person an avatar shows: who, how, when, what. Nothing is trained without it."""

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synctalk.errors import TrainingError

FIELDS = {
    "who": "name of the person shown, or 'synthetic person' and who made it",
    "how": "how they agreed: signed letter, recorded words, own video, synthetic",
    "when": "date of the agreement as YYYY-MM-DD",
    "statement": "what they agreed to, in their words",
}


@dataclass(frozen=True)
class Consent:
    """The record kept in `avatar.json` and on the model card."""

    who: str
    how: str
    when: str
    statement: str
    synthetic: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def template() -> dict[str, Any]:
    """An empty record with a hint in each field, for `synctalk avatar consent`."""
    return {name: f"<{hint}>" for name, hint in FIELDS.items()} | {"synthetic": False}


def parse(record: Mapping[str, Any], where: str) -> Consent:
    """Checks a record.

    Args:
        record: `who`, `how`, `when` (YYYY-MM-DD), `statement` (at least 20 characters), optional `synthetic`.
        where: the file, for the message.

    Raises:
        TrainingError: a field missing, left as in the template, or not usable; the field is named.
    """
    if not isinstance(record, Mapping):
        raise TrainingError(f"{where}: a consent record is a JSON object with {', '.join(FIELDS)}.")
    for name, hint in FIELDS.items():
        value = record.get(name)
        if not isinstance(value, str) or not value.strip() or value.strip().startswith("<"):
            raise TrainingError(f"{where}: field '{name}' is not filled in ({hint}).")
    try:
        when = datetime.date.fromisoformat(record["when"].strip())
    except ValueError:
        raise TrainingError(
            f"{where}: field 'when' is '{record['when']}', not a date as YYYY-MM-DD."
        ) from None
    if when > datetime.date.today():
        raise TrainingError(f"{where}: field 'when' lies in the future ({when}).")
    if len(record["statement"].strip()) < 20:
        raise TrainingError(f"{where}: field 'statement' is too short to say what was agreed to.")
    synthetic = record.get("synthetic", False)
    if not isinstance(synthetic, bool):
        raise TrainingError(f"{where}: field 'synthetic' must be true or false.")
    return Consent(**{name: record[name].strip() for name in FIELDS}, synthetic=synthetic)


def read(path: Path | str) -> Consent:
    """Reads and checks a consent file.

    Raises:
        TrainingError: missing, not JSON, or incomplete.
    """
    path = Path(path)
    if not path.is_file():
        raise TrainingError(
            f"No consent record at {path}. Write one with `synctalk avatar consent {path}` and fill it in."
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as reason:
        raise TrainingError(f"{path} is not JSON: {reason}") from reason
    return parse(record, str(path))
