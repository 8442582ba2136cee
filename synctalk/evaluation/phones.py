"""Phone times from a file."""

import json
from pathlib import Path

import numpy as np

from synctalk.errors import TrainingError
from synctalk.evaluation.mouth import TimedPhone


def read_phones(path: Path | str, start_s: float = 0.0) -> list[TimedPhone]:
    """ARPAbet phones with their times.

    Args:
        path: NPZ with `phones`, `phone_start`, `phone_end`, or JSON with `phones` as [name, start, end].
        start_s: taken off all times, for a clip that begins there.

    Raises:
        TrainingError: no such file, or not of these forms.
    """
    path = Path(path)
    if not path.is_file():
        raise TrainingError(f"There is no file {path} with phone times.")
    try:
        if path.suffix == ".json":
            rows = json.loads(path.read_text(encoding="utf-8"))["phones"]
        else:
            with np.load(path, allow_pickle=False) as file:
                rows = list(zip(*(file[key].tolist() for key in _COLUMNS), strict=True))
        return [TimedPhone(str(name), float(a) - start_s, float(b) - start_s) for name, a, b in rows]
    except (ValueError, KeyError, TypeError, OSError) as reason:
        raise TrainingError(
            f"{path} holds no phone times: it must be NPZ with {', '.join(_COLUMNS)}, or JSON with "
            "'phones' as [name, start, end] in seconds."
        ) from reason


_COLUMNS = ("phones", "phone_start", "phone_end")
