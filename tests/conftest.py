"""What several rooms' tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_avatar import make_tiny_avatar

from synctalk.avatar import Avatar


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 200-Gaussian avatar's folder. Do not write into it."""
    return make_tiny_avatar(tmp_path_factory.mktemp("avatars") / "tiny")


@pytest.fixture(scope="session")
def tiny_avatar(tiny_folder: Path) -> Avatar:
    """A 200-Gaussian avatar."""
    return Avatar(tiny_folder)


@pytest.fixture(scope="session", autouse=True)
def own_settings_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests leave the user's settings alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNCTALK_CONFIG", str(tmp_path_factory.mktemp("settings")))
        yield
