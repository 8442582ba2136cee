"""Where the files that ship with the library lie: embedded models and bundled avatars."""

import os
from pathlib import Path

from synctalk.errors import SyncTalkError


def assets_folder() -> Path:
    """The folder with `models/` and `avatars/`.

    Looked for in this order: the environment variable SYNCTALK_ASSETS, the installed package,
    the checkout beside the package.

    Raises:
        SyncTalkError: none of them exists.
    """
    here = Path(__file__).resolve().parent
    given = os.environ.get("SYNCTALK_ASSETS")
    places = [Path(given)] if given else [here / "assets", here.parent / "assets"]
    for place in places:
        if place.is_dir():
            return place
    raise SyncTalkError(
        f"No assets folder at {' or '.join(map(str, places))}. Reinstall the package, "
        "or set SYNCTALK_ASSETS to a folder that holds 'models' and 'avatars'."
    )


def model_path(name: str) -> Path:
    """Path of an embedded model file, for example 'face_landmarker.task'.

    Raises:
        SyncTalkError: the file is not there.
    """
    path = assets_folder() / "models" / name
    if not path.exists():
        raise SyncTalkError(f"The embedded model {path} is missing. Reinstall the package.")
    return path
